//! One node's connection: hello, then its messages and our pushes, in order, on one stream.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use tokio::sync::mpsc;
use tombolo_proto::{
    control::{Capabilities, PROTOCOL, PROTOCOL_MIN, Standing, ToController, ToNode, negotiate},
    id::{NetworkId, NodeId, UnixSeconds, Version},
    key::IdentityKey,
    links::Carried,
};

use super::{
    Close, GOODBYE, HELLO_DEADLINE, SILENCE_DEADLINE, Shared,
    framing::{self, Received},
    rendezvous,
    stream::{Carrier, Gone, Receiving, Sending},
};
use crate::{
    publish::{Place, Push},
    signer::HeldKeyring,
    store::{Software, StoreError},
    telling::{self, Portion},
};

/// Messages read ahead of the one being worked on; more waits in the node.
const READ_AHEAD: usize = 4;
/// How coarse `last_seen` is while a node stays connected.
const PRESENCE_INTERVAL: Duration = Duration::from_secs(300);
/// Longest text about itself that is kept of a node.
const MAX_SOFTWARE: usize = 80;

/// Serves a connection until it ends.
pub(super) async fn run(mut carrier: Carrier, shared: &Arc<Shared>) {
    let close = match serve(&mut carrier, shared).await {
        Ok(()) | Err(End::Gone) => return,
        Err(End::Close(close)) => close,
        Err(End::Store(error)) => {
            tracing::error!(%error, "connection ended");
            Close::Failed
        }
    };
    carrier.close(close);
}

/// What a node reports is not worth its connection: while the store is away, it goes unrecorded.
pub(super) fn ignore_outage<T: Default>(result: Result<T, StoreError>) -> Result<T, StoreError> {
    match result {
        Err(error) if error.is_outage() => Ok(T::default()),
        result => result,
    }
}

/// Why a connection ends.
#[derive(Debug)]
pub(super) enum End {
    /// The other side is gone.
    Gone,
    /// We close it.
    Close(Close),
    /// The store failed.
    Store(StoreError),
}

impl From<Gone> for End {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// A connection that has said hello.
pub(super) struct Session<'a> {
    pub(super) shared: &'a Shared,
    pub(super) identity: IdentityKey,
    pub(super) node: NodeId,
    pub(super) source: IpAddr,
    pub(super) place: Place,
    send: Sending,
    /// The newest keyring that the node was told.
    keyring: Version,
    /// Networks whose directory the node follows, and what it holds of each.
    following: HashMap<NetworkId, Version>,
    /// Up to when the node was told what others announced, as it says.
    pub(super) told_upto: HashMap<NetworkId, UnixSeconds>,
    /// What the node said before its next report of links.
    pub(super) prefaces: HashMap<NetworkId, Preface>,
}

/// What a report of links does not hold, because controllers of earlier builds would not understand it.
#[derive(Debug, Default)]
pub(super) struct Preface {
    /// The peers whose links go by TCP.
    pub(super) by_tcp: BTreeSet<NodeId>,
    /// What the node relays for others.
    pub(super) carried: Option<Carried>,
}

async fn serve(carrier: &mut Carrier, shared: &Arc<Shared>) -> Result<(), End> {
    let identity = carrier.identity.ok_or(End::Close(Close::Malformed))?;
    let greeted = shared.signer.held();
    let (mut send, mut receive, software) =
        tokio::time::timeout(HELLO_DEADLINE, hello(carrier, shared, &greeted))
            .await
            .map_err(|_| End::Close(Close::Malformed))??;
    let Some(node) = shared.addresses.of(identity).await else {
        refuse_key(&mut send, &mut receive).await?;
        return Err(End::Close(Close::NoAddress));
    };
    // Only a node that has something to say takes its place: one that does not believe this controller, or tries several
    // ways to it at once, must not supersede its own good connection by a mere hello.
    let first = tokio::time::timeout(SILENCE_DEADLINE, framing::read(&mut receive))
        .await
        .map_err(|_| End::Close(Close::Silent))?
        .ok_or(End::Gone)?;
    if let Received::Message(ToController::Rendezvous { .. } | ToController::Relay { .. }) = first {
        return rendezvous::visit(shared, identity, first, send, receive).await;
    }
    // First the place: an older connection of this node that ends meanwhile finds that it is not to report it gone.
    let (place, mut pushes) = shared.registry.enter(identity);
    let about = Software {
        capabilities: match &first {
            Received::Message(ToController::Capabilities(said)) => *said,
            Received::Message(_) | Received::Unknown(_) | Received::Malformed => {
                Capabilities::default()
            }
        },
        name: software,
    };
    let saw = async || {
        let store = &shared.store;
        ignore_outage(store.saw(&identity, &about, &shared.replica()).await)
    };
    saw().await?;
    let mut session = Session {
        shared,
        identity,
        node,
        source: carrier.remote.ip().to_canonical(),
        place,
        send,
        keyring: greeted.keyring.version,
        following: HashMap::new(),
        told_upto: HashMap::new(),
        prefaces: HashMap::new(),
    };
    tracing::debug!(%node, "node connected");
    let port = shared.relay_port;
    let ended = match session.say(&ToNode::Relay { port }).await {
        Ok(()) => session.work(first, receive, &mut pushes, &about).await,
        Err(end) => Err(end),
    };
    session.send.finish().await;
    // Whoever hears that it is gone finds it so in the store; unless it has come again.
    if session.place.is_current() {
        ignore_outage(shared.store.saw_off(&identity, &shared.replica()).await)?;
        if !session.place.is_current() {
            saw().await?;
        }
    }
    drop(session);
    tracing::debug!(%node, "node disconnected");
    ended
}

