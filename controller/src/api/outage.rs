//! While the store cannot be reached: reads are answered from memory and marked, changes are refused at once.

use axum::{
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use super::{ApiState, Problem};

/// Marks an answer that may be out of date: for how many seconds the store has not answered.
const STALE: HeaderName = HeaderName::from_static("tombolo-stale-seconds");
/// When to try again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// For how many seconds the store has not answered, if it does not.
pub(super) fn seconds(state: &ApiState) -> Option<u64> {
    let since = state.store.health().down_since()?;
    Some(since.elapsed().as_secs())
}

/// Lets no request wait for a store that is gone.
pub(super) async fn survive(
    State(state): State<ApiState>,
    request: Request,
    next: Next,
) -> Response {
    if request.method() == Method::GET {
        let (parts, _) = request.into_parts();
        let again = Request::from_parts(parts.clone(), axum::body::Body::empty());
        let first = Request::from_parts(parts, axum::body::Body::empty());
        let response = if seconds(&state).is_some() {
            next.run(first).await
        } else {
            tokio::select! {
                response = next.clone().run(first) => response,
                // From now on every answer comes from memory.
                () = state.store.health().wait_down() => next.run(again).await,
            }
        };
        return mark(&state, response);
    }
    tokio::select! {
        response = next.run(request) => response,
        () = state.store.health().wait_down() => refuse(),
    }
}

fn mark(state: &ApiState, mut response: Response) -> Response {
    if let Some(seconds) = seconds(state) {
        response
            .headers_mut()
            .insert(STALE, HeaderValue::from(seconds));
    }
    response
}

fn refuse() -> Response {
    let mut response = Problem::unavailable().into_response();
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, RETRY_AFTER);
    response
}
