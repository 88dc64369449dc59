//! `/api/v1/events`: what changed, as it changes, as server-sent events. A reader that sees a gap reads again.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    response::{
        IntoResponse as _, Response,
        sse::{self, KeepAlive, Sse},
    },
};
use futures_util::{Stream, stream};
use tokio::sync::broadcast::{self, error::RecvError};
use tombolo_domain::rights::Rights;
use tombolo_proto::api::{Event, Role};

use super::ApiState;
use crate::{auth::Reader, stop::Stop};

/// Proxies drop connections that are silent for a minute.
const HEARTBEAT: Duration = Duration::from_secs(20);

/// Streams changes (`text/event-stream`).
#[utoipa::path(get, operation_id = "stream_events", path = "/api/v1/events", tag = "controller",
    responses((status = 200, body = Event, content_type = "text/event-stream")))]
pub(super) async fn stream(State(state): State<ApiState>, Reader(rights): Reader) -> Response {
    let events = changes(state.registry.events(), rights, state.stop.clone());
    let answer = Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT));
    std::future::ready(answer.into_response()).await
}

fn changes(
    events: broadcast::Receiver<Event>,
    rights: Rights,
    stop: Stop,
) -> impl Stream<Item = Result<sse::Event, Infallible>> {
    stream::unfold(
        (events, rights, stop),
        |(mut events, rights, mut stop)| async move {
            let event = loop {
                let received = tokio::select! {
                    received = events.recv() => received,
                    () = stop.wait() => return None,
                };
                match received {
                    Ok(event) if rights.within(event.network) < Role::Viewer => {}
                    Ok(event) => {
                        break sse::Event::default()
                            .event(&event.kind)
                            .json_data(&event)
                            .unwrap_or_default();
                    }
                    Err(RecvError::Lagged(_)) => {
                        break sse::Event::default().event("lagged").data("{}");
                    }
                    Err(RecvError::Closed) => return None,
                }
            };
            Some((Ok(event), (events, rights, stop)))
        },
    )
}
