//! Being the far end of other members' `node bench`.

use std::collections::BTreeSet;

use super::{Daemon, wall};
use crate::bench::listener::{Caller, Ground};

impl Daemon {
    /// Listens where this node's addresses are now.
    pub(super) fn follow_addresses(&mut self) {
        let wanted = self.networks.values().filter_map(|network| {
            let cert = network.membership(&self.me, wall())?;
            Some((network, network.slot?, &cert.addresses))
        });
        let grounds: BTreeSet<Ground> = wanted
            .filter(|_| self.config.file.bench.respond)
            .flat_map(|(network, slot, addresses)| {
                addresses.iter().map(move |address| Ground {
                    network: network.id,
                    slot,
                    link: network.link.clone(),
                    address: *address,
                })
            })
            .collect();
        self.listeners.follow(&grounds);
    }

    /// Whether somebody who has connected is a member. The forwarding threads have proven that its address is its own.
    pub(super) fn handle_caller(&self, caller: Caller) {
        let directory = self
            .networks
            .get(&caller.network)
            .and_then(|network| network.directory.as_ref());
        let is_member = directory
            .into_iter()
            .flat_map(|directory| directory.members(wall()))
            .any(|member| member.addresses.contains(&caller.address));
        // A listener that is gone does not want to know.
        let _ = caller.is_member.send(is_member);
    }
}
