//! What a node's daemon does with what controllers say: keep first, act second.

use std::time::Instant;

use tombolo_engine::membership::Directory;
use tombolo_proto::{
    config::{DirectoryEntry, Keyring},
    control::{Standing, ToController, ToNode},
    id::{NetworkId, UnixSeconds, Version},
    key::IdentityKey,
    signed::Signed,
};

use super::{Node, diary::Entry};
use crate::clock::Clock;

impl Node {
    /// A controller has proved itself; its keyring comes first, then the node's wish to be a member.
    pub(super) fn greeted(
        &mut self,
        network: NetworkId,
        home: IdentityKey,
        root: IdentityKey,
        keyring: &Signed<Keyring>,
        wall: UnixSeconds,
        now: Instant,
    ) {
        self.home = Some(home);
        self.incoming = None;
        if self.directories.is_empty() {
            self.diary.push(Entry::Keyring(keyring.clone()));
            self.directories
                .extend(Directory::new(network, root, keyring.clone()).ok());
            if !self.keep() {
                return;
            }
        } else {
            self.take_keyring(network, keyring, wall, now);
        }
        self.ask_to_join(network);
    }

    fn take_keyring(
        &mut self,
        network: NetworkId,
        keyring: &Signed<Keyring>,
        wall: UnixSeconds,
        now: Instant,
    ) {
        self.diary.push(Entry::Keyring(keyring.clone()));
        if let Some(incoming) = &mut self.incoming {
            let _ = incoming.accept_keyring(keyring.clone(), wall);
        }
        let Some(directory) = self.directories.first_mut() else {
            return;
        };
        let is_new = directory.accept_keyring(keyring.clone(), wall);
        if is_new == Ok(true) && self.keep() {
            self.refresh(network, wall, now);
        }
    }

    /// Whether a replica may speak to it, by the newer of the keyrings that it holds and that the replica shows.
    pub(super) fn trusts(&self, replica: &IdentityKey, shown: Option<&Keyring>) -> bool {
        let held = self.directory().map(Directory::keyring);
        let newest = held.into_iter().chain(shown).max_by_key(|it| it.version);
        newest.is_some_and(|keyring| keyring.replicas.contains(replica))
    }

    /// Ends what of an old epoch has had its time.
    pub(super) fn end_rollover(&mut self, network: NetworkId, wall: UnixSeconds, now: Instant) {
        let left = self.directory().and_then(|it| it.rollover_left(wall));
        self.rollover_ends = left.map(|left| self.rollover_ends.unwrap_or(now + left));
        if self.rollover_ends.is_none_or(|ends| ends > now) {
            return;
        }
        self.rollover_ends = None;
        self.diary.push(Entry::GaveUpRollover);
        if let Some(directory) = self.directories.first_mut() {
            directory.end_rollover();
        }
        if self.keep() {
            self.refresh(network, wall, now);
        }
    }

    /// Asks to be a member, or says again that it is one.
    pub(super) fn ask_to_join(&mut self, network: NetworkId) {
        self.outgoing.push_back(ToController::Join {
            network,
            token: None,
            transport: self.seed.transport(network, 0).public(),
            transport_epoch: 0,
            name: String::new(),
        });
    }

    pub(super) fn lost_home(&mut self) {
        self.home = None;
        self.incoming = None;
        self.outgoing.clear();
    }

