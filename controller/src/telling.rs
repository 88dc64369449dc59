//! What the nodes of a network are told, in one order for all of them: what is urgent at once, the rest in portions.
//! Every message is encoded once, however many nodes it goes to.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use dashmap::DashMap;
use tokio::sync::Notify;
use tombolo_domain::{
    network::Network,
    pacing::{Pace, Waiting, urgent_certificates},
};
use tombolo_proto::{
    config::{DirectoryEntry, EndpointAnnouncement},
    control::{self, DIRECTORY_CHUNK, ToNode},
    id::{NetworkId, Revision, Version},
    key::IdentityKey,
    signed::Signed,
    wire,
};

use crate::{
    announced::Announced,
    blobs::Place,
    publish::{Push, Registry},
    stop::Stop,
    store::SignedDocument,
};

/// A signature, a signer and the lengths around an announcement, beside its body.
const ANNOUNCEMENT_BYTES: usize = 200;

/// Messages that every node of a network gets alike.
#[derive(Debug)]
pub(crate) struct Portion {
    /// What a node holds that needs nothing but this.
    pub(crate) previous: Version,
    /// What it holds then.
    pub(crate) upto: Version,
    /// The newest document in it; a node that holds this needs none of them. None if there are announcements in it.
    pub(crate) newest: Option<Version>,
    /// The messages, as they travel.
    pub(crate) messages: Bytes,
}

/// What changed, for those who are to be told.
#[derive(Debug)]
pub(crate) struct Step<'a> {
    pub(crate) before: &'a Network,
    pub(crate) after: &'a Network,
    /// The version before, and the one after.
    pub(crate) versions: (Version, Version),
    pub(crate) documents: &'a [SignedDocument],
}

/// Something that can wait.
#[derive(Debug)]
enum Item {
    Document(Version, DirectoryEntry),
    Endpoints(IdentityKey, Signed<EndpointAnnouncement>),
}

/// Of each member there are two things that can wait.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Document(Place),
    Endpoints(IdentityKey),
}

/// One network's.
#[derive(Debug)]
struct Line {
    waiting: Waiting<Key, Item>,
    /// Every document up to here was told or waits.
    known: Version,
    /// What nodes hold that have taken every portion so far.
    held: Version,
}

/// All networks'.
#[derive(Debug)]
pub(crate) struct Telling {
    registry: Arc<Registry>,
    announced: Arc<Announced>,
    lines: DashMap<NetworkId, Line>,
    changed: Notify,
}

impl Telling {
    pub(crate) fn new(registry: Arc<Registry>, announced: Arc<Announced>) -> Self {
        Self {
            registry,
            announced,
            lines: DashMap::new(),
            changed: Notify::new(),
        }
    }

    /// Tells what cannot wait of a step, and lets the rest wait.
    pub(crate) fn tell(&self, step: &Step<'_>) {
        let network = step.after.id();
        let (from, to) = step.versions;
        let certified: Vec<_> = step.documents.iter().filter_map(certified_by).collect();
        let urgent = urgent_certificates(&certified, step.before, step.after);
        let mut line = self.line(network, from);
        if to.epoch > line.known.epoch {
            // Everything is signed anew, and everybody asks for all of it.
            line.waiting.clear();
        }
        if to.epoch > line.known.epoch || line.known == Version::default() {
            (line.known, line.held) = (from, from);
        }
        let mut at_once = Vec::new();
        for document in step.documents {
            let place = Place::of(document);
            if let Place::Revocation(identity) = place {
                line.waiting
                    .withdraw(&Key::Document(Place::Member(identity)));
                line.waiting.withdraw(&Key::Endpoints(identity));
            }
            let waits = certified_by(document).is_some_and(|identity| !urgent.contains(&identity));
            if waits {
                let (version, entry) = (document.version, document.entry.clone());
                let bytes = wire::encode(&entry).len();
                line.waiting
                    .put(Key::Document(place), bytes, Item::Document(version, entry));
            } else {
                line.waiting.withdraw(&Key::Document(place));
                at_once.push((document.version, document.entry.clone()));
            }
        }
        // What other replicas did in between is still to come.
        if from <= line.known {
            line.known = line.known.max(to);
        }
        if !at_once.is_empty() {
            self.send(network, &mut line, at_once, Vec::new());
        }
        drop(line);
        self.changed.notify_one();
    }

