//! The API of ZeroTier's own controller, for tools that were written for that one: `/controller`, `/controller/network…`,
//! `/status` and `/peer/…`, with an API token in `X-ZT1-Auth`. A translation: what these operations do is done by the same commands, and
//! shows in the same audit log, as what `/api/v1` does.
//!
//! The forms of ids agree: a network is named by 16 digits of which the first 10 are the controller's address, a node by 10.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use tombolo_domain::network as domain;
use tombolo_proto::{api::Role, id::NetworkId};

use super::{
    ApiState, Problem,
    etag::{self, IfMatch},
    extract::Params,
    once::{Answer, Once},
    outage, views,
};
use crate::{
    auth::{Admin, Reader},
    networks::Wish,
    store::Actor,
};

mod loose;
pub(super) mod members;
pub(super) mod peers;
mod shape;
mod wanted;

pub(crate) use loose::Fields;
pub(crate) use wanted::accepts_ip;

/// What stands for the number of a network in the path that makes one.
const ANY_NUMBER: &str = "______";
/// Ids of networks that are read at once.
const NETWORKS_TOGETHER: u32 = 1000;

fn clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// The controller as a node of ZeroTier.
#[utoipa::path(get, operation_id = "zerotier_status", path = "/status", tag = "zerotier", responses((status = 200, body = shape::Status)))]
pub(super) async fn status(State(state): State<ApiState>, _reader: Reader) -> Response {
    let version = env!("CARGO_PKG_VERSION");
    let [version_major, version_minor, version_rev] = shape::version_numbers(version);
    let address = state.signer.authority();
    axum::Json(shape::Status {
        address,
        public_identity: shape::identity(address, &state.signer.root()),
        clock: clock(),
        online: true,
        tcp_fallback_active: false,
        planet_world_id: 0,
        planet_world_timestamp: 0,
        version: version.to_owned(),
        version_major,
        version_minor,
        version_rev,
        version_build: 0,
        config: shape::Config::default(),
    })
    .into_response()
}

/// That there is a controller.
#[utoipa::path(get, operation_id = "zerotier_controller", path = "/controller", tag = "zerotier", responses((status = 200, body = shape::ControllerStatus)))]
pub(super) async fn controller(State(state): State<ApiState>, _reader: Reader) -> Response {
    let database_ready = outage::seconds(&state).is_none();
    let status = if database_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = shape::ControllerStatus {
        controller: true,
        api_version: shape::API_VERSION,
        clock: clock(),
        database_ready,
    };
    (status, axum::Json(body)).into_response()
}

/// Lists the ids of networks.
#[utoipa::path(get, operation_id = "zerotier_list_networks", path = "/controller/network", tag = "zerotier", responses((status = 200, body = Vec<String>)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    Reader(rights): Reader,
) -> Result<axum::Json<Vec<String>>, Problem> {
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let ids = state.networks.ids(after, NETWORKS_TOGETHER).await?;
        let Some(last) = ids.last() else { break };
        after = Some(*last);
        let shown = ids.iter().filter(|id| rights.within(**id) >= Role::Viewer);
        seen.extend(shown.map(ToString::to_string));
    }
    Ok(axum::Json(seen))
}

/// Creates a network.
#[utoipa::path(post, operation_id = "zerotier_create_network", path = "/controller/network", tag = "zerotier",
    request_body(content = Option<Object>, description = "Fields of a network; unknown ones are passed over."),
    responses((status = 200, body = shape::NetworkShape)))]
pub(super) async fn create(
    State(state): State<ApiState>,
    Admin(actor): Admin,
    once: Once,
    fields: Fields,
) -> Result<Response, Problem> {
    make(&state, None, &fields, &actor, &once).await
}

/// Shows a network.
#[utoipa::path(get, operation_id = "zerotier_show_network", path = "/controller/network/{nwid}", tag = "zerotier", params(("nwid" = String, Path)),
    responses((status = 200, body = shape::NetworkShape)))]
pub(super) async fn show(
    State(state): State<ApiState>,
    _reader: Reader,
    Params(id): Params<String>,
) -> Result<Response, Problem> {
    let loaded = state.networks.get(views::network_id(&id)?).await?;
    answer(&state, &loaded.network).await
}

