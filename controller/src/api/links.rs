//! `/api/v1/networks/{id}/links`: how members reach each other.

use axum::extract::State;
use tombolo_proto::{
    api::{LinkCarrier, LinkPath, MemberLinks, Page, PeerLink},
    id::NodeId,
    links::Link,
};

use super::{
    ApiState, Problem,
    extract::{Paging, Params},
    views,
};
use crate::{auth::Reader, store::StoredLinks};

/// Lists how members reach each other, as they told within the last minute and a half. Members that told nothing are missing.
#[utoipa::path(get, operation_id = "list_links", path = "/api/v1/networks/{id}/links", tag = "members", params(("id" = String, Path), Paging),
    responses((status = 200, body = Page<MemberLinks>)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    _reader: Reader,
    Params(id): Params<String>,
    paging: Paging,
) -> Result<axum::Json<Page<MemberLinks>>, Problem> {
    let loaded = state.networks.get(views::network_id(&id)?).await?;
    let after: Option<NodeId> = paging.after_parsed()?;
    let fetch = paging.fetch().saturating_add(u32::from(after.is_some()));
    let told = state
        .store
        .links(loaded.network.id(), (after, None), fetch)
        .await?;
    let items = told
        .into_iter()
        .filter(|told| Some(told.node) != after)
        .map(view);
    Ok(paging.page(items, |told| told.node.to_string()))
}

/// Shows how a member reaches its peers, as it told within the last minute and a half.
#[utoipa::path(get, operation_id = "show_links", path = "/api/v1/networks/{id}/links/{node}", tag = "members",
    params(("id" = String, Path), ("node" = String, Path)), responses((status = 200, body = MemberLinks)))]
pub(super) async fn show(
    State(state): State<ApiState>,
    _reader: Reader,
    Params((id, node)): Params<(String, String)>,
) -> Result<axum::Json<MemberLinks>, Problem> {
    let loaded = state.networks.get(views::network_id(&id)?).await?;
    let node = super::members::check_node(&node)?;
    let range = (Some(node), Some(node));
    let told = state.store.links(loaded.network.id(), range, 1).await?;
    let told = told.into_iter().next().ok_or_else(|| {
        Problem::not_found(
            "this member told nothing of its links of late: list members to see who is online",
        )
    })?;
    Ok(axum::Json(view(told)))
}

fn view(told: StoredLinks) -> MemberLinks {
    MemberLinks {
        node: told.node,
        told_at: told.told_at,
        sent: told.report.sent,
        received: told.report.received,
        links: told.report.links.iter().map(peer).collect(),
    }
}

fn peer(link: &Link) -> PeerLink {
    let relay = link.way.relay();
    PeerLink {
        node: link.peer,
        path: if relay.is_some() {
            LinkPath::Relay
        } else {
            LinkPath::Direct
        },
        via: relay.flatten(),
        carrier: if link.way.is_by_tcp() {
            LinkCarrier::Tcp
        } else {
            LinkCarrier::Udp
        },
        latency_us: link.latency,
    }
}
