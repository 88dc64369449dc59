//! The judge: works out from the diary alone, as naively as can be, what every node may believe, and compares.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use tombolo_engine::ownership::prefixes_of;
use tombolo_proto::{
    config::{DirectoryEntry, Keyring},
    gossip::Gossiped,
    id::{Epoch, UnixSeconds},
    key::IdentityKey,
    signed::Signed,
};
use tombolo_tests::{
    controllers::Controllers,
    model::{self, Member, View},
    packets::Message,
    world::{Name, World, diary::Entry},
};

use super::heard::Heard;

/// Longest time that a packet is under way.
const FLIGHT: Duration = Duration::from_millis(100);
/// From the beginning of a session to each side knowing what the other knew, where nothing gets lost.
const CATCHES_UP: Duration = Duration::from_secs(5);

/// One node, as the judge sees it.
#[derive(Debug, Default)]
struct Suspect {
    heard: Heard,
    /// What it had heard when it acted last.
    acted: Heard,
    view: View,
    kept: BTreeMap<u64, Heard>,
    /// Whether it has acted since it was last compared.
    is_fresh: bool,
    /// When it put each peer out.
    put_out: BTreeMap<Name, Instant>,
    /// Sessions: since when, and what the other knew then.
    met: BTreeMap<Name, (Instant, Known)>,
}

/// What must not be lost: an epoch, and its removals.
type Known = (Epoch, BTreeMap<IdentityKey, u64>);

/// All of them.
#[derive(Debug)]
pub(super) struct Oracle {
    names: BTreeMap<IdentityKey, Name>,
    suspects: BTreeMap<Name, Suspect>,
    /// Who sent a packet, from which address.
    sent: BTreeMap<u64, (Name, IpAddr)>,
    /// Whether messages between nodes arrive for sure.
    is_clean: bool,
    pub(super) delivered: u64,
}

impl Oracle {
    pub(super) fn new(world: &World, is_clean: bool) -> Self {
        let names = world.names();
        Self {
            names: names
                .iter()
                .map(|name| (world.node(*name).identity(), *name))
                .collect(),
            suspects: names
                .into_iter()
                .map(|name| (name, Suspect::default()))
                .collect(),
            sent: BTreeMap::new(),
            is_clean,
            delivered: 0,
        }
    }

    pub(super) fn sent(&mut self, number: u64, from: Name, source: IpAddr) {
        self.sent.insert(number, (from, source));
    }

    /// A part of the underlay was cut: sessions do not show any more that two can talk.
    pub(super) fn forget_meetings(&mut self) {
        for suspect in self.suspects.values_mut() {
            suspect.met.clear();
        }
    }

    /// Reads what has happened, and compares everybody's belief with what it should be.
    pub(super) fn judge(&mut self, world: &mut World) -> Result<(), String> {
        for (name, at, entry) in world.read_diary() {
            self.follow(name, at, entry, world.controllers())?;
        }
        for name in world.names() {
            self.compare(name, world)?;
            self.suspect(name).is_fresh = false;
        }
        Ok(())
    }

    fn follow(
        &mut self,
        name: Name,
        at: Instant,
        entry: Entry,
        controllers: &Controllers,
    ) -> Result<(), String> {
        match entry {
            Entry::Told(entries, upto) => {
                let heard = &mut self.suspect(name).heard;
                for entry in &entries {
                    heard.hear(entry, &controllers.store);
                }
                heard.is_complete(upto);
            }
            Entry::Brought(documents) => self.bring(name, &documents, controllers),
            Entry::Keyring(signed) => {
                if let Some(keyring) = rightful(&signed, controllers) {
                    self.suspect(name).heard.hear_keyring(keyring);
                }
            }
            Entry::GaveUpRollover => self.suspect(name).heard.end_rollover(),
            Entry::Kept(generation) => {
                let suspect = self.suspect(name);
                suspect.kept.insert(generation, suspect.heard.clone());
            }
            Entry::Acted(wall) => self.act(name, wall, at),
            Entry::Denied => {
                let suspect = self.suspect(name);
                suspect.heard.forget();
                suspect.acted.forget();
            }
            Entry::Started(generation) => self.start(name, generation, at)?,
            Entry::Delivered(message) => self.deliver(name, &message, at)?,
            Entry::Met(peer) => {
                let peer = self.names[&peer];
                let acted = &self.suspects[&peer].acted;
                let known = (acted.epoch(), acted.floors());
                self.suspect(name).met.insert(peer, (at, known));
            }
            Entry::Parted(peer) => {
                let peer = self.names[&peer];
                self.suspect(name).met.remove(&peer);
            }
        }
        Ok(())
    }

