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
    lines: DashMap<NetworkId, Line>,
    changed: Notify,
}

impl Telling {
    pub(crate) fn new(registry: Arc<Registry>) -> Self {
        Self {
            registry,
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
