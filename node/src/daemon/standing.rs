//! What a controller says of this node's place in a network, and the directory it sends: kept first, acted on second.

use std::time::{Duration, Instant};

use rand::Rng as _;
use tombolo_engine::membership::Directory;
use tombolo_proto::{
    config::DirectoryEntry,
    control::Standing,
    id::{NetworkId, Version},
    key::IdentityKey,
};

use super::{Daemon, gossip::Waiting, wall};

/// When a controller would not take a request, or knew no such network, the node asks again this much later.
const ASK_AGAIN: Duration = Duration::from_secs(15);

/// A controller that puts a node out is believed so long before another one is asked, again and again: seldom enough to be no
/// burden, and a node that a thief has put out is back within it once the thief's key is revoked.
const SECOND_OPINION: Duration = Duration::from_secs(600);

impl Daemon {
    pub(super) fn take_standing(&mut self, id: NetworkId, standing: Standing) {
        let me = self.me;
        let Some(network) = self.networks.get_mut(&id) else {
            return;
        };
        if network.standing.as_ref() != Some(&standing) {
            tracing::info!(network = %id, ?standing, "Standing in the network");
        }
        network.standing = Some(standing.clone());
        let is_member = standing == Standing::Member;
        let is_denied = matches!(standing, Standing::Denied { .. } | Standing::NotFound);
        let is_pending = standing == Standing::Pending;
        let was_member = network
            .directory
            .as_ref()
            .is_some_and(|directory| directory.is_member(&me));
        let due = network.second_opinion;
        // To be told to wait is to be put out, for one who was in.
        let is_put_out = is_denied || is_pending && (was_member || due.is_some());
        network.second_opinion =
            is_put_out.then(|| due.unwrap_or_else(|| Instant::now() + SECOND_OPINION));
        let settings = &mut network.settings;
        let before = (
            settings.denied.clone(),
            settings.not_found,
            settings.token.is_some(),
        );
        settings.not_found = standing == Standing::NotFound;
        match standing {
            Standing::Pending | Standing::Member => {
                settings.denied = None;
                settings.token = None;
            }
            Standing::Denied { reason } => {
                settings.denied = Some(reason);
                settings.token = None;
            }
            Standing::NotFound | Standing::Busy => {
                let jitter = rand::rng().random_range(0..=ASK_AGAIN.as_millis() as u64 / 2);
                network.ask_again =
                    Some(Instant::now() + ASK_AGAIN + Duration::from_millis(jitter));
            }
        }
        network.unsaved.settings |= before
            != (
                settings.denied.clone(),
                settings.not_found,
                settings.token.is_some(),
            );
        // Who has to ask anew was deleted, and may not have heard of it.
        if network.settings.denied.is_some() || is_pending {
            self.forget_members(id);
        }
        self.write_caches();
        self.refresh_membership(id);
        if is_member {
            self.speak_as_member(id);
        }
    }

    pub(super) fn take_directory(
        &mut self,
        id: NetworkId,
        entries: Vec<DirectoryEntry>,
        upto: Version,
        more: bool,
    ) {
        let Some(network) = self.networks.get_mut(&id) else {
            return;
        };
        let Some(mut directory) = network
            .incoming
            .take()
            .or_else(|| network.directory.clone())
        else {
            return;
        };
        let accepted = directory.accept(entries);
        for refused in &accepted.refused {
            tracing::debug!(network = %id, %refused, "Refused a document of a controller");
            network.note(refused);
        }
        if more {
            network.incoming = Some(directory);
            return;
        }
        directory.set_have(upto);
        self.adopt(id, directory, None);
    }

    /// Keeps a newer directory, then acts on it. `from` is the peer that brought what is new in it, if it was a peer.
    pub(super) fn adopt(&mut self, id: NetworkId, directory: Directory, from: Option<IdentityKey>) {
        let me = self.me;
        let Some(network) = self.networks.get_mut(&id) else {
            return;
        };
        let was_member = network
            .directory
            .as_ref()
            .is_some_and(|directory| directory.is_member(&me));
        let newer_keyring = (network.directory.as_ref().map(Directory::keyring_version)
            < Some(directory.keyring_version()))
        .then(|| directory.signed_keyring().clone());
        if let Some(before) = &network.directory
            && before.keyring_version().epoch < directory.keyring_version().epoch
        {
            tracing::info!(network = %id, epoch = directory.keyring_version().epoch.0, "A new epoch begins: a key was revoked");
            network.alarms.clear();
        }
        let only_adds = network
            .directory
            .as_ref()
            .is_some_and(|before| directory.only_adds_to(before));
        if !only_adds || !was_member {
            network.unsaved.urgent = true;
        }
        network.directory = Some(directory);
        network.unsaved.directory = true;
        network.learn_controllers();
        // One whose certificate has merely expired stays, for a new one to come.
        let is_member = network
            .directory
            .as_ref()
            .is_some_and(|directory| directory.is_member(&me));
        if was_member && !is_member {
            network.settings.denied = Some("removed from the network".to_owned());
            network.unsaved.settings = true;
        }
        // Disk before action, so that no crash undoes a revocation.
        self.write_caches();
        if self
            .networks
            .get(&id)
            .is_some_and(|network| network.settings.denied.is_some())
        {
            self.forget_members(id);
        }
        if let Some(peer) = from
            && let Some(directory) = self
                .networks
                .get(&id)
                .filter(|network| network.slot.is_some())
                .and_then(|network| network.directory.as_ref())
        {
            self.engine
                .set_gossiped_directory(directory, peer, wall(), Instant::now());
        }
        self.refresh_membership(id);
        if let Some(keyring) = newer_keyring {
            self.take_keyring(id.authority(), &keyring);
            self.follow_keyring(id.authority());
        }
    }

    /// A node that was shown the door keeps nothing about those inside but how to ask again, and whom to believe then.
    fn forget_members(&mut self, id: NetworkId) {
        let Some(network) = self.networks.get_mut(&id) else {
            return;
        };
        network.directory = network.directory.take().and_then(|directory| {
            Directory::new(id, directory.root(), directory.signed_keyring().clone()).ok()
        });
        network.endpoints.peers.clear();
        network.announcements.clear();
        network.endpoints_upto = None;
        network.waiting = Waiting::default();
        network.incoming = None;
        network.unsaved.endpoints = false;
        network.unsaved.announcements = false;
        if let Err(error) = network.files.forget_members() {
            tracing::warn!(network = %id, "Failed to forget its members: {error:#}");
        }
        network.unsaved.directory = network.directory.is_some();
        network.unsaved.urgent = network.unsaved.directory;
        self.write_caches();
    }

    /// Asks again where the last answer was not for ever.
    pub(super) fn repeat_joins(&mut self, now: Instant) {
        let due: Vec<NetworkId> = self
            .networks
            .values()
            .filter(|network| network.ask_again.is_some_and(|at| at <= now))
            .map(|network| network.id)
            .collect();
        for id in due {
            self.ask_to_join(id);
        }
    }
}
