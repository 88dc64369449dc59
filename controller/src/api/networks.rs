//! `/api/v1/networks`

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use tombolo_domain::{
    command::Command,
    network as domain,
    settings::{Settings, V4Plan},
};
use tombolo_proto::api::{Network, NetworkPatch, NetworkSummary, NewNetwork, Page, Role};

use super::{
    ApiState, Problem,
    etag::{self, IfMatch},
    extract::{Json, Paging, Params},
    members,
    once::{Answer, Once},
    views,
};
use crate::{
    auth::{Admin, Reader},
    networks::{ChangeError, Wish},
};

/// Lists networks.
#[utoipa::path(get, operation_id = "list_networks", path = "/api/v1/networks", tag = "networks", params(Paging),
    responses((status = 200, body = Page<Network>)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    Reader(rights): Reader,
    paging: Paging,
) -> Result<axum::Json<Page<Network>>, Problem> {
    let mut items = Vec::new();
    let mut after = paging.after_parsed()?;
    // Those that the caller may not see make no page shorter.
    while items.len() < paging.fetch() as usize {
        let ids = state.networks.ids(after, paging.fetch()).await?;
        let Some(last) = ids.last() else { break };
        after = Some(*last);
        for id in ids {
            if rights.within(id) >= Role::Viewer
                && let Some(loaded) = state.networks.load(id).await?
            {
                items.push(views::network(&loaded.network, &state.networks));
            }
        }
    }
    Ok(paging.page(items, |network| network.id.to_string()))
}

/// Creates a network.
#[utoipa::path(post, operation_id = "create_network", path = "/api/v1/networks", tag = "networks", request_body = NewNetwork,
    responses((status = 201, body = Network)))]
pub(super) async fn create(
    State(state): State<ApiState>,
    Admin(actor): Admin,
    once: Once,
    Json(new): Json<NewNetwork>,
) -> Result<Response, Problem> {
    let patch = views::settings_patch(None, new.v4.as_deref(), &new.settings, &V4Plan::default())?;
    let defaults = Settings::new(new.name.parse()?);
    let settings = Settings {
        private: patch.private.unwrap_or(defaults.private),
        mtu: patch.mtu.unwrap_or(defaults.mtu),
        v4: patch.v4.unwrap_or(defaults.v4),
        subnet_pools: match patch.subnet_pools {
            Some(pools) => pools,
            None => defaults.subnet_pools,
        },
        v6_modes: patch.v6_modes.unwrap_or(defaults.v6_modes),
        member_routes: patch.member_routes.unwrap_or(defaults.member_routes),
        name: defaults.name,
        rules: defaults.rules,
    };
    let answer = |network: &domain::Network| {
        let body = views::network(network, &state.networks);
        Answer::created(&body)
            .at(format!("/api/v1/networks/{}", body.id))
            .tagged(&body)
    };
    let kept = |network: &domain::Network| once.keep(&answer(network));
    let network = state.networks.create(None, settings, &actor, &kept).await?;
    Ok(answer(&network).into_response())
}

/// Shows a network.
#[utoipa::path(get, operation_id = "show_network", path = "/api/v1/networks/{id}", tag = "networks", params(("id" = String, Path)),
    responses((status = 200, body = Network)))]
pub(super) async fn show(
    State(state): State<ApiState>,
    _reader: Reader,
    Params(id): Params<String>,
) -> Result<Response, Problem> {
    let loaded = state.networks.get(views::network_id(&id)?).await?;
    let body = views::network(&loaded.network, &state.networks);
    Ok(etag::tagged(&etag::of(&body), &body))
}

/// Counts members and waiting requests.
#[utoipa::path(get, operation_id = "summarize_network", path = "/api/v1/networks/{id}/summary", tag = "networks",
    params(("id" = String, Path)), responses((status = 200, body = NetworkSummary)))]
pub(super) async fn summary(
    State(state): State<ApiState>,
    _reader: Reader,
    Params(id): Params<String>,
) -> Result<axum::Json<NetworkSummary>, Problem> {
    let loaded = state.networks.get(views::network_id(&id)?).await?;
    let network = &loaded.network;
    let is_online = members::online(&state, network).await?;
    let (sent, received) = match state.store.traffic(network.id()).await {
        Err(error) if error.is_outage() => (0, 0),
        told => told?,
    };
    let count = |number: usize| number as u64;
    Ok(axum::Json(NetworkSummary {
        members: count(network.members().count()),
        online: count(
            network
                .members()
                .filter(|member| is_online(&member.identity))
                .count(),
        ),
        waiting: count(network.requests().count()),
        sent,
        received,
    }))
}

/// Changes a network.
#[utoipa::path(patch, operation_id = "update_network", path = "/api/v1/networks/{id}", tag = "networks", params(("id" = String, Path)),
    request_body = NetworkPatch, responses((status = 200, body = Network)))]
pub(super) async fn update(
    State(state): State<ApiState>,
    Admin(actor): Admin,
    Params(id): Params<String>,
    if_match: IfMatch,
    Json(patch): Json<NetworkPatch>,
) -> Result<Response, Problem> {
    let id = views::network_id(&id)?;
    let loaded = state.networks.get(id).await?;
    let (name, v4) = (patch.name.as_deref(), patch.v4.as_deref());
    let current = &loaded.network.settings().v4;
    let wanted = views::settings_patch(name, v4, &patch.settings, current)?;
    let wish = Wish::new(&actor, "network.update", String::new());
    let after = state
        .networks
        .change(id, wish, |network, _| {
            if_match.check(&views::network(network, &state.networks))?;
            Ok(Command::Configure(wanted.clone()))
        })
        .await?;
    let body = views::network(&after, &state.networks);
    Ok(etag::tagged(&etag::of(&body), &body))
}

/// Deletes a network with its members, routes and tokens.
#[utoipa::path(delete, operation_id = "delete_network", path = "/api/v1/networks/{id}", tag = "networks", params(("id" = String, Path)),
    responses((status = 204)))]
pub(super) async fn remove(
    State(state): State<ApiState>,
    Admin(actor): Admin,
    Params(id): Params<String>,
    if_match: IfMatch,
) -> Result<StatusCode, Problem> {
    let id = views::network_id(&id)?;
    let loaded = state.networks.get(id).await?;
    if_match.check(&views::network(&loaded.network, &state.networks))?;
    match state.networks.remove(id, &actor).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(error @ ChangeError::UnknownNetwork) => Err(error.into()),
        Err(error) => Err(error.into()),
    }
}
