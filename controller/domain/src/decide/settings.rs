//! Changing what all members share, without pulling the ground from under any of them.

use std::{collections::BTreeSet, net::Ipv4Addr};

use ipnet::IpNet;

use crate::{
    address_pool::AddressPool, change::Change, command::SettingsPatch, member::Member,
    network::Network, prefix::overlap, refusal::Refusal, settings::Settings,
};

pub(super) fn configure(network: &Network, patch: SettingsPatch) -> Result<Vec<Change>, Refusal> {
    let old = network.settings();
    let new = Settings {
        name: patch.name.unwrap_or_else(|| old.name.clone()),
        private: patch.private.unwrap_or(old.private),
        mtu: patch.mtu.unwrap_or(old.mtu),
        v4: patch.v4.unwrap_or_else(|| old.v4.clone()),
        subnet_pools: patch
            .subnet_pools
            .unwrap_or_else(|| old.subnet_pools.clone()),
        v6_modes: patch.v6_modes.unwrap_or_else(|| old.v6_modes.clone()),
        member_routes: patch.member_routes.unwrap_or(old.member_routes),
        rules: old.rules.clone(),
    };
    // The first revision of a network is its settings, whatever they are.
    if new == *old && network.revision().0 > 0 && new.name.as_str() == old.name.as_str() {
        return Ok(Vec::new());
    }
    new.check()?;
    check_routes(network, &new)?;
    check_members(network, &new)?;
    let mut changes = newly_assigned(network, &new)?;
    changes.push(Change::Settings(new));
    Ok(changes)
}

fn check_routes(network: &Network, new: &Settings) -> Result<(), Refusal> {
    for pool in new.v4.on_link() {
        let in_the_way = network.routes().find(|route| {
            route.holds_its_prefix()
                && route.target.prefix_len() != 0
                && overlap(&route.target, &IpNet::V4(*pool))
        });
        if let Some(route) = in_the_way {
            return Err(Refusal::PoolOverlapsRoute {
                pool: *pool,
                target: route.target,
                member: network.name_of(&route.via),
            });
        }
    }
    Ok(())
}

fn check_members(network: &Network, new: &Settings) -> Result<(), Refusal> {
    for member in network.members() {
        if let Some(address) = member
            .addresses
            .iter()
            .find(|address| !new.v4.admits(**address))
        {
            return Err(Refusal::MemberOutsidePools {
                member: member.name.clone(),
                address: *address,
            });
        }
    }
    Ok(())
}

/// Authorised members that have no address yet get one from pools that are new.
fn newly_assigned(network: &Network, new: &Settings) -> Result<Vec<Change>, Refusal> {
    if new.v4.ranges().is_empty() {
        return Ok(Vec::new());
    }
    let pool = AddressPool::new(new.v4.ranges(), new.v4.on_link());
    let mut given: BTreeSet<Ipv4Addr> = BTreeSet::new();
    let bare = network
        .members()
        .filter(|member| member.is_authorized() && member.addresses.is_empty());
    bare.map(|member| {
        let is_taken = |address: &Ipv4Addr| network.is_taken(address) || given.contains(address);
        let address = pool.allocate(is_taken, member.node)?;
        given.insert(address);
        Ok(Change::MemberPut(Member {
            addresses: BTreeSet::from([address]),
            ..member.clone()
        }))
    })
    .collect()
}
