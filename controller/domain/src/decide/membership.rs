//! Authorising, changing, deauthorising and deleting members.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

use tombolo_proto::{
    config::CERT_LIFETIME_SECONDS,
    id::{NodeId, Revision, UnixSeconds},
    key::IdentityKey,
};

use crate::{
    change::Change,
    command::MemberPatch,
    managed_route::{Route, RouteState},
    member::{Member, MemberState, Request},
    name::{MAX_NAME, Name},
    network::{Found, Network},
    refusal::Refusal,
};

/// Addresses travel in every certificate; a host with more than this many is a mistake.
const MAX_ADDRESSES: usize = 16;
/// Tags travel in every certificate.
const MAX_TAGS: usize = 32;

pub(super) fn update(
    network: &Network,
    identity: &IdentityKey,
    patch: MemberPatch,
) -> Result<Vec<Change>, Refusal> {
    if let Some(member) = network.member(identity) {
        return update_member(network, member, patch);
    }
    let request = network.request(identity).ok_or(Refusal::UnknownMember)?;
    if patch.authorized == Some(true) {
        return authorize(network, request, patch);
    }
    if patch.addresses.is_some() || patch.tags.is_some() || patch.relay.is_some() {
        return Err(Refusal::StillWaiting(request.node));
    }
    Ok(match patch.name {
        Some(name) if name.as_str() != request.name.as_str() => {
            vec![Change::RequestPut(Request {
                name,
                ..request.clone()
            })]
        }
        Some(_) | None => Vec::new(),
    })
}

/// A request becomes a member with an address and a name of its own.
pub(super) fn admit(network: &Network, request: &Request) -> Result<Vec<Change>, Refusal> {
    authorize(network, request, MemberPatch::default())
}

/// The first member that has a node address or a transport key keeps it. Handshakes find a peer by its transport key, so
/// nobody may claim another's.
pub(super) fn check_keys(network: &Network, request: &Request) -> Result<(), Refusal> {
    let is_another = |member: &&Member| member.identity != request.identity;
    if let Some(Found::Member(other)) = network.by_node(request.node)
        && is_another(&other)
    {
        return Err(Refusal::NodeAddressTaken(request.node));
    }
    if network
        .by_transport(&request.transport)
        .is_some_and(|other| is_another(&other))
    {
        return Err(Refusal::TransportKeyTaken);
    }
    Ok(())
}

fn authorize(
    network: &Network,
    request: &Request,
    patch: MemberPatch,
) -> Result<Vec<Change>, Refusal> {
    check_keys(network, request)?;
    let blank = Member {
        identity: request.identity,
        node: request.node,
        name: free_name(network, &request.name),
        transport: request.transport,
        transport_epoch: request.transport_epoch,
        state: MemberState::Authorized,
        addresses: BTreeSet::new(),
        tags: BTreeSet::new(),
        relay: true,
        serial: Revision(0),
        issued_at: UnixSeconds(0),
        not_after: UnixSeconds(0),
    };
    let mut member = with_patch(network, &blank, patch)?;
    assign_if_bare(network, &mut member)?;
    let mut changes = vec![Change::MemberPut(member)];
    if network.request(&request.identity).is_some() {
        changes.push(Change::RequestRemoved(request.identity));
    }
    Ok(changes)
}

fn update_member(
    network: &Network,
    member: &Member,
    patch: MemberPatch,
) -> Result<Vec<Change>, Refusal> {
    let mut next = with_patch(network, member, patch)?;
    if next.is_authorized() {
        assign_if_bare(network, &mut next)?;
    }
    let routes = network
        .routes()
        .filter(|route| route.via == member.identity);
    let mut changes: Vec<Change> = match (member.state, next.state) {
        (MemberState::Authorized, MemberState::Deauthorized) => routes.map(suspend).collect(),
        (MemberState::Deauthorized, MemberState::Authorized) => routes.map(resume).collect(),
        (MemberState::Authorized, MemberState::Authorized)
        | (MemberState::Deauthorized, MemberState::Deauthorized) => Vec::new(),
    };
    changes.extend(put_if_changed(member, next));
    Ok(changes)
}

fn suspend(route: &Route) -> Change {
    match route.state {
        RouteState::Pending => Change::RouteRemoved(route.id),
        RouteState::Active | RouteState::Suspended => Change::RoutePut(Route {
            state: RouteState::Suspended,
            ..route.clone()
        }),
    }
}

fn resume(route: &Route) -> Change {
    Change::RoutePut(Route {
        state: RouteState::Active,
        ..route.clone()
    })
}

