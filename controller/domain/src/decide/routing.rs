//! Adding, approving, changing and removing routes.

use ipnet::IpNet;
use tombolo_proto::{config::RouteMode, key::IdentityKey};

use crate::{
    change::Change,
    command::{Author, RoutePatch, RouteWish},
    managed_route::{self, Route, RouteId, RouteState},
    member::Member,
    network::Network,
    refusal::Refusal,
    settings::MemberRoutes,
    subnet,
};

pub(super) fn add(network: &Network, wish: RouteWish) -> Result<Vec<Change>, Refusal> {
    let via = member(network, &wish.via)?;
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
    via: &IdentityKey,
    length: u8,
    metric: u32,
    author: Author,
) -> Result<Vec<Change>, Refusal> {
    let member = member(network, via)?;
    if author == Author::Member {
        if network.settings().member_routes == MemberRoutes::Off {
            return Err(Refusal::MemberRoutesOff);
        }
        if !(subnet::SHORTEST_FOR_MEMBER..=subnet::LONGEST).contains(&length) {
            return Err(Refusal::MemberSubnetLength(length));
        }
    }
    let mut route = Route {
        id,
        target: subnet::first_free(network, length)?,
        via: *via,
        mode: RouteMode::Single,
        metric,
        state: RouteState::Active,
        by_member: author == Author::Member,
    };
    // The controller chose it, so there is nothing to approve.
    route.state = managed_route::admit(network, member, &route, Author::Admin)?;
    Ok(vec![Change::RoutePut(route)])
}

fn member<'n>(network: &'n Network, identity: &IdentityKey) -> Result<&'n Member, Refusal> {
    match network.member(identity) {
        Some(member) => Ok(member),
        None => {
            let waiting = network.request(identity).ok_or(Refusal::UnknownMember)?;
            Err(Refusal::StillWaiting(waiting.node))
        }
    }
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