    /// `true` if the controller wants to be asked again later.
    pub(super) fn take_message(&mut self, message: ToNode, clock: &Clock) -> bool {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "simulated controllers say nothing else"
        )]
        match message {
            ToNode::Status { network, standing } => {
                return self.take_standing(network, &standing, clock);
            }
            ToNode::Keyring(keyring) => {
                if let Some(network) = self.directory().map(Directory::network) {
                    let (wall, now) = (self.wall(clock), self.now(clock));
                    self.take_keyring(network, &keyring, wall, now);
                }
            }
            ToNode::Directory {
                network,
                entries,
                upto,
                more,
            } => self.take_directory(network, entries, upto, more, clock),
            ToNode::Endpoints {
                network,
                identity,
                announcement,
            } => {
                let said = announcement.verify(network.into(), |signer| *signer == identity);
                if let Ok(said) = said
                    && identity != self.identity()
                {
                    self.take_announcement(network, identity, (said, announcement), None, clock);
                }
            }
            _ => {}
        }
        false
    }

    fn take_standing(&mut self, network: NetworkId, standing: &Standing, clock: &Clock) -> bool {
        match standing {
            Standing::Pending | Standing::Member => self.is_denied = false,
            Standing::Denied { .. } => self.is_denied = true,
            Standing::NotFound | Standing::Busy => return true,
        }
        // Who has to ask anew was deleted, and may not have heard of it.
        if *standing != Standing::Member {
            self.forget_members();
        }
        if !self.keep() {
            return false;
        }
        self.refresh(network, self.wall(clock), self.now(clock));
        if *standing == Standing::Member {
            let have = self
                .directory()
                .map_or_else(Version::default, Directory::have);
            self.outgoing
                .push_back(ToController::Sync { network, have });
            self.announce(network, vec![self.address], clock);
        }
        false
    }

    fn take_directory(
        &mut self,
        network: NetworkId,
        entries: Vec<DirectoryEntry>,
        upto: Version,
        more: bool,
        clock: &Clock,
    ) {
        let Some(mut directory) = self.incoming.take().or_else(|| self.directory().cloned()) else {
            return;
        };
        self.diary.push(Entry::Told(entries.clone(), upto));
        let _ = directory.accept(entries);
        if more {
            self.incoming = Some(directory);
            return;
        }
        directory.set_have(upto);
        self.is_denied |= directory.is_revoked(&self.identity());
        self.directories = vec![directory];
        if !self.keep() {
            return;
        }
        if self.is_denied {
            self.forget_members();
        }
        self.refresh(network, self.wall(clock), self.now(clock));
    }

    /// A node that was shown the door keeps nothing about those inside.
    fn forget_members(&mut self) {
        self.diary.push(Entry::Denied);
        let emptied = self
            .directories
            .iter()
            .filter_map(|held| {
                Directory::new(held.network(), held.root(), held.signed_keyring().clone()).ok()
            })
            .collect();
        self.directories = emptied;
        self.announcements.clear();
        self.places.clear();
        self.incoming = None;
    }

    /// Whether it counts itself among the members.
    pub(super) fn is_member(&self, network: NetworkId, wall: UnixSeconds) -> bool {
        !self.is_denied
            && self
                .directories
                .iter()
                .any(|it| it.network() == network && it.member(&self.identity(), wall).is_some())
    }

    /// Follows up on documents, standing or a clock that have changed.
    pub(super) fn refresh(&mut self, network: NetworkId, wall: UnixSeconds, now: Instant) {
        let is_member = self.is_member(network, wall);
        let is_active = self.slots.contains_key(&network);
        if is_member && !is_active {
            let secret = self.seed.transport(network, 0);
            let slot = self
                .engine
                .add_network(network, self.identity(), secret, now);
            self.slots.insert(network, slot);
            self.hand_over(network, wall, now);
        } else if !is_member && is_active {
            self.engine.remove_network(network, now);
            self.slots.remove(&network);
        } else if is_active
            && let Some(directory) = self.directories.iter().find(|it| it.network() == network)
        {
            self.engine.set_directory(directory, wall, now);
        }
        self.diary.push(Entry::Acted(wall));
    }

    /// Gives the engine everything that is known of a network.
    pub(super) fn hand_over(&mut self, network: NetworkId, wall: UnixSeconds, now: Instant) {
        let Some(directory) = self.directories.iter().find(|it| it.network() == network) else {
            return;
        };
        self.engine.set_directory(directory, wall, now);
        for (peer, places) in &self.places {
            self.engine
                .set_endpoints(network, *peer, places.clone(), now);
        }
        for ((of, member), announcement) in &self.announcements {
            if *of == network {
                self.engine
                    .set_announcement(network, *member, announcement.clone(), None, now);
            }
        }
    }
}
