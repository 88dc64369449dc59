//! Messages between a node and a controller, over one bidirectional stream of an authenticated connection.
//!
//! Each message is a 4-byte big-endian length and that many bytes of [`crate::wire`] encoding. The node speaks first:
//!
//! ```text
//! node                                   controller
//! Hello {min, max}            ->
//!                             <-         Welcome {protocol, root, keyring}   or   Incompatible {min, max}, then close
//! Join / Sync / Announce …    ->
//!                             <-         Status, Directory, Endpoints …
//! ```
//!
//! Two members that cannot reach each other because of NATs meet by rendezvous: the one that wants a session asks the
//! replica that the other is connected to, and both send at once. That may be another replica than its own; then the
//! connection is a *visit*. Its first message after `Hello` is `Rendezvous`, nothing but such messages follows, and it
//! takes no other connection's place:
//!
//! ```text
//! A                        replica of B's announcement                    B
//! Rendezvous {peer: B} ->
//!                          Rendezvous {identity: A, announcement}     ->
//!                      <-  RendezvousAnswer {peer: B, outcome}            … calls A
//! ```
//!
//! `Hello`, `Welcome`, `Incompatible` and `Unsupported` keep their encoding for ever. A message whose variant the
//! receiver does not know is answered with `Unsupported` and otherwise ignored; one that is malformed ends the
//! connection. Identity comes only from the connection's authenticated key, never from a message.

use ipnet::IpNet;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    config::{DirectoryEntry, EndpointAnnouncement, Keyring},
    id::{NetworkId, NodeId, UnixSeconds, Version},
    key::{IdentityKey, TransportKey},
    links::{Carried, LinkReport},
    relay::RelayMessage,
    signed::Signed,
    wire::{self, DecodeError},
};

/// Application protocol of the connection (RFC 7301).
pub const ALPN: &[u8] = b"tombolo/1";
/// Newest version of these messages.
pub const PROTOCOL: u16 = 1;
/// Oldest version still understood.
pub const PROTOCOL_MIN: u16 = 1;
/// A directory is sent in messages of at most this many entries.
pub const DIRECTORY_CHUNK: usize = 256;

/// What a node says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToController {
    /// The first message.
    Hello {
        /// Oldest protocol version the node speaks.
        min: u16,
        /// Newest protocol version the node speaks.
        max: u16,
        /// Program and version, for people.
        software: String,
    },
    /// Answer to a message this node does not know.
    Unsupported {
        /// Its variant number.
        variant: u32,
    },
    /// Asks to become a member, or says again that it wants to be one.
    Join {
        /// Which network.
        network: NetworkId,
        /// A join token, sent only after the controller proved to be the pinned authority's.
        token: Option<String>,
        /// The node's key in this network.
        transport: TransportKey,
        /// Counts rotations of that key.
        transport_epoch: u32,
        /// Suggested name: the host name.
        name: String,
    },
    /// Asks for every directory entry above `have`, and for all that follow as they come.
    Sync {
        /// Which network.
        network: NetworkId,
        /// The newest version the node holds; the default if none.
        have: Version,
    },
    /// Where the node can be reached in this network's eyes.
    Announce {
        /// Which network.
        network: NetworkId,
        /// Signed by the node.
        announcement: Signed<EndpointAnnouncement>,
    },
    /// Asks to publish or withdraw a prefix behind this node.
    Route {
        /// Which network.
        network: NetworkId,
        /// Chosen by the node, returned in [`ToNode::RouteAnswer`].
        request: u32,
        /// Without host bits.
        prefix: IpNet,
        /// Publish or withdraw.
        action: RouteAction,
    },
    /// The node leaves: its pending request or its membership ends.
    Leave {
        /// Which network.
        network: NetworkId,
    },
    /// Routes or pools that the node did not install because they clash with networks of its host. Replaces the last.
    Clashes {
        /// Which network.
        network: NetworkId,
        /// One sentence each, naming both sides.
        clashes: Vec<String>,
    },
    /// Asks for a free piece of the network's subnet pools to be routed to this node. It is given back by
    /// [`RouteAction::Withdraw`].
    Subnet {
        /// Which network.
        network: NetworkId,
        /// Chosen by the node, returned in [`ToNode::SubnetAnswer`].
        request: u32,
        /// Length of the prefix.
        length: u8,
        /// Of the route, as in [`RouteAction::Publish`].
        metric: u32,
    },
    /// Asks to have a member that does not answer call this node. Answered by [`ToNode::RendezvousAnswer`].
    Rendezvous {
        /// Which network.
        network: NetworkId,
        /// Who is to call.
        peer: IdentityKey,
        /// Where; signed by the node that asks.
        announcement: Signed<EndpointAnnouncement>,
    },
    /// To this controller as a relay. Answered by [`ToNode::RelayAnswer`]. May also be said on a visit.
    Relay {
        /// Which network.
        network: NetworkId,
        /// What a client says to its relay.
        message: RelayMessage,
    },
    /// How this member reaches its peers: every half minute, and a little after that has changed.
    Links {
        /// Which network.
        network: NetworkId,
        /// At most [`crate::links::MAX_LINKS`].
        report: LinkReport,
    },
    /// Said before `Sync`: the node has what [`ToNode::EndpointsUpto`] told it of, so only later announcements are sent.
    /// A controller that does not know it sends all of them.
    EndpointsSince {
        /// Which network.
        network: NetworkId,
        /// As the controller, or another replica of it, said.
        moment: UnixSeconds,
    },
    /// Said once, first after `Hello`, by nodes that have something to say here: a controller that does not know it goes on
    /// without. A node that says nothing can do nothing of it.
    Capabilities(Capabilities),
    /// Said right before [`Self::Links`], if there are any: links of that report that go by TCP, because no UDP passes. A
    /// controller that does not know it shows them like the others.
    ByTcp {
        /// Which network.
        network: NetworkId,
        /// The peers; at most [`crate::links::MAX_LINKS`].
        peers: Vec<NodeId>,
    },
    /// Said right before [`Self::Links`]: what the node relays for others of this network. A controller that does not know
    /// it shows nothing of that.
    Carries {
        /// Which network.
        network: NetworkId,
        /// For whom, and how much.
        carried: Carried,
    },
}

