//! What the keeper of container networks wants to know and have done.

use ipnet::IpNet;
use tombolo_containers::situation::{LocalPrefix, Membership};
use tombolo_proto::{config::V6Mode, id::Mtu, sixplane};

use super::{Daemon, network::Network, wall};
use crate::docker::{Question, World};

impl Daemon {
    pub(super) fn handle_question(&mut self, question: Question) {
        match question {
            Question::World(answer) => {
                // Looked at afresh: the answer decides what is put on the host.
                self.host_is_stale = true;
                self.worlds_asked.push(answer);
            }
            Question::Route {
                network,
                prefix,
                action,
                answer,
            } => self.ask_route(Some(network), prefix, action, answer),
            Question::Subnet {
                network,
                length,
                metric,
                answer,
            } => self.ask_subnet(network, length, metric, answer),
            Question::Leave { network, answer } => self.leave(network, answer),
        }
    }

    /// To be called right after the host was looked at.
    pub(super) fn answer_worlds(&mut self) {
        if self.worlds_asked.is_empty() {
            return;
        }
        let local = self.host.elsewhere().iter().map(|local| LocalPrefix {
            link: local.link.clone(),
            prefix: local.prefix,
        });
        let world = World {
            memberships: self
                .networks
                .values()
                .filter_map(|network| self.membership(network))
                .collect(),
            local: local.collect(),
        };
        for asked in self.worlds_asked.drain(..) {
            // If the keeper has gone away, nobody wants to know.
            let _ = asked.send(world.clone());
        }
    }

    /// A network as containers see it; none while this node is no member or has no interface in it.
    fn membership(&self, network: &Network) -> Option<Membership> {
        network.slot?;
        let directory = network.directory.as_ref()?;
        let me = network.membership(&self.me, wall())?;
        let doc = directory.doc()?;
        let automatic = doc.v6_modes.iter().map(|mode| match mode {
            V6Mode::SixPlane => IpNet::V6(sixplane::network(network.id)),
            V6Mode::Rfc4193 => IpNet::V6(sixplane::rfc4193_network(network.id)),
        });
        let others = directory
            .members(wall())
            .filter(|member| member.identity != self.me);
        Some(Membership {
            network: network.id,
            link: network.link.to_string(),
            mtu: directory.doc().map_or(Mtu::DEFAULT, |doc| doc.mtu).0,
            member: me.name.clone(),
            plane: me.prefix,
            addresses: me.addresses.clone(),
            routes: me.routes.iter().map(|route| route.prefix).collect(),
            others: others
                .flat_map(|member| {
                    let prefixes = member.routes.iter().map(|route| route.prefix);
                    prefixes.map(|prefix| (prefix, member.name.clone()))
                })
                .collect(),
            on_link: doc.on_link.iter().copied().chain(automatic).collect(),
            pools: doc.subnet_pools.clone(),
        })
    }
}
