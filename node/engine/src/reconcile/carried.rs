//! The prefixes that this member carries for its networks: what others may reach through this host.
//!
//! Those are the member's managed routes, and the local networks that lie in its /80. Where a prefix is behind this host
//! alone (a container bridge), everybody keeps the address they have. Where it is on a LAN, the machines there answer by a
//! router that knows nothing of the overlay, so packets must come to them from this host's own address.
//!
//! Who carries a default route is an exit: what leaves by the host's own default routes comes from the host's own address,
//! too, and nothing gets in that way but answers.

use std::collections::BTreeSet;

use ipnet::IpNet;
use tombolo_proto::id::UnixSeconds;

use super::{Family, LinkName, LocalNetwork, NetworkPlan, is_default, overlap};

/// A prefix that is reached through this host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Carried {
    /// The TUN of the network that reaches it.
    pub link: LinkName,
    /// Without host bits, never a default route.
    pub prefix: IpNet,
    /// It is on a LAN, among machines whose router is another.
    pub on_lan: bool,
}

/// What this host carries. `lans` are the interfaces whose machines have another router than this host.
#[must_use]
pub fn carried(
    plans: &[NetworkPlan<'_>],
    local: &[LocalNetwork],
    lans: &BTreeSet<String>,
    wall: UnixSeconds,
) -> BTreeSet<Carried> {
    let mut carried = BTreeSet::new();
    for plan in plans {
        let Some(me) = plan.directory.member(&plan.me, wall) else {
            continue;
        };
        let managed = me.routes.iter().map(|route| route.prefix);
        let plane = me.prefix.map(IpNet::V6);
        let in_plane = local
            .iter()
            .map(|net| net.prefix)
            .filter(|prefix| plane.is_some_and(|plane| plane.contains(prefix)));
        for prefix in managed.chain(in_plane).filter(|net| !is_default(net)) {
            carried.insert(Carried {
                link: plan.link.clone(),
                prefix,
                on_lan: local
                    .iter()
                    .any(|net| lans.contains(&net.link) && overlap(net.prefix, prefix)),
            });
        }
    }
    carried
}

/// A way out of the overlay through this host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exit {
    /// The TUN of the network whose default route this member carries.
    pub link: LinkName,
    /// The interface of this host's own default route.
    pub uplink: String,
    /// Of which family both are.
    pub family: Family,
}

/// Where this host lets its networks out. `uplinks` are the interfaces of its own default routes.
#[must_use]
pub fn exits(
    plans: &[NetworkPlan<'_>],
    uplinks: &BTreeSet<(Family, String)>,
    wall: UnixSeconds,
) -> BTreeSet<Exit> {
    let mut exits = BTreeSet::new();
    for plan in plans {
        let me = plan.directory.member(&plan.me, wall);
        let routes = me.into_iter().flat_map(|me| &me.routes);
        let families: BTreeSet<Family> = routes
            .filter(|route| is_default(&route.prefix))
            .map(|route| Family::of_prefix(&route.prefix))
            .collect();
        let ways = uplinks
            .iter()
            .filter(|(family, _)| families.contains(family));
        exits.extend(ways.map(|(family, uplink)| Exit {
            link: plan.link.clone(),
            uplink: uplink.clone(),
            family: *family,
        }));
    }
    exits
}
