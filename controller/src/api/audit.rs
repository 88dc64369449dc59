//! `/api/v1/audit`

use axum::extract::State;
use tombolo_proto::api::{AuditEntry, Page};

use super::{ApiState, Problem, extract::Paging};
use crate::auth::Admin;

/// Lists what was done, oldest first.
#[utoipa::path(get, operation_id = "list_audit", path = "/api/v1/audit", tag = "controller", params(Paging),
    responses((status = 200, body = Page<AuditEntry>)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    _admin: Admin,
    paging: Paging,
) -> Result<axum::Json<Page<AuditEntry>>, Problem> {
    let after = paging.after_parsed()?.unwrap_or_default();
    let items = state.store.audit(after, paging.fetch()).await?;
    Ok(paging.page(items, |entry| entry.id.to_string()))
}
