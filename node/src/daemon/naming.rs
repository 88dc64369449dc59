//! What the resolver knows of the networks.

use ipnet::IpNet;
use tombolo_names::table::{Member, Zone};
use tombolo_proto::config::MemberCert;

use super::{Daemon, network::Network, wall};

impl Daemon {
    /// Tells the resolver, if there is one, who is there now.
    pub(super) fn follow_names(&self) {
        if let Some(names) = &self.names {
            let networks = self.networks.values();
            names.follow(networks.filter_map(|network| self.zone(network)).collect());
        }
    }

    /// A network with its names; none while this node is no member or has no interface in it.
    fn zone(&self, network: &Network) -> Option<Zone> {
        network.slot?;
        network.membership(&self.me, wall())?;
        let directory = network.directory.as_ref()?;
        Some(Zone {
            network: network.id,
            name: directory.doc()?.name.clone(),
            me: self.node,
            members: directory.members(wall()).map(member).collect(),
        })
    }
}

fn member(cert: &MemberCert) -> Member {
    let routes = cert.routes.iter().map(|route| route.prefix);
    let prefixes = routes.chain(cert.prefix.map(IpNet::V6));
    Member {
        node: cert.node,
        name: cert.name.clone(),
        addresses: cert.addresses.iter().copied().collect(),
        // Behind a default route is everybody.
        prefixes: prefixes.filter(|prefix| prefix.prefix_len() > 0).collect(),
    }
}
