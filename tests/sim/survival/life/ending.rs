//! How a life ends: everything heals, and then everybody agrees.

use std::collections::BTreeMap;

use rand::seq::IndexedRandom as _;
use tombolo_domain::member::Member;
use tombolo_proto::key::IdentityKey;
use tombolo_tests::world::Name;

use super::{Life, MILLISECOND};

impl Life {
    pub(super) fn heal_everything(&mut self) {
        self.note("everything heals".to_owned());
        self.heal();
        self.mend_store();
        self.world.controllers_mut().0.store.clock_error = 0;
        for replica in 0..usize::from(self.size.replicas) {
            let (controllers, clock) = self.world.controllers_mut();
            controllers.start(replica, clock);
        }
        for name in self.world.names() {
            let node = self.world.node_mut(name);
            node.clock_error = 0;
            node.crash = None;
            if !node.is_up() {
                self.world.start(name);
            }
        }
        let replica = self.admitted(0);
        self.upkeep(replica);
    }

    pub(super) fn judge_the_end(&mut self) {
        let network = std::sync::Arc::clone(self.world.controllers().store.network());
        let authorized: BTreeMap<IdentityKey, u64> = network
            .members()
            .filter(|member| member.is_authorized())
            .map(|member| (member.identity, member.serial.0))
            .collect();
        for name in self.world.names() {
            let node = self.world.node(name);
            let held: BTreeMap<IdentityKey, u64> = node
                .directory()
                .into_iter()
                .flat_map(|directory| directory.certs_in_force())
                .map(|(identity, serial)| (*identity, serial.0))
                .collect();
            let is_member = authorized.contains_key(&node.identity());
            if is_member && held != authorized {
                let differing = self.world.names().into_iter().filter_map(|other| {
                    let key = self.identity(other);
                    let (held, serial) = (held.get(&key), authorized.get(&key));
                    (held != serial).then_some((other, held, serial))
                });
                let differing: Vec<_> = differing.collect();
                self.fail(&format!(
                    "{name:?} does not hold the directory in the end: held, should be {differing:?}"
                ));
            }
            if is_member != node.is_active() {
                self.fail(&format!("{name:?} in the end: member {is_member}"));
            }
        }
        let members: Vec<Name> = self
            .world
            .names()
            .into_iter()
            .filter(|name| {
                network
                    .member(&self.identity(*name))
                    .is_some_and(Member::is_authorized)
            })
            .collect();
        for _ in 0..self.size.packets * 2 {
            let pair: Vec<Name> = members.choose_multiple(&mut self.rng, 2).copied().collect();
            if let [from, to] = pair[..] {
                self.must_reach(from, to);
            }
        }
    }

    fn must_reach(&mut self, from: Name, to: Name) {
        let (Some(source), Some(destination)) = (self.address(from), self.address(to)) else {
            self.fail(&format!("{from:?} or {to:?} has no address"));
        };
        for _ in 0..50 {
            let number = self.send(from, source, destination);
            let arrived = self
                .world
                .run_until(MILLISECOND * 300, |world| world.has_received(to, number));
            self.judge();
            if arrived {
                return;
            }
        }
        self.fail(&format!("{from:?} does not reach {to:?} in the end"));
    }
}
