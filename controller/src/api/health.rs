//! `/healthz` and `/readyz`

use axum::{extract::State, http::StatusCode};

use super::{ApiState, Problem};

/// Answers as long as the process runs.
#[utoipa::path(get, operation_id = "alive_health", path = "/healthz", tag = "controller", security(()), responses((status = 200)))]
pub(super) async fn alive() -> &'static str {
    std::future::ready("ok\n").await
}

/// Answers 200 if the controller can serve, 503 if not.
#[utoipa::path(get, operation_id = "ready_health", path = "/readyz", tag = "controller", security(()), responses((status = 200), (status = 503)))]
pub(super) async fn ready(State(state): State<ApiState>) -> Result<&'static str, Problem> {
    if state.store.is_ready().await {
        Ok("ok\n")
    } else {
        Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "store-unavailable",
            "the store does not answer: check its disk",
        ))
    }
}