async fn hello(
    carrier: &mut Carrier,
    shared: &Shared,
    held: &HeldKeyring,
) -> Result<(Sending, Receiving, String), End> {
    let (mut send, mut receive) = carrier.accept().await?;
    let first = framing::read(&mut receive).await.ok_or(End::Gone)?;
    let Received::Message(ToController::Hello { min, max, software }) = first else {
        return Err(End::Close(Close::Malformed));
    };
    let Some(protocol) = negotiate(min, max) else {
        let answer = ToNode::Incompatible {
            min: PROTOCOL_MIN,
            max: PROTOCOL,
        };
        framing::write(&mut send, &answer).await?;
        // The node has to read the answer before the connection goes away under it.
        send.finish().await;
        send.stopped().await;
        return Err(End::Close(Close::Incompatible));
    };
    let welcome = ToNode::Welcome {
        protocol,
        root: shared.signer.root(),
        keyring: held.signed.clone(),
    };
    framing::write(&mut send, &welcome).await?;
    Ok((send, receive, software.chars().take(MAX_SOFTWARE).collect()))
}

/// Tells a node whose key has no address why it cannot join, if it asks.
async fn refuse_key(send: &mut Sending, receive: &mut Receiving) -> Result<(), End> {
    let asked = async {
        loop {
            let asked = framing::read(receive).await;
            // What it can do makes no difference.
            let Some(Received::Message(ToController::Capabilities(_))) = asked else {
                return asked;
            };
        }
    };
    let asked = tokio::time::timeout(HELLO_DEADLINE, asked).await;
    if let Ok(Some(Received::Message(ToController::Join { network, .. }))) = asked {
        let answer = ToNode::Status {
            network,
            standing: Standing::Denied {
                reason:
                    "this node's key has no node address: delete its identity files and start again"
                        .to_owned(),
            },
        };
        framing::write(send, &answer).await?;
        send.finish().await;
        send.stopped().await;
    }
    Ok(())
}

/// Reads messages as they come. A task of its own, because half-read messages must not be lost to other events.
fn read_ahead(
    first: Received,
    mut receive: Receiving,
) -> (mpsc::Receiver<Received>, tokio::task::JoinHandle<()>) {
    let (queue, messages) = mpsc::channel(READ_AHEAD);
    let reader = tokio::spawn(async move {
        let mut next = Some(first);
        while let Some(received) = next {
            let last = matches!(received, Received::Malformed);
            if queue.send(received).await.is_err() || last {
                break;
            }
            next = framing::read(&mut receive).await;
        }
    });
    (messages, reader)
}