/// What a node can do that not every node of its protocol version can: bits, of which those that one does not know mean
/// nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities(pub u64);

impl Capabilities {
    /// Understands networks with access rules, and enforces these for whatever it receives. Without it, a node takes no
    /// settings that hold rules, and lets in what they would stop.
    pub const ACCESS_RULES: Self = Self(1);
    /// What this version can do.
    pub const OURS: Self = Self::ACCESS_RULES;

    /// Whether all of the others are among these.
    #[must_use]
    pub const fn include(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }
}

/// What a node wants of a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RouteAction {
    /// Ask for it to be routed to this node.
    Publish {
        /// Among members that carry the same prefix, the lowest is sent to. Asked for again, a route keeps the first.
        metric: u32,
    },
    /// Stop routing it to this node.
    Withdraw,
}

/// What a controller says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToNode {
    /// Answer to `Hello`.
    Welcome {
        /// The version both will speak.
        protocol: u16,
        /// The authority's root key: the node checks it against what it pinned or against the network id.
        root: IdentityKey,
        /// Signed by the root key; must name the key of this connection.
        keyring: Signed<Keyring>,
    },
    /// Answer to `Hello` when no version is common; the connection ends.
    Incompatible {
        /// Oldest version the controller speaks.
        min: u16,
        /// Newest version the controller speaks.
        max: u16,
    },
    /// Answer to a message this controller does not know.
    Unsupported {
        /// Its variant number.
        variant: u32,
    },
    /// Where the node stands in a network. Sent after `Join`, and whenever it changes.
    Status {
        /// Which network.
        network: NetworkId,
        /// The standing.
        standing: Standing,
    },
    /// Part of the directory.
    Directory {
        /// Which network.
        network: NetworkId,
        /// In order of version.
        entries: Vec<DirectoryEntry>,
        /// What the node will hold after the last part; meaningful when `more` is false.
        upto: Version,
        /// Whether further parts follow.
        more: bool,
    },
    /// Where another member can be reached.
    Endpoints {
        /// Which network.
        network: NetworkId,
        /// Who.
        identity: IdentityKey,
        /// Signed by that member.
        announcement: Signed<EndpointAnnouncement>,
    },
    /// Answer to `Route`.
    RouteAnswer {
        /// Which network.
        network: NetworkId,
        /// From the request.
        request: u32,
        /// What became of it.
        outcome: RouteOutcome,
    },
    /// Answer to `Subnet`.
    SubnetAnswer {
        /// Which network.
        network: NetworkId,
        /// From the request.
        request: u32,
        /// What became of it.
        outcome: SubnetOutcome,
    },
    /// A member wants a session with this node and cannot reach it: the node calls it at once.
    Rendezvous {
        /// Which network.
        network: NetworkId,
        /// Who is to be called.
        identity: IdentityKey,
        /// Where; signed by that member.
        announcement: Signed<EndpointAnnouncement>,
    },
    /// Answer to [`ToController::Rendezvous`].
    RendezvousAnswer {
        /// Which network.
        network: NetworkId,
        /// From the request.
        peer: IdentityKey,
        /// What became of it.
        outcome: RendezvousOutcome,
    },
    /// Where this controller tells nodes by STUN at which address they are seen, and relays.
    Relay {
        /// UDP port, at the host where the node reaches the controller.
        port: u16,
    },
    /// A newer keyring than the one in `Welcome`. Where it begins an epoch, the directories of that epoch follow.
    Keyring(Signed<Keyring>),
    /// Answer to [`ToController::Relay`].
    RelayAnswer {
        /// Which network.
        network: NetworkId,
        /// UDP port for frames, at the host where the node reaches the controller.
        port: u16,
        /// What a relay says to its client.
        message: RelayMessage,
    },
    /// Every announcement that was made up to a moment has been sent. For [`ToController::EndpointsSince`] on the next
    /// connection.
    EndpointsUpto {
        /// Which network.
        network: NetworkId,
        /// By the clock of the controller's store.
        moment: UnixSeconds,
    },
}

