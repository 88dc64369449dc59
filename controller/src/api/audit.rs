//! `/api/v1/audit`

use axum::{
    extract::{FromRequestParts, State},
    http::request::Parts,
};
use serde::Deserialize;
use tombolo_proto::api::{AuditEntry, AuditHead, Page};

use super::{
    ApiState, Problem,
    extract::{Asked, Paging},
    views,
};
use crate::{auth::Admin, store::AuditFilter};

/// Which lines of the audit log are wanted.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditQuery {
    /// How many items, 1 to 1000; 100 by default.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next` of the page before.
    after: Option<String>,
    /// Only by this one, written as in the answer.
    actor: Option<String>,
    /// Only this action.
    action: Option<String>,
    /// Only in this network.
    #[param(pattern = "^[0-9a-f]{16}$")]
    network: Option<String>,
    /// Only from this time on.
    since: Option<u64>,
    /// Only before this time.
    until: Option<u64>,
    /// `newest` to begin with the last line; `oldest` by default.
    #[param(inline)]
    order: Option<Order>,
}

/// Which end comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum Order {
    Oldest,
    Newest,
}

impl<S: Send + Sync> FromRequestParts<S> for AuditQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Asked::from_request_parts(parts, state)
            .await
            .map(|Asked(query)| query)
    }
}

/// Lists what was done.
#[utoipa::path(get, operation_id = "list_audit", path = "/api/v1/audit", tag = "controller", params(AuditQuery),
    responses((status = 200, body = Page<AuditEntry>)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    _admin: Admin,
    query: AuditQuery,
) -> Result<axum::Json<Page<AuditEntry>>, Problem> {
    let paging = Paging::new(query.limit, query.after)?;
    let is_time = |seconds: Option<u64>| seconds.is_none_or(|at| i64::try_from(at).is_ok());
    if !is_time(query.since) || !is_time(query.until) {
        return Err(Problem::bad_request(
            "`since` and `until` must be seconds since 1970",
        ));
    }
    let network = query
        .network
        .as_deref()
        .map(views::network_id)
        .transpose()?;
    let filter = AuditFilter {
        actor: query.actor,
        action: query.action,
        network,
        since: query.since,
        until: query.until,
        newest_first: query.order == Some(Order::Newest),
    };
    let beyond = paging.after_parsed()?;
    let items = state.store.audit(beyond, &filter, paging.fetch()).await?;
    Ok(paging.page(items, |entry| entry.id.to_string()))
}

/// Shows the end of the audit log.
#[utoipa::path(get, operation_id = "show_audit_head", path = "/api/v1/audit/head", tag = "controller",
    responses((status = 200, body = AuditHead)))]
pub(super) async fn head(
    State(state): State<ApiState>,
    _admin: Admin,
) -> Result<axum::Json<AuditHead>, Problem> {
    Ok(axum::Json(state.store.audit_head().await?))
}
