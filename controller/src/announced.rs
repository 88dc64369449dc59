//! What members last said of where they are, as this replica tells it to those who join or come back: encoded once, and
//! without asking the store.
//!
//! A node that comes back says up to when it was told everything, by the clock of the store that all replicas share, and
//! gets what was announced since. In a network of thousands that saves megabytes on every connection.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use dashmap::DashMap;
use tombolo_proto::{
    config::EndpointAnnouncement,
    control::{self, ToNode},
    id::{NetworkId, UnixSeconds},
    key::IdentityKey,
    signed::Signed,
};

/// What is stored becomes visible later than the time it bears: so far back before a moment nothing is missing.
pub(crate) const OVERLAP_SECONDS: u64 = 5;

/// The newest announcement of a member.
#[derive(Debug)]
struct Announcement {
    /// Counted by the member.
    sequence: u64,
    /// When the store took it.
    stored_at: UnixSeconds,
    /// As nodes get it.
    message: Bytes,
}

/// Announcements by network and member.
#[derive(Debug, Default)]
pub(crate) struct Announced {
    networks: DashMap<NetworkId, BTreeMap<IdentityKey, Announcement>>,
    /// When the store was looked through last; 0 if it was not yet.
    looked: AtomicU64,
}

impl Announced {
    /// Takes an announcement that is newer than the one held. Tells whether it was.
    pub(crate) fn put(
        &self,
        network: NetworkId,
        identity: IdentityKey,
        (sequence, stored_at): (u64, UnixSeconds),
        announcement: &Signed<EndpointAnnouncement>,
    ) -> bool {
        let mut held = self.networks.entry(network).or_default();
        if held
            .get(&identity)
            .is_some_and(|held| held.sequence >= sequence)
        {
            return false;
        }
        let message = control::encode(&ToNode::Endpoints {
            network,
            identity,
            announcement: announcement.clone(),
        });
        held.insert(
            identity,
            Announcement {
                sequence,
                stored_at,
                message: message.into(),
            },
        );
        true
    }

    /// Whether this announcement, or a newer one of the same member, is held.
    pub(crate) fn has(&self, network: NetworkId, identity: &IdentityKey, sequence: u64) -> bool {
        self.networks
            .get(&network)
            .and_then(|held| held.get(identity).map(|held| held.sequence >= sequence))
            .unwrap_or(false)
    }

    /// Everything that the store had at this moment is held now.
    pub(crate) fn set_looked(&self, moment: UnixSeconds) {
        self.looked.fetch_max(moment.0, Ordering::Release);
    }

    /// Up to when everything is held; none before the first look.
    pub(crate) fn looked(&self) -> Option<UnixSeconds> {
        let moment = self.looked.load(Ordering::Acquire);
        (moment > 0).then_some(UnixSeconds(moment))
    }

    /// The messages about those who `are_told` that were announced since a moment, or all of them.
    pub(crate) fn since(
        &self,
        network: NetworkId,
        moment: Option<UnixSeconds>,
        are_told: impl Fn(&IdentityKey) -> bool,
    ) -> Vec<u8> {
        let from = moment.map_or(0, |moment| moment.0.saturating_sub(OVERLAP_SECONDS));
        let Some(held) = self.networks.get(&network) else {
            return Vec::new();
        };
        let mut messages = Vec::new();
        for (identity, announcement) in held.iter() {
            if announcement.stored_at.0 >= from && are_told(identity) {
                messages.extend_from_slice(&announcement.message);
            }
        }
        messages
    }

    pub(crate) fn forget(&self, network: NetworkId) {
        self.networks.remove(&network);
    }
}

#[cfg(test)]
mod tests {
    use tombolo_proto::key::Seed;

    use super::*;

    #[test]
    fn who_comes_back_is_told_what_was_announced_since_and_who_is_new_everything() {
        let announced = Announced::default();
        for (number, stored_at) in [(1, 100), (2, 200), (3, 300)] {
            assert!(put(&announced, number, 1, stored_at));
        }

        let told = |moment: Option<u64>| {
            let messages = announced.since(network(), moment.map(UnixSeconds), |_| true);
            messages.len() / control::encode(&message(1, 1)).len()
        };

        assert_eq!(told(None), 3);
        assert_eq!(told(Some(150)), 2);
        // A little of what was told already comes again: it may have become visible late.
        assert_eq!(told(Some(204)), 2);
        assert_eq!(told(Some(206)), 1);
        assert_eq!(told(Some(306)), 0);
    }

    #[test]
    fn only_what_is_newer_counts_and_only_members_are_told_of() {
        let announced = Announced::default();
        assert!(put(&announced, 1, 7, 100));

        assert!(!put(&announced, 1, 7, 101));
        assert!(!put(&announced, 1, 6, 102));
        assert!(announced.has(network(), &identity(1), 7));
        assert!(!announced.has(network(), &identity(1), 8));
        assert!(put(&announced, 1, 8, 103));
        let nobody = announced.since(network(), None, |_| false);
        assert!(nobody.is_empty());
    }

    fn put(announced: &Announced, number: u8, sequence: u64, stored_at: u64) -> bool {
        let ToNode::Endpoints { announcement, .. } = message(number, sequence) else {
            unreachable!("it is made below");
        };
        let order = (sequence, UnixSeconds(stored_at));
        announced.put(network(), identity(number), order, &announcement)
    }

    fn message(number: u8, sequence: u64) -> ToNode {
        let key = Seed::from_bytes([number; 32]).identity();
        let announcement = EndpointAnnouncement {
            endpoints: vec![([192, 0, 2, number], 9790).into()],
            home: None,
            sequence,
        };
        ToNode::Endpoints {
            network: network(),
            identity: identity(number),
            announcement: Signed::sign(&announcement, network().into(), &key),
        }
    }

    fn identity(number: u8) -> IdentityKey {
        Seed::from_bytes([number; 32]).identity().public()
    }

    fn network() -> NetworkId {
        "8056c2e21c000001".parse().expect("a network id")
    }
}
