//! `/api/v1/networks/{id}/routes`

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use tombolo_domain::{
    command::{self, Author, Command, RouteWish},
    managed_route::{RouteId, RouteState},
    network::Network,
    prefix::TypedPrefix,
    refusal::Refusal,
};
use tombolo_proto::{
    api::{self, NewRoute, Page, Route, RoutePatch},
    key::IdentityKey,
};

use super::{
    ApiState, Problem,
    etag::{self, IfMatch},
    extract::{Json, Paging, Params},
    once::{Answer, Once},
    views,
};
use crate::{
    auth::{Operator, Reader},
    networks::{ChangeError, Wish},
};

/// Lists routes.
#[utoipa::path(get, operation_id = "list_routes", path = "/api/v1/networks/{id}/routes", tag = "routes", params(("id" = String, Path), Paging),
    responses((status = 200, body = Page<Route>)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    _reader: Reader,
    Params(id): Params<String>,
    paging: Paging,
) -> Result<axum::Json<Page<Route>>, Problem> {
    let loaded = state.networks.get(views::network_id(&id)?).await?;
    let after: Option<RouteId> = paging.after_parsed()?;
    let items = loaded
        .network
        .routes()
        .filter(|route| after.is_none_or(|after| route.id > after))
        .map(|route| views::route(&loaded.network, route));
    Ok(paging.page(items, |route| route.id.clone()))
}

/// Shows a route.
#[utoipa::path(get, operation_id = "show_route", path = "/api/v1/networks/{id}/routes/{route}", tag = "routes",
    params(("id" = String, Path), ("route" = String, Path)), responses((status = 200, body = Route)))]
pub(super) async fn show(
    State(state): State<ApiState>,
    _reader: Reader,
    Params((id, route)): Params<(String, String)>,
) -> Result<Response, Problem> {
    let loaded = state.networks.get(views::network_id(&id)?).await?;
    let body = view(&loaded.network, route_id(&route)?)?;
    Ok(etag::tagged(&etag::of(&body), &body))
}

/// Adds a route. Host bits are cut off, and the answer says so.
#[utoipa::path(post, operation_id = "add_route", path = "/api/v1/networks/{id}/routes", tag = "routes", params(("id" = String, Path)),
    request_body = NewRoute, responses((status = 201, body = Route)))]
pub(super) async fn add(
    State(state): State<ApiState>,
    Operator(actor): Operator,
    once: Once,
    Params(id): Params<String>,
    Json(new): Json<NewRoute>,
) -> Result<Response, Problem> {
    let id = views::network_id(&id)?;
    let typed: TypedPrefix = new.target.parse()?;
    let answer = |after: &Network| -> Result<Answer, ChangeError> {
        let behind = via(after, &new.via)?;
        let added = after
            .routes()
            .find(|route| route.target == typed.prefix && route.via == behind)
            .ok_or(Refusal::UnknownRoute)?;
        let body = Route {
            normalized_from: typed.normalized_from,
            ..views::route(after, added)
        };
        let location = format!("/api/v1/networks/{id}/routes/{}", body.id);
        Ok(Answer::created(&body).at(location))
    };
    let kept = |after: &Network| answer(after).ok().and_then(|answer| once.keep(&answer));
    let subject = format!("{} via {:.80}", typed.prefix, new.via);
    let wish = Wish::new(&actor, "route.add", subject).answering(&kept);
    let after = state
        .networks
        .change(id, wish, |network, _| {
            Ok(Command::AddRoute(RouteWish {
                id: RouteId(rand::random()),
                target: typed.prefix,
                via: via(network, &new.via)?,
                mode: new.mode,
                metric: new.metric,
                author: Author::Admin,
            }))
        })
        .await?;
    Ok(answer(&after)?.into_response())
}

/// Approves or changes a route.
#[utoipa::path(patch, operation_id = "update_route", path = "/api/v1/networks/{id}/routes/{route}", tag = "routes",
    params(("id" = String, Path), ("route" = String, Path)), request_body = RoutePatch,
    responses((status = 200, body = Route)))]
pub(super) async fn update(
    State(state): State<ApiState>,
    Operator(actor): Operator,
    Params((id, route)): Params<(String, String)>,
    if_match: IfMatch,
    Json(patch): Json<RoutePatch>,
) -> Result<Response, Problem> {
    let id = views::network_id(&id)?;
    let route = route_id(&route)?;
    let wanted = command::RoutePatch {
        state: patch.state.map(|state| match state {
            api::RouteState::Active => RouteState::Active,
            api::RouteState::Pending => RouteState::Pending,
            api::RouteState::Suspended => RouteState::Suspended,
        }),
        mode: patch.mode,
        metric: patch.metric,
    };
    let wish = Wish::new(&actor, "route.update", route.to_string());
    let after = state
        .networks
        .change(id, wish, |network, _| {
            if_match.check(&view(network, route)?)?;
            Ok(Command::UpdateRoute {
                id: route,
                patch: wanted.clone(),
            })
        })
        .await?;
    let body = view(&after, route)?;
    Ok(etag::tagged(&etag::of(&body), &body))
}

/// Deletes a route.
#[utoipa::path(delete, operation_id = "delete_route", path = "/api/v1/networks/{id}/routes/{route}", tag = "routes",
    params(("id" = String, Path), ("route" = String, Path)), responses((status = 204)))]
pub(super) async fn remove(
    State(state): State<ApiState>,
    Operator(actor): Operator,
    Params((id, route)): Params<(String, String)>,
    if_match: IfMatch,
) -> Result<StatusCode, Problem> {
    let id = views::network_id(&id)?;
    let route = route_id(&route)?;
    let wish = Wish::new(&actor, "route.delete", route.to_string());
    state
        .networks
        .change(id, wish, |network, _| {
            if_match.check(&view(network, route)?)?;
            Ok(Command::RemoveRoute(route))
        })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn route_id(text: &str) -> Result<RouteId, Problem> {
    text.parse()
        .map_err(|error| Problem::bad_request(format!("{text:?} is not a route id: {error}")))
}

fn view(network: &Network, route: RouteId) -> Result<Route, ChangeError> {
    let route = network.route(route).ok_or(Refusal::UnknownRoute)?;
    Ok(views::route(network, route))
}

/// A member by node address, by one of its addresses, or by name.
fn via(network: &Network, text: &str) -> Result<IdentityKey, ChangeError> {
    if let Ok(node) = text.parse() {
        let found = network.by_node(node).ok_or(Refusal::UnknownMember)?;
        return Ok(found.identity());
    }
    let member = match (text.parse(), text.parse()) {
        (Ok(address), _) => network.by_address(address),
        (_, Ok(name)) => network.by_name(&name),
        (Err(_), Err(_)) => None,
    };
    Ok(member.ok_or(Refusal::UnknownMember)?.identity)
}