    fn suspect(&mut self, name: Name) -> &mut Suspect {
        self.suspects.entry(name).or_default()
    }

    fn identity(&self, name: Name) -> IdentityKey {
        let found = self.names.iter().find(|(_, other)| **other == name);
        *found.expect("a node of that name").0
    }

    /// What peers say of this node's own end counts for nothing.
    fn bring(&mut self, name: Name, documents: &[Gossiped], controllers: &Controllers) {
        let me = self.identity(name);
        let store = &controllers.store;
        let heard = &mut self.suspect(name).heard;
        let mut is_news = false;
        for document in documents {
            is_news |= match document {
                Gossiped::Keyring(signed) => {
                    rightful(signed, controllers).is_some_and(|keyring| heard.hear_keyring(keyring))
                }
                Gossiped::Entry(entry @ DirectoryEntry::Revocation(_))
                    if heard.ends(&me, entry, store) =>
                {
                    false
                }
                Gossiped::Entry(entry) => heard.hear(entry, store),
                Gossiped::Endpoints { .. } => false,
            };
        }
        if is_news {
            heard.end_rollover_if_whole(&me);
        }
    }

    fn act(&mut self, name: Name, wall: UnixSeconds, at: Instant) {
        let me = self.identity(name);
        let names = self.names.clone();
        let suspect = self.suspect(name);
        suspect.acted = suspect.heard.clone();
        suspect.is_fresh = true;
        let view: View = suspect
            .heard
            .members(&me, wall)
            .into_iter()
            .map(|(identity, cert)| {
                let owns = prefixes_of(cert).collect();
                (names[&identity], Member { identity, owns })
            })
            .collect();
        let before = std::mem::replace(&mut suspect.view, view);
        for gone in before
            .keys()
            .filter(|gone| !suspect.view.contains_key(gone))
        {
            suspect.put_out.insert(*gone, at);
        }
    }

    /// A start with the newest generation must not know less than the node acted on before.
    fn start(&mut self, name: Name, generation: u64, at: Instant) -> Result<(), String> {
        let suspect = self.suspect(name);
        let is_newest = suspect
            .kept
            .keys()
            .next_back()
            .is_none_or(|newest| *newest == generation);
        let kept = suspect.kept.get(&generation).cloned().unwrap_or_default();
        if is_newest {
            let acted = &suspect.acted;
            if kept.epoch() < acted.epoch() {
                return Err(format!(
                    "{name:?} acted on a keyring that was not on disk when it died"
                ));
            }
            let floors = (kept.epoch() == acted.epoch()).then(|| acted.floors());
            for (identity, floor) in floors.unwrap_or_default() {
                if kept.floor(&identity) < floor {
                    return Err(format!(
                        "{name:?} acted on a removal that was not on disk when it died"
                    ));
                }
            }
        }
        suspect.kept.split_off(&(generation + 1));
        suspect.heard = kept;
        suspect.acted = Heard::default();
        let before = std::mem::take(&mut suspect.view);
        suspect
            .put_out
            .extend(before.into_keys().map(|gone| (gone, at)));
        suspect.met.clear();
        Ok(())
    }

    fn deliver(&mut self, to: Name, message: &Message, at: Instant) -> Result<(), String> {
        let (from, source) = self.sent[&message.number];
        self.delivered += 1;
        if source != message.from {
            return Err(format!("{to:?} got a packet that nobody sent"));
        }
        if !model::may_take(&self.suspects[&to].view, to, from, source) {
            return Err(format!("{to:?} took a packet of {from:?} from {source}"));
        }
        let sender = &self.suspects[&from];
        let put_out = sender.put_out.get(&to);
        let was_put_out_long_ago = put_out.is_none_or(|then| at - *then > FLIGHT);
        if !sender.view.contains_key(&to) && was_put_out_long_ago {
            return Err(format!("{from:?} sent to {to:?}, whom it had put out"));
        }
        Ok(())
    }