impl Session<'_> {
    async fn work(
        &mut self,
        first: Received,
        receive: Receiving,
        pushes: &mut mpsc::Receiver<Push>,
        about: &Software,
    ) -> Result<(), End> {
        let (mut messages, reader) = read_ahead(first, receive);
        let mut presence = tokio::time::interval(PRESENCE_INTERVAL);
        presence.tick().await;
        let ended = loop {
            let step = tokio::select! {
                received = messages.recv() => match received {
                    Some(Received::Message(message)) => self.handle(message).await,
                    Some(Received::Unknown(variant)) => self.say(&ToNode::Unsupported { variant }).await,
                    Some(Received::Malformed) => Err(End::Close(Close::Malformed)),
                    None => Err(End::Gone),
                },
                push = pushes.recv() => match push {
                    Some(push) => self.forward(push).await,
                    None => Err(End::Close(Close::TooSlow)),
                },
                _ = presence.tick() => {
                    let replica = self.shared.replica();
                    let saw = self.shared.store.saw(&self.identity, about, &replica).await;
                    ignore_outage(saw).map_err(End::from)
                }
            };
            if let Err(end) = step {
                break Err(end);
            }
        };
        reader.abort();
        ended
    }

    pub(super) async fn say(&mut self, message: &ToNode) -> Result<(), End> {
        Ok(framing::write(&mut self.send, message).await?)
    }

    /// Sends messages that are encoded already.
    pub(super) async fn say_encoded(&mut self, messages: Vec<u8>) -> Result<(), End> {
        Ok(self.send.write(messages.into()).await?)
    }

    pub(super) async fn say_standing(
        &mut self,
        network: NetworkId,
        standing: Standing,
    ) -> Result<(), End> {
        self.say(&ToNode::Status { network, standing }).await
    }

    async fn forward(&mut self, push: Push) -> Result<(), End> {
        match push {
            Push::Superseded => Err(End::Close(Close::Superseded)),
            Push::Keyring => self.forward_keyring().await,
            Push::Stranded => Err(End::Close(Close::Stranded)),
            Push::Standing(network, standing) => {
                if standing != Standing::Member {
                    self.following.remove(&network);
                }
                self.say_standing(network, standing).await
            }
            Push::Rendezvous(network, identity, announcement) => {
                self.say(&ToNode::Rendezvous {
                    network,
                    identity,
                    announcement,
                })
                .await
            }
            Push::Portion(network, portion) => self.forward_portion(network, &portion).await,
        }
    }

    /// Passes the newest keyring on, and the directories of its epoch if it began one.
    async fn forward_keyring(&mut self) -> Result<(), End> {
        self.say_keyring().await?;
        if !self.shared.signer.is_admitted() {
            // The node has to read it before the connection goes away under it.
            self.send.finish().await;
            let _ = tokio::time::timeout(GOODBYE, self.send.stopped()).await;
            return Err(End::Close(Close::Revoked));
        }
        let epoch = self.keyring.epoch;
        let behind: Vec<(NetworkId, Version)> = self
            .following
            .iter()
            .filter(|(_, version)| version.epoch < epoch)
            .map(|(network, version)| (*network, *version))
            .collect();
        for (network, version) in behind {
            self.synchronize(network, version).await?;
        }
        Ok(())
    }

    /// Tells the newest keyring if the node was not told it yet.
    async fn say_keyring(&mut self) -> Result<(), End> {
        let held = self.shared.signer.held();
        if held.keyring.version > self.keyring {
            self.say(&ToNode::Keyring(held.signed.clone())).await?;
            self.keyring = held.keyring.version;
        }
        Ok(())
    }

    /// Passes on what everybody is told; what the node missed before it is read from the store.
    async fn forward_portion(&mut self, network: NetworkId, portion: &Portion) -> Result<(), End> {
        let Some(held) = self.following.get(&network).copied() else {
            return Ok(());
        };
        if portion.previous > held {
            self.synchronize(network, held).await?;
        }
        let held = self.following.get(&network).copied();
        let is_known = |newest| held.is_none_or(|held| newest <= held);
        if portion.newest.is_some_and(is_known) {
            return Ok(());
        }
        self.say_keyring().await?;
        self.send.write(portion.messages.clone()).await?;
        self.holds(network, portion.upto);
        Ok(())
    }

    fn holds(&mut self, network: NetworkId, upto: Version) {
        let held = self.following.entry(network).or_default();
        *held = upto.max(*held);
    }

    /// Sends every document above `have`. Tells whether the node may have them.
    pub(super) async fn synchronize(
        &mut self,
        network: NetworkId,
        have: Version,
    ) -> Result<bool, End> {
        let part = self
            .shared
            .networks
            .directory(network, &self.identity, have)
            .await?;
        let Some(part) = part else {
            self.following.remove(&network);
            return Ok(false);
        };
        // A node takes documents of a new epoch only after the keyring that begins it.
        self.say_keyring().await?;
        self.say_encoded(telling::directory(network, &part.entries, part.upto))
            .await?;
        self.holds(network, part.upto);
        Ok(true)
    }
}
