//! One network as the engine sees it, and what a newer directory changes in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Instant,
};

use tombolo_proto::{
    config::MemberCert,
    id::{Mtu, NetworkId, UnixSeconds},
    key::{IdentityKey, TransportKey, TransportSecret},
};

use crate::{
    fib::PeerSlot,
    gossip::Gossip,
    membership::Directory,
    ownership::Ownership,
    rules::Guard,
    session::{Door, Noise},
};

/// Announcements kept for members this node has not heard of yet: as many as a large network has members.
const MAX_ANNOUNCED: usize = 16_384;

/// One network.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) id: NetworkId,
    pub(crate) identity: IdentityKey,
    pub(crate) secret: TransportSecret,
    /// Its public half, worked out once: every peer needs it.
    pub(crate) public: TransportKey,
    pub(crate) door: Arc<dyn Door>,
    pub(crate) ownership: Arc<Ownership>,
    /// While the network has access rules that deny anything.
    pub(crate) guard: Option<Arc<Guard>>,
    pub(crate) by_identity: BTreeMap<IdentityKey, PeerSlot>,
    pub(crate) by_transport: BTreeMap<TransportKey, PeerSlot>,
    announced: BTreeMap<IdentityKey, Vec<SocketAddr>>,
    /// To which replica each member says it is connected: a relay that has it.
    pub(crate) homes: BTreeMap<IdentityKey, IdentityKey>,
    /// The replica this node is connected to, if it relays.
    pub(crate) controller: Option<IdentityKey>,
    /// Whether this node's own certificate says that it may relay.
    pub(crate) may_relay: bool,
    /// While gossip is on.
    pub(crate) gossip: Option<Gossip>,
    /// Whether the owner of this host lets default routes of other members count.
    pub(crate) allow_default: bool,
}

/// What a newer directory means for the peers of a network.
#[derive(Debug)]
pub(crate) struct Changes<'a> {
    /// No longer members, or with another key: erase first.
    pub(crate) gone: Vec<PeerSlot>,
    /// New members, and old ones with another key.
    pub(crate) new: Vec<&'a MemberCert>,
    /// Members as before, whose certificate may have changed otherwise.
    pub(crate) kept: Vec<(PeerSlot, &'a MemberCert)>,
}

impl Network {
    pub(crate) fn new(
        id: NetworkId,
        identity: IdentityKey,
        secret: TransportSecret,
        noise: &dyn Noise,
    ) -> Self {
        Self {
            id,
            identity,
            door: noise.door(&secret),
            public: secret.public(),
            secret,
            ownership: Arc::new(Ownership::new(
                std::iter::empty(),
                identity,
                Mtu::DEFAULT,
                |_| None,
            )),
            guard: None,
            by_identity: BTreeMap::new(),
            by_transport: BTreeMap::new(),
            announced: BTreeMap::new(),
            homes: BTreeMap::new(),
            controller: None,
            may_relay: false,
            gossip: None,
            allow_default: false,
        }
    }

    /// Members that count, but only while this node is one of them: whoever was put out talks to nobody.
    fn members<'a>(&self, directory: &'a Directory, wall: UnixSeconds) -> Vec<&'a MemberCert> {
        if directory.member(&self.identity, wall).is_none() {
            return Vec::new();
        }
        directory.members(wall).collect()
    }

    /// Compares the peers there are with those that `directory` wants.
    pub(crate) fn compare<'a>(&self, directory: &'a Directory, wall: UnixSeconds) -> Changes<'a> {
        let mut wanted: BTreeMap<IdentityKey, &MemberCert> = self
            .members(directory, wall)
            .into_iter()
            .filter(|cert| cert.identity != self.identity)
            .map(|cert| (cert.identity, cert))
            .collect();
        let mut changes = Changes {
            gone: Vec::new(),
            new: Vec::new(),
            kept: Vec::new(),
        };
        for (identity, &slot) in &self.by_identity {
            match wanted.get(identity) {
                Some(cert) if self.by_transport.get(&cert.transport) == Some(&slot) => {
                    changes.kept.push((slot, cert));
                    wanted.remove(identity);
                }
                Some(_) | None => changes.gone.push(slot),
            }
        }
        // Two members with one transport key cannot be told apart: who came first stays, the other gets no session.
        let mut taken = BTreeSet::from([self.public]);
        taken.extend(changes.kept.iter().map(|(_, cert)| cert.transport));
        changes.new = wanted
            .into_values()
            .filter(|cert| taken.insert(cert.transport))
            .collect();
        changes
    }

    pub(crate) fn rebuild_ownership(&mut self, directory: &Directory, wall: UnixSeconds) {
        let mtu = directory.doc().map_or(Mtu::DEFAULT, |doc| doc.mtu);
        let members = self.members(directory, wall);
        let slot = |identity: &IdentityKey| self.by_identity.get(identity).copied();
        let ownership = Ownership::new(members.into_iter(), self.identity, mtu, slot);
        self.ownership = Arc::new(if self.allow_default {
            ownership
        } else {
            ownership.without_defaults()
        });
    }

    /// Works out what the access rules of the network's document mean here. `seed` is random.
    pub(crate) fn rebuild_guard(
        &mut self,
        directory: &Directory,
        seed: [u64; 2],
        wall: UnixSeconds,
        now: Instant,
    ) {
        let doc = directory.doc();
        let me = directory.member(&self.identity, wall);
        let guard = doc.zip(me).and_then(|(doc, me)| {
            Guard::new(
                &doc.rules,
                me,
                directory.members(wall),
                |identity| self.by_identity.get(identity).copied(),
                self.guard.as_deref(),
                seed,
                now,
            )
        });
        self.guard = guard.map(Arc::new);
    }

    /// Remembers where a member may be, for now and for when it becomes a peer.
    pub(crate) fn announce(&mut self, identity: IdentityKey, endpoints: Vec<SocketAddr>) {
        if self.announced.len() < MAX_ANNOUNCED || self.announced.contains_key(&identity) {
            self.announced.insert(identity, endpoints);
        }
    }

    /// Remembers at which replica a member can be found.
    pub(crate) fn set_home(&mut self, identity: IdentityKey, home: Option<IdentityKey>) {
        match home {
            Some(home)
                if self.homes.len() < MAX_ANNOUNCED || self.homes.contains_key(&identity) =>
            {
                self.homes.insert(identity, home);
            }
            Some(_) => {}
            None => {
                self.homes.remove(&identity);
            }
        }
    }

    pub(crate) fn announced(&self, identity: &IdentityKey) -> Vec<SocketAddr> {
        self.announced.get(identity).cloned().unwrap_or_default()
    }
}
