//! Changes, as they happen: the event stream of the web API, for the page that is open.

use std::time::Duration;

use axum::{
    body::Body,
    http::{Method, header},
    response::{IntoResponse as _, Response},
};
use futures_util::StreamExt as _;

use super::visit::SignedIn;
use crate::api::Problem;

/// After this the browser asks again, so that who was signed out meanwhile hears no more.
const TURN: Duration = Duration::from_secs(300);

pub(super) async fn stream(by: SignedIn) -> Result<Response, Problem> {
    let events = by.api.send(Method::GET, "/events", Body::empty()).await?;
    let turn = Box::pin(tokio::time::sleep(TURN));
    let stream = events.into_body().into_data_stream().take_until(turn);
    let kind = [(header::CONTENT_TYPE, "text/event-stream")];
    Ok((kind, Body::from_stream(stream)).into_response())
}
