//! The prefixes that this member carries for its networks: what others may reach through this host.
//!
//! Those are the member's managed routes, and the local networks that lie in its /80. Where a prefix is behind this host
//! alone (a container bridge), everybody keeps the address they have. Where it is on a LAN, the machines there answer by a
//! router that knows nothing of the overlay, so packets must come to them from this host's own address.

use std::collections::BTreeSet;

use ipnet::IpNet;
use tombolo_proto::id::UnixSeconds;

use super::{LinkName, LocalNetwork, NetworkPlan, overlap};

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
        for prefix in managed.chain(in_plane).filter(|net| net.prefix_len() > 0) {
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