/// Where a node stands in a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// The request is recorded and waits for authorisation.
    Pending,
    /// Member: the directory follows on `Sync`.
    Member,
    /// Not a member any more, or refused.
    Denied {
        /// For people.
        reason: String,
    },
    /// This controller knows no such network.
    NotFound,
    /// The controller will not take another request now; the node tries again later.
    Busy,
}

/// What became of a route request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RouteOutcome {
    /// In force.
    Active,
    /// Waits for approval.
    Pending,
    /// Gone.
    Withdrawn,
    /// Refused.
    Refused {
        /// For people: what is wrong and what to do.
        reason: String,
    },
}

/// What became of a request for a subnet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SubnetOutcome {
    /// Routed to the node at once: nobody else can have it.
    Allocated {
        /// Without host bits.
        prefix: IpNet,
    },
    /// Refused.
    Refused {
        /// For people: what is wrong and what to do.
        reason: String,
    },
}

/// What became of a rendezvous.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RendezvousOutcome {
    /// The other member was told.
    Told,
    /// It is not connected to this replica.
    NotHere,
    /// One of the two is no member of the network.
    Refused,
    /// The node asks too often, or the other member does not keep up.
    Busy,
}

/// Why a received message cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The sender speaks a newer version: answer `Unsupported` and go on.
    #[error("unknown message {0}")]
    Unknown(u32),
    /// End the connection.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
}

/// A side's messages.
pub trait Message: Serialize + DeserializeOwned {
    /// How many variants this version knows.
    const VARIANTS: u32;
}

impl Message for ToController {
    const VARIANTS: u32 = 16;
}

impl Message for ToNode {
    const VARIANTS: u32 = 14;
}

/// Length prefix and message, ready to send.
#[must_use]
pub fn encode<M: Message>(message: &M) -> Vec<u8> {
    let body = wire::encode(message);
    let length = u32::try_from(body.len()).expect("messages are far below 4 GiB");
    [&length.to_be_bytes()[..], &body].concat()
}

/// Reads the body of a message, without its length prefix.
pub fn decode<M: Message>(body: &[u8]) -> Result<M, MessageError> {
    wire::decode(body).map_err(|error| match wire::variant(body) {
        Some(variant) if variant >= M::VARIANTS => MessageError::Unknown(variant),
        _ => MessageError::Malformed(error),
    })
}

/// The newest version both sides speak.
#[must_use]
pub fn negotiate(min: u16, max: u16) -> Option<u16> {
    let newest = max.min(PROTOCOL);
    (newest >= min.max(PROTOCOL_MIN)).then_some(newest)
}