    /// What a node holds, whom it takes for a peer, and where it would send, against what it has heard.
    fn compare(&self, name: Name, world: &World) -> Result<(), String> {
        let node = world.node(name);
        if !node.is_up() {
            return Ok(());
        }
        let suspect = &self.suspects[&name];
        let peers: BTreeSet<Name> = node
            .engine
            .peers(world.clock.now())
            .iter()
            .map(|status| self.names[&status.identity])
            .collect();
        let expected: BTreeSet<Name> = suspect
            .view
            .keys()
            .copied()
            .filter(|other| *other != name)
            .collect();
        if peers != expected {
            return Err(format!(
                "{name:?} has the peers {peers:?}, not {expected:?}"
            ));
        }
        if suspect.is_fresh {
            self.compare_documents(name, world)?;
            self.compare_routes(name, world)?;
        }
        self.compare_with_peers(name, world)
    }

    fn compare_routes(&self, name: Name, world: &World) -> Result<(), String> {
        let suspect = &self.suspects[&name];
        for member in suspect.view.values() {
            for (prefix, _) in &member.owns {
                let routed = world.is_routed(name, prefix.addr());
                let hop = model::next_hop(&suspect.view, name, prefix.addr());
                if routed != hop.is_some() {
                    return Err(format!(
                        "{name:?} to {prefix}: {routed}, should go to {hop:?}"
                    ));
                }
            }
        }
        Ok(())
    }

    fn compare_documents(&self, name: Name, world: &World) -> Result<(), String> {
        let suspect = &self.suspects[&name];
        let Some(directory) = world.node(name).directory() else {
            return Ok(());
        };
        let held: BTreeMap<IdentityKey, u64> = directory
            .certs_in_force()
            .map(|(identity, revision)| (*identity, revision.0))
            .collect();
        let mut expected = BTreeMap::new();
        for cert in suspect.heard.in_force() {
            expected.insert(cert.identity, cert.version.revision.0);
            let is_same = directory.member(&cert.identity, UnixSeconds(0)) == Some(cert);
            if held.contains_key(&cert.identity) && !is_same {
                let member = self.names[&cert.identity];
                return Err(format!("{name:?} holds another certificate of {member:?}"));
            }
        }
        let revoked: BTreeSet<IdentityKey> = directory.revocations().map(|(key, _)| *key).collect();
        let should: BTreeSet<IdentityKey> = suspect.heard.floors().into_keys().collect();
        if held != expected || revoked != should {
            let name_all = |of: &BTreeMap<IdentityKey, u64>| -> Vec<(Name, u64)> {
                of.iter()
                    .map(|(key, order)| (self.names[key], *order))
                    .collect()
            };
            return Err(format!(
                "{name:?} holds {:?}, has heard of {:?}; removals {} of {}",
                name_all(&held),
                name_all(&expected),
                revoked.len(),
                should.len()
            ));
        }
        Ok(())
    }

    /// Who has had a session for a while knows of every removal that the other knew of when it began.
    fn compare_with_peers(&self, name: Name, world: &World) -> Result<(), String> {
        let suspect = &self.suspects[&name];
        for (peer, (since, known)) in &suspect.met {
            let is_due = self.is_clean && world.clock.now() - *since > CATCHES_UP;
            if !is_due || !world.node(*peer).is_up() {
                continue;
            }
            let (epoch, floors) = known;
            if suspect.acted.epoch() < *epoch {
                return Err(format!(
                    "{name:?} has talked to {peer:?} for {:?}, and not heard of its keyring",
                    world.clock.now() - *since
                ));
            }
            let is_over = suspect.acted.epoch() > *epoch;
            for (identity, floor) in floors.iter().filter(|_| !is_over) {
                let is_own = self.names[identity] == name;
                if !is_own && suspect.acted.floor(identity) < *floor {
                    return Err(format!(
                        "{name:?} has talked to {peer:?} for {:?}, and not heard that {:?} was removed",
                        world.clock.now() - *since,
                        self.names[identity]
                    ));
                }
            }
        }
        Ok(())
    }
}

fn rightful(signed: &Signed<Keyring>, controllers: &Controllers) -> Option<Keyring> {
    let scope = Keyring::scope(controllers.store.network().id().authority());
    let root = controllers.root();
    signed.verify(scope, |signer| *signer == root).ok()
}