pub(super) fn put_if_changed(before: &Member, after: Member) -> Vec<Change> {
    if *before == after {
        Vec::new()
    } else {
        vec![Change::MemberPut(after)]
    }
}

fn with_patch(network: &Network, member: &Member, patch: MemberPatch) -> Result<Member, Refusal> {
    let mut next = member.clone();
    if let Some(name) = patch.name {
        let taken = network
            .by_name(&name)
            .is_some_and(|other| other.identity != member.identity);
        if taken {
            return Err(Refusal::NameTaken(name));
        }
        next.name = name;
    }
    if let Some(addresses) = patch.addresses {
        next.addresses = checked_addresses(network, member, &addresses)?;
        assign_if_bare(network, &mut next)?;
    }
    if let Some(tags) = patch.tags {
        next.tags = checked_tags(tags)?;
    }
    next.relay = patch.relay.unwrap_or(next.relay);
    next.state = match patch.authorized {
        Some(true) => MemberState::Authorized,
        Some(false) => MemberState::Deauthorized,
        None => next.state,
    };
    Ok(next)
}

/// Gives a member without an address one from the pools, if there are pools.
pub(super) fn assign_if_bare(network: &Network, member: &mut Member) -> Result<(), Refusal> {
    if member.addresses.is_empty() && !network.settings().v4.ranges().is_empty() {
        let address = network
            .address_pool()
            .allocate(|address| network.is_taken(address), member.node)?;
        member.addresses.insert(address);
    }
    Ok(())
}

fn checked_addresses(
    network: &Network,
    member: &Member,
    wanted: &BTreeSet<IpAddr>,
) -> Result<BTreeSet<Ipv4Addr>, Refusal> {
    let automatic = automatic_addresses(network, member.node);
    let mut checked = BTreeSet::new();
    for address in wanted.difference(&automatic) {
        let IpAddr::V4(address) = *address else {
            return Err(Refusal::AddressNotAssignable(*address));
        };
        if !network.settings().v4.admits(address) {
            return Err(Refusal::AddressOutsidePools(address));
        }
        let owner = network
            .by_address(IpAddr::V4(address))
            .filter(|owner| owner.identity != member.identity);
        if let Some(owner) = owner {
            return Err(Refusal::AddressTaken {
                address,
                member: owner.name.clone(),
            });
        }
        checked.insert(address);
    }
    if checked.len() > MAX_ADDRESSES {
        return Err(Refusal::TooManyAddresses(MAX_ADDRESSES));
    }
    Ok(checked)
}

fn automatic_addresses(network: &Network, node: NodeId) -> BTreeSet<IpAddr> {
    network.automatic_addresses(node).collect()
}

fn checked_tags(tags: BTreeSet<String>) -> Result<BTreeSet<String>, Refusal> {
    let usable = |tag: &&String| {
        (1..=MAX_NAME).contains(&tag.len())
            && tag
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':'))
    };
    if let Some(bad) = tags.iter().find(|tag| !usable(tag)) {
        return Err(Refusal::Tag(bad.chars().take(MAX_NAME).collect()));
    }
    if let Some(surplus) = tags.iter().nth(MAX_TAGS) {
        return Err(Refusal::Tag(surplus.clone()));
    }
    Ok(tags)
}

fn free_name(network: &Network, wanted: &Name) -> Name {
    if network.by_name(wanted).is_none() {
        return wanted.clone();
    }
    (2..)
        .map(|number| wanted.numbered(number))
        .find(|name| network.by_name(name).is_none())
        .expect("there are more numbers than members")
}

pub(super) fn remove(network: &Network, identity: &IdentityKey) -> Result<Vec<Change>, Refusal> {
    if network.request(identity).is_some() {
        return Ok(vec![Change::RequestRemoved(*identity)]);
    }
    if network.member(identity).is_none() {
        return Err(Refusal::UnknownMember);
    }
    let routes = network.routes().filter(|route| route.via == *identity);
    Ok(routes
        .map(|route| Change::RouteRemoved(route.id))
        .chain([Change::MemberRemoved(*identity)])
        .collect())
}

pub(super) fn upkeep(
    network: &Network,
    requests_since: UnixSeconds,
    now: UnixSeconds,
) -> Vec<Change> {
    let expired = network
        .requests()
        .filter(|request| request.requested_at < requests_since)
        .map(|request| Change::RequestRemoved(request.identity));
    let half_spent = |member: &&Member| {
        member.is_authorized() && now.0 >= member.issued_at.0 + CERT_LIFETIME_SECONDS / 2
    };
    let renewed = network
        .members()
        .filter(half_spent)
        .map(|member| Change::MemberPut(member.clone()));
    expired.chain(renewed).collect()
}
