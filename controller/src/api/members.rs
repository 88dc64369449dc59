//! `/api/v1/networks/{id}/members`

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use tombolo_domain::{
    command::{Author, Command},
    managed_route::RouteId,
    network::{Found, Network},
    refusal::Refusal,
};
use tombolo_proto::{
    api::{LinkCounts, Member, MemberPatch, NewSubnet, Page, Route},
    control::Capabilities,
    id::{NetworkId, NodeId, UnixSeconds},
    key::IdentityKey,
};

use super::{
    ApiState, Problem,
    etag::{self, IfMatch},
    extract::{Asked, Json, Paging, Params},
    once::{Answer, Once},
    views,
};
use crate::{
    auth::{Operator, Reader},
    networks::{ChangeError, Wish},
    store::{Actor, Presence, StoreError},
};

/// Reports of links for one page: the longest there is.
const MAX_REPORTS: u32 = 1001;

/// Which members a list shall hold.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Choice {
    /// How many items, 1 to 1000; 100 by default.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next` of the page before.
    after: Option<String>,
    /// Whether they wait for authorisation.
    waiting: Option<bool>,
    /// Whether they are authorised.
    authorized: Option<bool>,
    /// Whether they may relay.
    relay: Option<bool>,
    /// A part of name, node address, address or tag, in any case.
    q: Option<String>,
}

impl Choice {
    fn admits(&self, network: &Network, found: Found<'_>) -> bool {
        let (is_waiting, is_authorized, may_relay) = match found {
            Found::Member(member) => (false, member.is_authorized(), member.relay),
            Found::Request(_) => (true, false, false),
        };
        self.waiting.is_none_or(|wanted| wanted == is_waiting)
            && self.authorized.is_none_or(|wanted| wanted == is_authorized)
            && self.relay.is_none_or(|wanted| wanted == may_relay)
            && self
                .q
                .as_ref()
                .is_none_or(|text| mentions(network, found, &text.to_lowercase()))
    }
}

fn mentions(network: &Network, found: Found<'_>, text: &str) -> bool {
    let (name, node) = match found {
        Found::Member(member) => (&member.name, member.node),
        Found::Request(request) => (&request.name, request.node),
    };
    let of_member = |member: &tombolo_domain::member::Member| {
        let addresses = network.addresses_of(member);
        member
            .tags
            .iter()
            .any(|tag| tag.to_lowercase().contains(text))
            || addresses
                .iter()
                .any(|address| address.to_string().contains(text))
    };
    name.key().contains(text)
        || node.to_string().contains(text)
        || matches!(found, Found::Member(member) if of_member(member))
}

/// Tells of members whether they are connected to a controller now.
pub(super) async fn online<'a>(
    state: &'a ApiState,
    network: &Network,
) -> Result<impl Fn(&IdentityKey) -> bool + use<'a>, Problem> {
    let here = state.signer.replica().public();
    let elsewhere = match state.store.connected_elsewhere(network.id(), &here).await {
        Err(error) if StoreError::is_outage(&error) => BTreeSet::new(),
        answered => answered?,
    };
    Ok(move |identity: &IdentityKey| {
        state.registry.is_online(identity) || elsewhere.contains(identity)
    })
}

/// Lists members and waiting requests.
#[utoipa::path(get, operation_id = "list_members", path = "/api/v1/networks/{id}/members", tag = "members", params(("id" = String, Path), Choice),
    responses((status = 200, body = Page<Member>)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    _reader: Reader,
    Params(id): Params<String>,
    Asked(choice): Asked<Choice>,
) -> Result<axum::Json<Page<Member>>, Problem> {
    let paging = Paging::new(choice.limit, choice.after.clone())?;
    let loaded = state.networks.get(views::network_id(&id)?).await?;
    let network = &loaded.network;
    let members = network.members().map(Found::Member);
    let requests = network.requests().map(Found::Request);
    let mut by_node: BTreeMap<NodeId, Found<'_>> = BTreeMap::new();
    for found in members.chain(requests) {
        let node = match found {
            Found::Member(member) => member.node,
            Found::Request(request) => request.node,
        };
        by_node.entry(node).or_insert(found);
    }
    let after: Option<NodeId> = paging.after_parsed()?;
    let page: Vec<Member> = by_node
        .into_iter()
        .filter(|(node, _)| after.is_none_or(|after| *node > after))
        .filter(|(_, found)| choice.admits(network, *found))
        .take(paging.fetch() as usize)
        .map(|(_, found)| views::member(network, found))
        .collect();
    let page = with_reports(&state, network.id(), page).await?;
    Ok(paging.page(page, |member| member.node.to_string()))
}