/// Changes a network. With an id of this controller that never was in use, or with the controller's address and
/// `______`, creates one.
#[utoipa::path(post, operation_id = "zerotier_update_network", path = "/controller/network/{nwid}", tag = "zerotier", params(("nwid" = String, Path)),
    request_body(content = Option<Object>, description = "Fields of a network. Those that are not sent stay as they are; unknown ones are passed over."),
    responses((status = 200, body = shape::NetworkShape)))]
pub(super) async fn update(
    State(state): State<ApiState>,
    Reader(rights): Reader,
    Admin(actor): Admin,
    once: Once,
    Params(text): Params<String>,
    if_match: IfMatch,
    fields: Fields,
) -> Result<Response, Problem> {
    if let Some(address) = text.strip_suffix(ANY_NUMBER) {
        if address != state.signer.authority().to_string() {
            return Err(elsewhere(&state));
        }
        return make(&state, None, &fields, &actor, &once).await;
    }
    let id = views::network_id(&text)?;
    if state.networks.load(id).await?.is_none() {
        if id.authority() != state.signer.authority() {
            return Err(elsewhere(&state));
        }
        if rights.everywhere < Role::Admin {
            return Err(Problem::forbidden());
        }
        return make(&state, Some(id), &fields, &actor, &once).await;
    }
    let kept = |after: &domain::Network| once.keep(&Answer::done(&shape::network(after)));
    let wish = Wish::new(&actor, "network.update", String::new()).answering(&kept);
    let after = state
        .networks
        .change(id, wish, |network, _| {
            if_match.check(&shape::network(network))?;
            wanted::network(network, &fields)
        })
        .await?;
    answer(&state, &after).await
}

/// Deletes a network with its members, routes and tokens, and shows what it was.
#[utoipa::path(delete, operation_id = "zerotier_delete_network", path = "/controller/network/{nwid}", tag = "zerotier", params(("nwid" = String, Path)),
    responses((status = 200, body = shape::NetworkShape)))]
pub(super) async fn remove(
    State(state): State<ApiState>,
    Admin(actor): Admin,
    Params(id): Params<String>,
    if_match: IfMatch,
) -> Result<Response, Problem> {
    let id = views::network_id(&id)?;
    let loaded = state.networks.get(id).await?;
    if_match.check(&shape::network(&loaded.network))?;
    let gone = answer(&state, &loaded.network).await?;
    state.networks.remove(id, &actor).await?;
    Ok(gone)
}

async fn make(
    state: &ApiState,
    chosen: Option<NetworkId>,
    fields: &Fields,
    actor: &Actor,
    once: &Once,
) -> Result<Response, Problem> {
    // Certificates of members that an earlier network had would count again in a new one of the same id.
    if let Some(id) = chosen
        && state.store.first_told_of(id).await?.is_some()
    {
        return Err(Problem::conflict(format!(
            "there was a network {id} before, and ids are not used twice: post to /controller/network/{}{ANY_NUMBER}",
            state.signer.authority()
        )));
    }
    let draft = chosen.unwrap_or_else(|| {
        let number = rand::random_range(1..1 << 24);
        NetworkId::new(state.signer.authority(), number).expect("1 to 2^24 - 1 is a network number")
    });
    let settings = wanted::new_network(draft, fields)?;
    let kept = |after: &domain::Network| once.keep(&Answer::done(&shape::network(after)));
    let network = state
        .networks
        .create(chosen, settings, actor, &kept)
        .await?;
    answer(state, &network).await
}

fn elsewhere(state: &ApiState) -> Problem {
    Problem::not_found(format!(
        "networks of this controller begin with {}",
        state.signer.authority()
    ))
}

/// A network with its tag.
async fn answer(state: &ApiState, network: &domain::Network) -> Result<Response, Problem> {
    let mut body = shape::network(network);
    let tag = etag::of(&body);
    let made = match state.store.first_told_of(network.id()).await {
        Err(error) if error.is_outage() => None,
        told => told?,
    };
    body.creation_time = made.map_or(0, |made| made.0.saturating_mul(1000));
    Ok(etag::tagged(&tag, &body))
}
