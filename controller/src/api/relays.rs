//! `/api/v1/networks/{id}/relays`: who relays, and how much it is needed.

use std::{cmp::Reverse, collections::BTreeMap};

use axum::extract::State;
use tombolo_domain::member::Member;
use tombolo_proto::{
    api::{ControllerRelay, MemberRelay, NetworkRelays},
    key::IdentityKey,
};

use super::{ApiState, Problem, extract::Params, keyring::SILENT_SECONDS, members, views};
use crate::auth::Reader;

/// Members that are listed of either kind: more than anybody reads.
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
    let is_online = members::online(&state, network).await?;
    let authorized = || network.members().filter(|member| member.is_authorized());
    let others = authorized().filter(|member| !member.relay);
    let others: Vec<&Member> = others.take(MAX_MEMBERS).collect();
    let mut allowed: Vec<&Member> = authorized().filter(|member| member.relay).collect();
    let members_allowed = allowed.len() as u64;
    // Those that are needed most come first. Of ten thousand only these are sorted.
    let rank = |member: &&Member| {
        let links = used.get(&Some(member.node)).copied().unwrap_or_default();
        (Reverse((links, is_online(&member.identity))), member.node)
    };
    if allowed.len() > MAX_MEMBERS {
        allowed.select_nth_unstable_by_key(MAX_MEMBERS, rank);
        allowed.truncate(MAX_MEMBERS);
    }
    allowed.sort_unstable_by_key(rank);
    let listed = allowed.iter().chain(&others).map(|member| member.identity);
    let listed: Vec<IdentityKey> = listed.collect();
    let carried = match state.store.carried(network.id(), &listed).await {
        Err(error) if error.is_outage() => BTreeMap::new(),
        carried => carried?,
    };
    let view = |member: &Member| {
        let carried = carried.get(&member.identity);
        MemberRelay {
            node: member.node,
            name: member.name.to_string(),
            online: is_online(&member.identity),
            links: used.get(&Some(member.node)).copied().unwrap_or_default(),
            clients: carried.map(|carried| carried.clients),
            bytes: carried.map(|carried| carried.bytes),
        }
    };
    Ok(axum::Json(NetworkRelays {
        controllers: controllers(&state).await?,
        controller_links: used.get(&None).copied().unwrap_or_default(),
        members_allowed,
        members: allowed.into_iter().map(view).collect(),
        others: others.into_iter().map(view).collect(),
    }))
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
                endpoints: views::endpoints(&known.replica.endpoints),
                alive: is_this || known.silent_for < SILENT_SECONDS,
                this: is_this,
                clients: relayed.clients,
                bytes: relayed.bytes,
            }
        })
        .collect())
}