/// Shows a member or a waiting request.
#[utoipa::path(get, operation_id = "show_member", path = "/api/v1/networks/{id}/members/{node}", tag = "members",
    params(("id" = String, Path), ("node" = String, Path)), responses((status = 200, body = Member)))]
pub(super) async fn show(
    State(state): State<ApiState>,
    _reader: Reader,
    Params((id, node)): Params<(String, String)>,
) -> Result<Response, Problem> {
    let loaded = state.networks.get(views::network_id(&id)?).await?;
    let found = find(&loaded.network, &node)?;
    answer(
        &state,
        &loaded.network,
        views::member(&loaded.network, found),
    )
    .await
}

/// Authorises, deauthorises or changes a member.
#[utoipa::path(patch, operation_id = "update_member", path = "/api/v1/networks/{id}/members/{node}", tag = "members",
    params(("id" = String, Path), ("node" = String, Path)), request_body = MemberPatch,
    responses((status = 200, body = Member)))]
pub(super) async fn update(
    State(state): State<ApiState>,
    Operator(actor): Operator,
    Params((id, node)): Params<(String, String)>,
    if_match: IfMatch,
    Json(patch): Json<MemberPatch>,
) -> Result<Response, Problem> {
    let id = views::network_id(&id)?;
    let wanted = views::member_patch(&patch)?;
    check_node(&node)?;
    let wish = wish(&actor, action(&patch), &node);
    let after = state
        .networks
        .change(id, wish, |network, _| {
            let found = find(network, &node)?;
            if_match.check(&views::member(network, found))?;
            Ok(Command::UpdateMember {
                identity: found.identity(),
                patch: wanted.clone(),
            })
        })
        .await?;
    let found = find(&after, &node)?;
    answer(&state, &after, views::member(&after, found)).await
}

/// Deletes a member, frees its addresses, and revokes its certificates; or deletes a waiting request.
#[utoipa::path(delete, operation_id = "delete_member", path = "/api/v1/networks/{id}/members/{node}", tag = "members",
    params(("id" = String, Path), ("node" = String, Path)), responses((status = 204)))]
pub(super) async fn remove(
    State(state): State<ApiState>,
    Operator(actor): Operator,
    Params((id, node)): Params<(String, String)>,
    if_match: IfMatch,
) -> Result<StatusCode, Problem> {
    let id = views::network_id(&id)?;
    check_node(&node)?;
    let wish = wish(&actor, "member.delete", &node);
    state
        .networks
        .change(id, wish, |network, _| {
            let found = find(network, &node)?;
            if_match.check(&views::member(network, found))?;
            Ok(Command::RemoveMember(found.identity()))
        })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Allocates a container subnet from the network's subnet pools and routes it to the member.
#[utoipa::path(post, operation_id = "allocate_subnet", path = "/api/v1/networks/{id}/members/{node}/subnets", tag = "members",
    params(("id" = String, Path), ("node" = String, Path)), request_body = NewSubnet,
    responses((status = 201, body = Route)))]
pub(super) async fn allocate_subnet(
    State(state): State<ApiState>,
    Operator(actor): Operator,
    once: Once,
    Params((id, node)): Params<(String, String)>,
    Json(new): Json<NewSubnet>,
) -> Result<Response, Problem> {
    let id = views::network_id(&id)?;
    check_node(&node)?;
    let route = RouteId(rand::random());
    let subject: String = format!("{node} {}", new.name).chars().take(200).collect();
    let answer = |after: &Network| {
        let added = after.route(route).ok_or(Refusal::UnknownRoute)?;
        let body = views::route(after, added);
        let location = format!("/api/v1/networks/{id}/routes/{}", body.id);
        Ok::<_, Refusal>(Answer::created(&body).at(location))
    };
    let kept = |after: &Network| answer(after).ok().and_then(|answer| once.keep(&answer));
    let wish = wish(&actor, "subnet.allocate", subject.trim()).answering(&kept);
    let after = state
        .networks
        .change(id, wish, |network, _| {
            Ok(Command::AllocateSubnet {
                id: route,
                via: find(network, &node)?.identity(),
                length: new.size,
                metric: 0,
                author: Author::Admin,
            })
        })
        .await?;
    Ok(answer(&after)?.into_response())
}

