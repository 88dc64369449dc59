//! What becomes of a command: the one place where it is decided what may change.

use std::collections::BTreeSet;

use tombolo_proto::{
    config::{CERT_LIFETIME_SECONDS, CertRoute},
    id::UnixSeconds,
    key::IdentityKey,
};

use crate::{
    change::Change,
    command::Command,
    managed_route::{Route, RouteState},
    member::Member,
    network::{LAST_REVISION, Network},
    refusal::Refusal,
};

mod joining;
mod membership;
mod routing;
mod rules;
mod settings;

pub use joining::{MAX_REQUESTS, MAX_REQUESTS_PER_SOURCE};

/// Decides on `command`. No changes means that everything is as wished already.
pub fn decide(
    command: Command,
    network: &Network,
    now: UnixSeconds,
) -> Result<Vec<Change>, Refusal> {
    let changes = changes(command, network, now)?;
    if network.revision() >= LAST_REVISION && changes.iter().any(Change::is_configuration) {
        return Err(Refusal::UsedUp);
    }
    Ok(issue_certificates(network, changes, now))
}

/// What `command` changes, before certificates follow from it.
fn changes(command: Command, network: &Network, now: UnixSeconds) -> Result<Vec<Change>, Refusal> {
    Ok(match command {
        Command::Configure(patch) => settings::configure(network, patch)?,
        Command::SetRules { default, rules } => rules::set(network, default, rules)?,
        Command::Join { request, granted } => joining::join(network, request, granted)?,
        Command::UpdateMember { identity, patch } => membership::update(network, &identity, patch)?,
        Command::RemoveMember(identity) => membership::remove(network, &identity)?,
        Command::AddRoute(wish) => routing::add(network, wish)?,
        Command::AllocateSubnet {
            id,
            via,
            length,
            metric,
            author,
        } => routing::allocate_subnet(network, id, &via, length, metric, author)?,
        Command::UpdateRoute { id, patch } => routing::update(network, id, &patch)?,
        Command::RemoveRoute(id) => routing::remove(network, id)?,
        Command::WithdrawRoute { identity, prefix } => {
            routing::withdraw(network, &identity, prefix)?
        }
        Command::Together(commands) => together(commands, network, now)?,
        Command::Upkeep { requests_since } => membership::upkeep(network, requests_since, now),
    })
}

fn together(
    commands: Vec<Command>,
    network: &Network,
    now: UnixSeconds,
) -> Result<Vec<Change>, Refusal> {
    let mut all = Vec::new();
    let mut reached = network.clone();
    for command in commands {
        let next = changes(command, &reached, now)?;
        reached = reached.apply(&next);
        for change in next {
            // What becomes of a row last is what becomes of it.
            all.retain(|earlier: &Change| !earlier.is_about_the_row_of(&change));
            all.push(change);
        }
    }
    Ok(all)
}

/// A new certificate for every authorised member that the changes touch.
fn issue_certificates(network: &Network, changes: Vec<Change>, now: UnixSeconds) -> Vec<Change> {
    let after = network.apply(&changes);
    let touched = if after.settings().v6_modes == network.settings().v6_modes {
        touched_members(network, &after, &changes)
    } else {
        after.members().map(|member| member.identity).collect()
    };
    let reissued = touched
        .iter()
        .filter_map(|identity| after.member(identity))
        .filter(|member| member.is_authorized())
        .map(|member| {
            Change::MemberPut(Member {
                serial: network.next_revision(),
                issued_at: now,
                not_after: UnixSeconds(now.0 + CERT_LIFETIME_SECONDS),
                ..member.clone()
            })
        });
    let is_superseded =
        |change: &Change| matches!(change, Change::MemberPut(member) if member.is_authorized());
    // Members first: routes refer to them.
    let (mut ordered, rest): (Vec<_>, Vec<_>) = (reissued.collect(), changes);
    ordered.extend(rest.into_iter().filter(|change| !is_superseded(change)));
    ordered
}

fn touched_members(before: &Network, after: &Network, changes: &[Change]) -> BTreeSet<IdentityKey> {
    let mut touched = BTreeSet::new();
    let mut routed = BTreeSet::new();
    for change in changes {
        match change {
            Change::MemberPut(member) => {
                touched.insert(member.identity);
            }
            Change::RoutePut(route) => {
                routed.insert(route.via);
            }
            Change::RouteRemoved(id) => routed.extend(before.route(*id).map(|route| route.via)),
            Change::Settings(_)
            | Change::MemberRemoved(_)
            | Change::RequestPut(_)
            | Change::RequestRemoved(_) => {}
        }
    }
    touched.extend(
        routed
            .into_iter()
            .filter(|via| active_routes(before, via).ne(active_routes(after, via))),
    );
    touched
}

fn active_routes(network: &Network, via: &IdentityKey) -> impl Iterator<Item = CertRoute> {
    network
        .routes()
        .filter(move |route| route.via == *via && route.state == RouteState::Active)
        .map(Route::to_cert)
}
