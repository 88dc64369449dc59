//! One simulated node: the control connection of a real one, and what a real one says on it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc,
    },
    time::{Instant, SystemTime},
};

use tombolo_node::sync::{
    AuthorityLink, Connected, SyncEvent, Wanted, transport::Transport, trust::Trust,
};
use tombolo_proto::{
    config::EndpointAnnouncement,
    control::{self, Standing, ToController, ToNode},
    id::{NetworkId, NodeId, UnixSeconds, Version},
    key::{IdentityKey, Seed},
    link::HostPort,
    signed::Signed,
};

use super::cache::Cache;

/// Messages that wait for a node: as many as for a real one.
const QUEUE: usize = 64;

/// Something that happened to a node.
#[derive(Debug)]
pub(crate) enum News {
    /// It is a member and holds the directory.
    Joined { node: usize, at: Instant },
    /// It has an awaited change, which came in so many bytes.
    Has {
        change: usize,
        bytes: usize,
        at: Instant,
    },
    /// It was refused.
    Refused(String),
}

/// What all nodes have in common.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) network: NetworkId,
    pub(crate) token: String,
    pub(crate) cache: Cache,
    pub(crate) news: mpsc::Sender<News>,
    /// Up to when somebody was told everything that was announced.
    pub(crate) announced: AtomicU64,
    /// What all nodes received, in bytes.
    pub(crate) received: AtomicU64,
    /// How many connections broke.
    pub(crate) lost: AtomicUsize,
}

/// A node that runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) node: NodeId,
    pub(crate) identity: IdentityKey,
    have: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Member {
    /// Starts to join.
    pub(crate) fn start(
        number: usize,
        (seed, node): (Seed, NodeId),
        transport: Transport,
        wanted: (HostPort, Trust),
        common: Arc<Common>,
    ) -> Self {
        let (sender, events) = tokio::sync::mpsc::channel(QUEUE);
        let authority = common.network.authority();
        let wanted = Wanted {
            controllers: vec![wanted.0],
            trust: wanted.1,
            nudges: 0,
        };
        let have = Arc::new(AtomicU64::new(0));
        let link = AuthorityLink::start(Arc::new(transport), authority, wanted, sender);
        let identity = seed.identity().public();
        let life = Life {
            number,
            node,
            seed,
            link,
            common,
            have: Arc::clone(&have),
            home: None,
            is_joined: false,
            holding: Version::default(),
        };
        Self {
            node,
            identity,
            have,
            task: tokio::spawn(life.run(events)),
        }
    }

    /// Up to which revision its directory is complete.
    pub(crate) fn have(&self) -> u64 {
        self.have.load(Ordering::Relaxed)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Its connection ends with it.
        self.task.abort();
    }
}

struct Life {
    number: usize,
    node: NodeId,
    seed: Seed,
    link: AuthorityLink,
    common: Arc<Common>,
    have: Arc<AtomicU64>,
    home: Option<IdentityKey>,
    is_joined: bool,
    holding: Version,
}

impl Life {
    async fn run(mut self, mut events: tokio::sync::mpsc::Receiver<(NodeId, SyncEvent)>) {
        while let Some((_, event)) = events.recv().await {
            match event {
                SyncEvent::Connected(connected) => self.connected(&connected),
                SyncEvent::Message(message) => self.heard(*message),
                SyncEvent::Lost => {
                    self.common.lost.fetch_add(1, Ordering::Relaxed);
                }
                SyncEvent::Failed(_) => {}
            }
        }
    }

    fn connected(&mut self, connected: &Connected) {
        self.home = Some(connected.replica);
        let common = &self.common;
        common.cache.greeted(connected.root, &connected.keyring);
        self.link.send(ToController::Join {
            network: common.network,
            token: Some(common.token.clone()),
            transport: self.seed.transport(common.network, 0).public(),
            transport_epoch: 0,
            name: format!("node-{}", self.node),
        });
    }

    fn heard(&mut self, message: ToNode) {
        let bytes = control::encode(&message).len();
        self.common
            .received
            .fetch_add(bytes as u64, Ordering::Relaxed);
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "what a node hears beside the directory costs the controller the same, whatever it is"
        )]
        match message {
            ToNode::Status { standing, .. } => self.stands(standing),
            ToNode::EndpointsUpto { moment, .. } => {
                self.common.announced.fetch_max(moment.0, Ordering::Relaxed);
            }
            ToNode::Directory {
                entries,
                upto,
                more,
                ..
            } => {
                let upto = (!more).then_some(upto);
                let found = self.common.cache.take(&entries, upto);
                if let Some(found) = found {
                    self.tell(News::Has {
                        change: found.number,
                        bytes,
                        at: Instant::now(),
                    });
                }
                if let Some(upto) = upto {
                    self.holds(upto);
                }
            }
            _ => {}
        }
    }

    fn holds(&mut self, upto: Version) {
        self.holding = self.holding.max(upto);
        self.have.store(self.holding.revision.0, Ordering::Relaxed);
        if !self.is_joined {
            self.is_joined = true;
            self.tell(News::Joined {
                node: self.number,
                at: Instant::now(),
            });
        }
    }

    /// What a real node says once it knows that it is a member.
    fn stands(&mut self, standing: Standing) {
        let network = self.common.network;
        match standing {
            Standing::Member => {
                // Everybody starts from the cache; who comes back has what it has.
                let have = if self.is_joined {
                    self.holding
                } else {
                    self.common.cache.have()
                };
                // The cache holds what everybody announced as well.
                let moment = self.common.announced.load(Ordering::Relaxed);
                if moment > 0 {
                    let moment = UnixSeconds(moment);
                    self.link
                        .send(ToController::EndpointsSince { network, moment });
                }
                self.link.send(ToController::Sync { network, have });
                let clashes = Vec::new();
                self.link.send(ToController::Clashes { network, clashes });
                let announcement = self.announcement();
                self.link.send(ToController::Announce {
                    network,
                    announcement,
                });
            }
            Standing::Pending | Standing::NotFound | Standing::Busy => {
                self.tell(News::Refused(format!("{standing:?}")));
            }
            Standing::Denied { reason } if !self.is_joined => self.tell(News::Refused(reason)),
            // It was removed.
            Standing::Denied { .. } => {}
        }
    }

    fn announcement(&self) -> Signed<EndpointAnnouncement> {
        let address = self.node.get().to_be_bytes();
        let host = [10, address[5], address[6], address[7]];
        let announcement = EndpointAnnouncement {
            endpoints: vec![(host, 9790).into()],
            home: self.home,
            sequence: SystemTime::UNIX_EPOCH
                .elapsed()
                .map_or(0, |since| since.as_millis() as u64),
        };
        Signed::sign(
            &announcement,
            self.common.network.into(),
            &self.seed.identity(),
        )
    }

    fn tell(&self, news: News) {
        // Without anybody to tell, the run is over.
        let _ = self.common.news.send(news);
    }
}