fn action(patch: &MemberPatch) -> &'static str {
    match patch.authorized {
        Some(true) => "member.authorize",
        Some(false) => "member.deauthorize",
        None => "member.update",
    }
}

fn wish<'a>(actor: &'a Actor, action: &'static str, subject: &str) -> Wish<'a> {
    Wish::new(actor, action, subject.to_owned())
}

pub(super) fn check_node(text: &str) -> Result<NodeId, Problem> {
    text.parse()
        .map_err(|error| Problem::bad_request(format!("{text:?} is not a node address: {error}")))
}

fn find<'a>(network: &'a Network, node: &str) -> Result<Found<'a>, ChangeError> {
    let found = node
        .parse()
        .ok()
        .and_then(|node: NodeId| network.by_node(node));
    Ok(found.ok_or(Refusal::UnknownMember)?)
}

async fn answer(
    state: &ApiState,
    network: &Network,
    configured: Member,
) -> Result<Response, Problem> {
    let tag = etag::of(&configured);
    let reported = with_reports(state, network.id(), vec![configured]).await?;
    let member = reported.first().ok_or(Refusal::UnknownMember)?;
    Ok(etag::tagged(&tag, member))
}

/// Adds what nodes report of themselves, to members in the order of their node addresses.
pub(super) async fn with_reports(
    state: &ApiState,
    network: NetworkId,
    mut members: Vec<Member>,
) -> Result<Vec<Member>, Problem> {
    let (Some(first), Some(last)) = (members.first(), members.last()) else {
        return Ok(members);
    };
    let nodes = first.node..=last.node;
    let Some((presence, mut clashes, links, now)) = reports(state, network, nodes).await? else {
        for member in &mut members {
            member.online = state.registry.is_online(&member.identity);
        }
        return Ok(members);
    };
    for member in &mut members {
        let known = presence.get(&member.identity);
        member.online = state.registry.is_online(&member.identity)
            || known.is_some_and(|known| known.is_elsewhere);
        if let Some(known) = known {
            member.version = Some(known.software.name.clone());
            let can = known.software.capabilities;
            member.enforces_rules = can.include(Capabilities::ACCESS_RULES);
            member.last_seen = Some(if member.online {
                now.0
            } else {
                known.last_seen
            });
        }
        member.clashes = clashes.remove(&member.identity).unwrap_or_default();
        member.links = links
            .get(&member.identity)
            .filter(|_| member.online)
            .cloned();
    }
    Ok(members)
}

type Reports = (
    BTreeMap<IdentityKey, Presence>,
    BTreeMap<IdentityKey, Vec<String>>,
    BTreeMap<IdentityKey, LinkCounts>,
    UnixSeconds,
);

/// What nodes reported; none while the store is away.
async fn reports(
    state: &ApiState,
    network: NetworkId,
    nodes: RangeInclusive<NodeId>,
) -> Result<Option<Reports>, Problem> {
    let store = &state.store;
    let here = state.signer.replica().public();
    let read = async {
        let links = store
            .links(
                network,
                (Some(*nodes.start()), Some(*nodes.end())),
                MAX_REPORTS,
            )
            .await?;
        let counts = links
            .iter()
            .map(|told| (told.identity, views::link_counts(&told.report)));
        Ok((
            store.presence(network, &nodes, &here).await?,
            store.clashes(network).await?,
            counts.collect(),
            store.now().await?,
        ))
    };
    match read.await {
        Ok(reports) => Ok(Some(reports)),
        Err(error) if StoreError::is_outage(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