    /// Lets an announcement wait.
    pub(crate) fn announce(
        &self,
        network: NetworkId,
        identity: IdentityKey,
        announcement: Signed<EndpointAnnouncement>,
    ) {
        self.line(network, Version::default()).waiting.put(
            Key::Endpoints(identity),
            ANNOUNCEMENT_BYTES,
            Item::Endpoints(identity, announcement),
        );
        self.changed.notify_one();
    }

    pub(crate) fn forget(&self, network: NetworkId) {
        self.lines.remove(&network);
    }

    fn line(
        &self,
        network: NetworkId,
        known: Version,
    ) -> dashmap::mapref::one::RefMut<'_, NetworkId, Line> {
        self.lines.entry(network).or_insert_with(|| Line {
            waiting: Waiting::default(),
            known,
            held: known,
        })
    }

    /// Sends portions when they are due, until told to stop.
    pub(crate) async fn run(&self, mut stop: Stop) {
        loop {
            let due = self.send_due(Instant::now());
            tokio::select! {
                () = self.changed.notified() => {}
                () = tokio::time::sleep(due) => {}
                () = stop.wait() => return,
            }
        }
    }

    /// Sends what is due. Tells how long to wait for the next.
    fn send_due(&self, now: Instant) -> Duration {
        let mut next = Duration::from_secs(3600);
        for mut entry in self.lines.iter_mut() {
            let network = *entry.key();
            let line = entry.value_mut();
            let pace = Pace::of(self.registry.follower_count(network));
            let (mut documents, mut announcements) = (Vec::new(), Vec::new());
            for item in line.waiting.portion(pace, now) {
                match item {
                    Item::Document(version, entry) => documents.push((version, entry)),
                    Item::Endpoints(identity, announcement) => {
                        announcements.push((identity, announcement));
                    }
                }
            }
            if !documents.is_empty() || !announcements.is_empty() {
                self.send(network, line, documents, announcements);
            }
            if let Some(at) = line.waiting.poll_timeout(now) {
                next = next.min(at.saturating_duration_since(now));
            }
        }
        next
    }

    /// The caller holds the network's line, so that portions come to everybody in one order.
    fn send(
        &self,
        network: NetworkId,
        line: &mut Line,
        mut documents: Vec<(Version, DirectoryEntry)>,
        announcements: Vec<(IdentityKey, Signed<EndpointAnnouncement>)>,
    ) {
        let upto = line.told();
        let previous = std::mem::replace(&mut line.held, upto);
        documents.sort_by_key(|(version, _)| *version);
        let newest = documents.last().map_or(upto, |(version, _)| *version);
        let newest = announcements.is_empty().then_some(newest);
        let looked = line
            .says_everything_announced()
            .then(|| self.announced.looked())
            .flatten();
        let entries: Vec<_> = documents.into_iter().map(|(_, entry)| entry).collect();
        let mut messages = if entries.is_empty() {
            Vec::new()
        } else {
            directory(network, &entries, upto)
        };
        for (identity, announcement) in announcements {
            messages.extend(control::encode(&ToNode::Endpoints {
                network,
                identity,
                announcement,
            }));
        }
        // With nothing left to wait, whoever has this portion has everything.
        if newest.is_none()
            && let Some(moment) = looked
        {
            messages.extend(control::encode(&ToNode::EndpointsUpto { network, moment }));
        }
        let portion = Portion {
            previous,
            upto,
            newest,
            messages: messages.into(),
        };
        self.registry
            .publish(network, &Push::Portion(network, Arc::new(portion)));
    }
}

impl Line {
    fn says_everything_announced(&self) -> bool {
        !self
            .waiting
            .iter()
            .any(|item| matches!(item, Item::Endpoints(..)))
    }

    /// Up to which version everything was told.
    fn told(&self) -> Version {
        let waiting = self.waiting.iter().filter_map(|item| match item {
            Item::Document(version, _) => Some(Version {
                revision: Revision(version.revision.0.saturating_sub(1)),
                ..*version
            }),
            Item::Endpoints(..) => None,
        });
        waiting
            .min()
            .map_or(self.known, |first| first.min(self.known))
    }
}

/// A part of the directory, in as many messages as it takes.
pub(crate) fn directory(network: NetworkId, entries: &[DirectoryEntry], upto: Version) -> Vec<u8> {
    let mut messages = Vec::new();
    let mut chunks = entries.chunks(DIRECTORY_CHUNK).peekable();
    loop {
        let entries = chunks.next().unwrap_or_default().to_vec();
        let more = chunks.peek().is_some();
        messages.extend(control::encode(&ToNode::Directory {
            network,
            entries,
            upto,
            more,
        }));
        if !more {
            return messages;
        }
    }
}

