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
    let unavailable =
        |kind, detail| Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, kind, detail));
    if !state.signer.is_admitted() {
        return unavailable(
            "not-admitted",
            format!(
                "this replica's key {} is not in the keyring: run `tombolo-controller keyring add --all-pending` where the root key is",
                state.signer.replica().public()
            ),
        );
    }
    if state.store.health().down_since().is_some() || !state.store.is_ready().await {
        let detail = "the store does not answer: check its server or its disk";
        return unavailable("store-unavailable", detail.to_owned());
    }
    Ok("ok\n")
}
