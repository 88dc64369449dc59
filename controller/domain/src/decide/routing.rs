//! Adding, approving, changing and removing routes.

use ipnet::IpNet;
use tombolo_proto::{config::RouteMode, key::IdentityKey};

use crate::{
    change::Change,
    command::{Author, RoutePatch, RouteWish},
    managed_route::{self, Route, RouteId, RouteState},
    network::Network,
    refusal::Refusal,
    subnet,
};

pub(super) fn add(network: &Network, wish: RouteWish) -> Result<Vec<Change>, Refusal> {
    let Some(via) = network.member(&wish.via) else {
        let waiting = network.request(&wish.via).ok_or(Refusal::UnknownMember)?;
        return Err(Refusal::StillWaiting(waiting.node));
    };
    let asked_before = wish.author == Author::Member
        && network
            .routes()
            .any(|route| route.via == wish.via && route.target == wish.target);
    if asked_before {
        return Ok(Vec::new());
    }
    let mut route = Route {
        id: wish.id,
        target: wish.target,
        via: wish.via,
        mode: wish.mode,
        metric: wish.metric,
        state: RouteState::Pending,
        by_member: wish.author == Author::Member,
    };
    route.state = managed_route::admit(network, via, &route, wish.author)?;
    Ok(vec![Change::RoutePut(route)])
}

pub(super) fn allocate_subnet(
    network: &Network,
    id: RouteId,
    via: IdentityKey,
    length: u8,
) -> Result<Vec<Change>, Refusal> {
    let wish = RouteWish {
        id,
        target: subnet::first_free(network, length)?,
        via,
        mode: RouteMode::Single,
        metric: 0,
        author: Author::Admin,
    };
    add(network, wish)
}

pub(super) fn update(
    network: &Network,
    id: RouteId,
    patch: &RoutePatch,
) -> Result<Vec<Change>, Refusal> {
    let route = network.route(id).ok_or(Refusal::UnknownRoute)?;
    let mut next = Route {
        mode: patch.mode.unwrap_or(route.mode),
        metric: patch.metric.unwrap_or(route.metric),
        ..route.clone()
    };
    match (patch.state, route.state) {
        (None, RouteState::Active | RouteState::Suspended)
        | (Some(RouteState::Active), RouteState::Active) => {
            managed_route::check(network, &next)?;
        }
        (None, RouteState::Pending) => {}
        (Some(RouteState::Active), RouteState::Pending | RouteState::Suspended) => {
            let via = network.member(&route.via).ok_or(Refusal::UnknownMember)?;
            next.state = managed_route::admit(network, via, &next, Author::Admin)?;
        }
        (Some(RouteState::Pending | RouteState::Suspended), _) => return Err(Refusal::RouteState),
    }
    Ok(if next == *route {
        Vec::new()
    } else {
        vec![Change::RoutePut(next)]
    })
}

pub(super) fn remove(network: &Network, id: RouteId) -> Result<Vec<Change>, Refusal> {
    network.route(id).ok_or(Refusal::UnknownRoute)?;
    Ok(vec![Change::RouteRemoved(id)])
}

pub(super) fn withdraw(
    network: &Network,
    identity: &IdentityKey,
    prefix: IpNet,
) -> Result<Vec<Change>, Refusal> {
    let route = network
        .routes()
        .find(|route| route.via == *identity && route.target == prefix);
    match route {
        None => Ok(Vec::new()),
        Some(route) if !route.by_member => Err(Refusal::NotYourRoute(prefix)),
        Some(route) => Ok(vec![Change::RouteRemoved(route.id)]),
    }
}