fn certified_by(document: &SignedDocument) -> Option<IdentityKey> {
    matches!(document.entry, DirectoryEntry::Member(_))
        .then_some(document.identity)
        .flatten()
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use tombolo_domain::{
        change::Change, command::Command, compile::compile, decide::decide, member::Request,
        settings::Settings,
    };
    use tombolo_proto::{
        id::{Epoch, NodeId, UnixSeconds},
        key::{Seed, TransportKey},
    };

    use super::*;
    use crate::publish::Place as Seat;

    const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

    #[test]
    fn a_removal_overtakes_additions_and_says_that_they_are_still_to_come() {
        let mut scene = Scene::new();
        scene.step(join(1));
        // The first goes at once, whatever comes right after it waits.
        scene.telling.send_due(Instant::now());
        scene.step(join(2));
        scene.step(join(3));
        scene.step(Command::RemoveMember(identity(1)));
        let told = scene.told();
        assert_eq!(told, [(1, 2, 2), (2, 2, 5)]);

        scene
            .telling
            .send_due(Instant::now() + Duration::from_secs(1));

        // From what the removal left, to the end.
        assert_eq!(scene.told(), [(2, 5, 4)]);
    }

    #[test]
    fn a_member_that_is_removed_before_anybody_heard_of_it_is_not_told_as_an_addition() {
        let mut scene = Scene::new();
        scene.step(join(1));
        scene.step(Command::RemoveMember(identity(1)));
        scene.telling.send_due(Instant::now());

        assert_eq!(scene.told(), [(1, 3, 3)]);
    }

    /// A network with one follower, without a store.
    struct Scene {
        telling: Telling,
        network: Network,
        pushes: mpsc::Receiver<Push>,
        _seat: Seat,
    }

    impl Scene {
        fn new() -> Self {
            let registry = Arc::new(Registry::default());
            let id: NetworkId = "8056c2e21c000001".parse().expect("a network id");
            let mut settings = Settings::new("home".parse().expect("a name"));
            settings.private = false;
            let blank = Network::new(id, settings.clone());
            let network = blank.apply(&[Change::Settings(settings)]);
            let (seat, pushes) = registry.enter(identity(0));
            seat.follow(id);
            Self {
                telling: Telling::new(registry, Arc::default()),
                network,
                pushes,
                _seat: seat,
            }
        }

        fn step(&mut self, command: Command) {
            let changes = decide(command, &self.network, NOW).expect("allowed");
            let after = self.network.apply(&changes);
            let due = compile(&self.network, &after, &changes, Epoch(0), NOW);
            let key = Seed::from_bytes([9; 32]).identity();
            let scope = after.id().into();
            let version = |network: &Network| Version {
                epoch: Epoch(0),
                revision: network.revision(),
            };
            let certs = due.certs.iter().map(|cert| {
                let entry = DirectoryEntry::Member(Signed::sign(cert, scope, &key));
                (cert.identity, entry)
            });
            let revocations = due.revocations.iter().map(|revocation| {
                let entry = DirectoryEntry::Revocation(Signed::sign(revocation, scope, &key));
                (revocation.identity, entry)
            });
            let documents: Vec<_> = certs
                .chain(revocations)
                .map(|(identity, entry)| SignedDocument {
                    version: version(&after),
                    identity: Some(identity),
                    issued_at: NOW,
                    entry,
                })
                .collect();
            self.telling.tell(&Step {
                before: &self.network,
                after: &after,
                versions: (version(&self.network), version(&after)),
                documents: &documents,
            });
            self.network = after;
        }

        /// From, up to, and the newest document of every portion since the last look.
        fn told(&mut self) -> Vec<(u64, u64, u64)> {
            let mut told = Vec::new();
            while let Ok(push) = self.pushes.try_recv() {
                if let Push::Portion(_, portion) = push {
                    let newest = portion.newest.expect("documents only");
                    told.push((
                        portion.previous.revision.0,
                        portion.upto.revision.0,
                        newest.revision.0,
                    ));
                }
            }
            told
        }
    }

    fn join(number: u8) -> Command {
        Command::Join {
            request: Request {
                identity: identity(number),
                node: NodeId::new(0x10_0000_0000 + u64::from(number)).expect("an address"),
                name: format!("host-{number}").parse().expect("a name"),
                transport: TransportKey([number; 32]),
                transport_epoch: 0,
                source: [192, 0, 2, number].into(),
                requested_at: NOW,
            },
            granted: false,
        }
    }

    const fn identity(number: u8) -> IdentityKey {
        IdentityKey([number; 32])
    }
}
