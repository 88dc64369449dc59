//! `/api/v1/status`

use axum::extract::State;
use tombolo_proto::api::Status;

use super::{ApiState, Problem, views};
use crate::auth::Reader;

/// Shows the controller itself.
#[utoipa::path(get, operation_id = "show_status", path = "/api/v1/status", tag = "controller", responses((status = 200, body = Status)))]
pub(super) async fn show(
    State(state): State<ApiState>,
    _reader: Reader,
) -> Result<axum::Json<Status>, Problem> {
    let signer = &state.signer;
    let last_backup = match state.store.last_backup().await {
        Err(error) if error.is_outage() => None,
        last => last?,
    };
    Ok(axum::Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        authority: signer.authority(),
        authority_key: signer.root(),
        replica_key: signer.replica().public(),
        endpoints: views::endpoints(&signer.held().keyring.endpoints),
        networks: state.networks.count().await?,
        connected_nodes: state.registry.connected() as u64,
        admitted: signer.is_admitted(),
        epoch: signer.epoch().0,
        store: state.store.url().kind().to_owned(),
        store_unreachable_seconds: super::outage::seconds(&state),
        last_backup,
        uptime: state.started.elapsed().as_secs(),
    }))
}
