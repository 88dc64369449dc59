//! `/peer/{node}`: panels ask it to tell who is there.

use axum::extract::State;
use serde::Serialize;
use tombolo_domain::network::Found;
use tombolo_proto::{
    api::{LinkCounts, Role},
    id::NodeId,
};
use utoipa::ToSchema;

use super::{
    super::{
        ApiState, Problem,
        extract::Params,
        members::{check_node, with_reports},
        views,
    },
    NETWORKS_TOGETHER, shape,
};
use crate::auth::Reader;

/// A member that is connected to a controller now.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ZeroTierPeer)]
#[serde(rename_all = "camelCase")]
pub(in super::super) struct PeerShape {
    #[schema(value_type = String)]
    address: NodeId,
    role: &'static str,
    version: String,
    version_major: i64,
    version_minor: i64,
    version_rev: i64,
    /// The median of its round trips to other members, in milliseconds; 0 if there are none, -1 if it reaches them by
    /// relays only.
    latency: i64,
    /// Controllers are not told by which addresses members are reached.
    #[schema(value_type = Vec<Object>)]
    paths: [(); 0],
    is_bonded: bool,
    tunneled: bool,
}

/// Shows a member that is connected now, whichever network that the caller may see it is in.
#[utoipa::path(get, operation_id = "zerotier_show_peer", path = "/peer/{node}", tag = "zerotier", params(("node" = String, Path)),
    responses((status = 200, body = PeerShape)))]
pub(in super::super) async fn show(
    State(state): State<ApiState>,
    Reader(rights): Reader,
    Params(node): Params<String>,
) -> Result<axum::Json<PeerShape>, Problem> {
    let node = check_node(&node)?;
    let mut after = None;
    loop {
        let ids = state.networks.ids(after, NETWORKS_TOGETHER).await?;
        let Some(last) = ids.last() else { break };
        after = Some(*last);
        for id in ids {
            if rights.within(id) < Role::Viewer {
                continue;
            }
            let Some(loaded) = state.networks.load(id).await? else {
                continue;
            };
            let Some(found @ Found::Member(_)) = loaded.network.by_node(node) else {
                continue;
            };
            let member = views::member(&loaded.network, found);
            let reported = with_reports(&state, id, vec![member]).await?;
            if let Some(member) = reported.into_iter().find(|member| member.online) {
                return Ok(axum::Json(peer(
                    node,
                    member.version.as_deref(),
                    member.links.as_ref(),
                )));
            }
        }
    }
    Err(Problem::not_found(format!(
        "no member {node} is connected to a controller now"
    )))
}

fn peer(node: NodeId, version: Option<&str>, links: Option<&LinkCounts>) -> PeerShape {
    let numbers = shape::version_numbers(version.unwrap_or_default());
    let [version_major, version_minor, version_rev] = numbers;
    let latency = match links {
        Some(links) if links.direct == 0 && links.relayed > 0 => -1,
        Some(links) => links
            .latency_us
            .map_or(0, |latency| i64::from(latency / 1000)),
        None => 0,
    };
    PeerShape {
        address: node,
        role: "LEAF",
        version: numbers.map(|number| number.to_string()).join("."),
        version_major,
        version_minor,
        version_rev,
        latency,
        paths: [],
        is_bonded: false,
        tunneled: false,
    }
}
