//! What administrators do.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

use rand::{Rng as _, seq::IndexedRandom as _};
use tombolo_domain::{
    command::{Author, Command, MemberPatch, RouteWish},
    managed_route::RouteId,
};
use tombolo_proto::{config::RouteMode, key::IdentityKey};
use tombolo_tests::world::Name;

use super::{Life, PREFIXES};

impl Life {
    pub(super) fn identity(&self, who: Name) -> IdentityKey {
        self.world.node(who).identity()
    }

    pub(super) fn ask(&mut self, command: Command) {
        self.wishes += 1;
        let chosen = self.rng.random_range(0..usize::from(self.size.replicas));
        let replica = self.admitted(chosen);
        let (controllers, clock) = self.world.controllers_mut();
        controllers.ask(replica, self.wishes, command, clock);
    }

    pub(super) fn patch(&mut self, who: Name, patch: MemberPatch) {
        let identity = self.identity(who);
        self.ask(Command::UpdateMember { identity, patch });
    }

    pub(super) fn authorise(&mut self, who: Name) {
        let patch = MemberPatch {
            authorized: Some(true),
            ..MemberPatch::default()
        };
        self.patch(who, patch);
    }

    pub(super) fn change_address(&mut self, who: Name) {
        // Few, so that some are taken.
        let last = self.rng.random_range(1..=self.size.nodes.max(20));
        let address = IpAddr::V4(Ipv4Addr::new(172, 27, 0, last));
        let patch = MemberPatch {
            addresses: Some(BTreeSet::from([address])),
            ..MemberPatch::default()
        };
        self.patch(who, patch);
    }

    pub(super) fn add_route(&mut self, who: Name) {
        self.routes += 1;
        let target = PREFIXES.choose(&mut self.rng).expect("there are prefixes");
        let modes = [RouteMode::Single, RouteMode::Failover];
        let wish = RouteWish {
            id: RouteId(self.routes),
            target: target.parse().expect("a prefix"),
            via: self.identity(who),
            mode: *modes.choose(&mut self.rng).expect("there are modes"),
            metric: self.rng.random_range(0..3),
            author: Author::Admin,
        };
        self.ask(Command::AddRoute(wish));
    }

    pub(super) fn remove_route(&mut self) {
        let network = self.world.controllers().store.network();
        let ids: Vec<RouteId> = network.routes().map(|route| route.id).collect();
        if let Some(id) = ids.choose(&mut self.rng) {
            self.ask(Command::RemoveRoute(*id));
        }
    }

    /// `preferred`, or another replica if its key was revoked.
    pub(super) fn admitted(&self, preferred: usize) -> usize {
        let controllers = self.world.controllers();
        let mut all = [preferred].into_iter().chain(0..controllers.count());
        all.find(|replica| controllers.is_admitted(*replica))
            .expect("one is left")
    }

    pub(super) fn revoke_a_key(&mut self) {
        let count = usize::from(self.size.replicas);
        let whom = self.keys.random_range(0..count);
        let by = (whom + self.keys.random_range(1..count)) % count;
        let (controllers, clock) = self.world.controllers_mut();
        if controllers.revoke(by, whom, clock.now()) {
            self.note(format!("replica {by} revokes the key of replica {whom}"));
        }
    }

    pub(super) fn upkeep(&mut self, replica: usize) {
        self.wishes += 1;
        let (controllers, clock) = self.world.controllers_mut();
        controllers.upkeep(replica, self.wishes, clock);
    }
}

pub(super) fn deauthorised() -> MemberPatch {
    MemberPatch {
        authorized: Some(false),
        ..MemberPatch::default()
    }
}
