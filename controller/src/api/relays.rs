//! `/api/v1/networks/{id}/relays`: who relays, and how much it is needed.

use std::{cmp::Reverse, collections::BTreeMap};

use axum::extract::State;
use tombolo_domain::network::Network;
use tombolo_proto::{
    api::{ControllerRelay, MemberRelay, NetworkRelays},
    id::NodeId,
};

use super::{ApiState, Problem, extract::Params, keyring::SILENT_SECONDS, members, views};
use crate::auth::Reader;

/// Members that are listed: more than anybody reads.
const MAX_MEMBERS: usize = 100;

/// Shows who relays in a network: controllers, and the members that may. Which links need a relay is what members told
/// within the last minute and a half.
#[utoipa::path(get, operation_id = "list_relays", path = "/api/v1/networks/{id}/relays", tag = "members",
    params(("id" = String, Path)), responses((status = 200, body = NetworkRelays)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    _reader: Reader,
    Params(id): Params<String>,
) -> Result<axum::Json<NetworkRelays>, Problem> {
    let loaded = state.networks.get(views::network_id(&id)?).await?;
    let network = &loaded.network;
    let used = match state.store.relay_use(network.id()).await {
        Err(error) if error.is_outage() => BTreeMap::new(),
        used => used?,
    };
    let members = allowed(&state, network, &used).await?;
    Ok(axum::Json(NetworkRelays {
        controllers: controllers(&state).await?,
        controller_links: used.get(&None).copied().unwrap_or_default(),
        members_allowed: members.len() as u64,
        members: members.into_iter().take(MAX_MEMBERS).collect(),
    }))
}

/// The members that may relay: those that are needed most come first.
async fn allowed(
    state: &ApiState,
    network: &Network,
    used: &BTreeMap<Option<NodeId>, u64>,
) -> Result<Vec<MemberRelay>, Problem> {
    let is_online = members::online(state, network).await?;
    let mut relays: Vec<MemberRelay> = network
        .members()
        .filter(|member| member.relay && member.is_authorized())
        .map(|member| MemberRelay {
            node: member.node,
            name: member.name.to_string(),
            online: is_online(&member.identity),
            links: used.get(&Some(member.node)).copied().unwrap_or_default(),
        })
        .collect();
    relays.sort_by_key(|relay| (Reverse((relay.links, relay.online)), relay.node));
    Ok(relays)
}

/// The replicas that nodes trust. While the store is away, only this one is known to be there.
async fn controllers(state: &ApiState) -> Result<Vec<ControllerRelay>, Problem> {
    let held = state.signer.held();
    let this = state.signer.replica().public();
    let own = state.relay.totals();
    let known = match state.store.known_replicas().await {
        Err(error) if error.is_outage() => {
            return Ok(vec![ControllerRelay {
                key: this,
                endpoints: Vec::new(),
                alive: true,
                this: true,
                clients: own.clients,
                bytes: own.bytes,
            }]);
        }
        known => known?,
    };
    let admitted = known
        .into_iter()
        .filter(|known| held.keyring.replicas.contains(&known.replica.key));
    Ok(admitted
        .map(|known| {
            let is_this = known.replica.key == this;
            let relayed = if is_this { own.into() } else { known.relayed };
            ControllerRelay {
                key: known.replica.key,
                endpoints: known
                    .replica
                    .endpoints
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
                alive: is_this || known.silent_for < SILENT_SECONDS,
                this: is_this,
                clients: relayed.clients,
                bytes: relayed.bytes,
            }
        })
        .collect())
}
