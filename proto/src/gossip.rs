//! What members of a network tell each other about it, so that documents spread without a controller.
//!
//! These messages travel as lane control, so the network and the sender are known from the lane. A node first compares:
//!
//! ```text
//! A                                          B
//! Digest {versions, one hash per shelf}  ->
//!                                        <-  Compare {shelf, 256 short hashes}      where B's differ
//! Listing {range, keys and orders}       ->                                         of each bucket that differs
//!                                        <-  Want {shelf, keys}                     what is newer at A
//! Documents                              ->
//! ```
//!
//! Nothing in here is trusted: what is in `Documents` carries signatures of its own, and the rest only says what to ask
//! for. Every message fits in a datagram of 1,200 bytes; a longer document is cut into parts. A message that a receiver
//! does not know, or that holds something it does not know, is counted and otherwise ignored as a whole: a later version
//! says what is new in messages of its own.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{
    config::{DirectoryEntry, EndpointAnnouncement, Keyring},
    id::Version,
    key::IdentityKey,
    signed::Signed,
    wire,
};

/// Longest encoded message: 1,200 bytes less lane header and tag (32), a relay's header (12) and the kind (1), rounded.
pub const MAX_MESSAGE: usize = 1_150;
/// A shelf is compared in this many buckets, told apart by the first byte of the identity key.
pub const BUCKETS: usize = 256;
/// Bytes of a bucket's hash: all of them fit in one message. Documents are signed, so nobody gains by a collision.
pub const BUCKET_HASH: usize = 4;
/// Most lines in a listing: 18 bytes each at the longest.
pub const MAX_LISTED: usize = 60;
/// Most keys in a request: 8 bytes each.
pub const MAX_WANTED: usize = 64;
/// Most bytes of a document in one part.
pub const PART: usize = 1_100;
/// Most parts of a document: 70 kB are ten times the certificate of a member with as many routes as one may have.
pub const MAX_PARTS: u8 = 64;

/// Kinds of documents of which there is one per member, most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Shelf {
    /// Removals; ordered by revision.
    Revocations,
    /// Certificates above their revocation's floor; ordered by revision.
    Members,
    /// Endpoint announcements of members; ordered by sequence.
    Endpoints,
}

impl Shelf {
    /// All of them, most urgent first.
    pub const ALL: [Self; 3] = [Self::Revocations, Self::Members, Self::Endpoints];
}

/// The first bytes of an identity key: enough to ask for a document.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct KeyPrefix(pub [u8; 8]);

impl From<&IdentityKey> for KeyPrefix {
    fn from(key: &IdentityKey) -> Self {
        let mut prefix = [0; 8];
        prefix.copy_from_slice(key.0.split_at(8).0);
        Self(prefix)
    }
}

/// What a node holds, in a hundred bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// Version of its keyring.
    pub keyring: Version,
    /// Version of its network document.
    pub network: Version,
    /// A hash of each shelf, in the order of [`Shelf::ALL`].
    pub shelves: [[u8; 8]; 3],
    /// Where the sender sees the receiver.
    pub seen: Option<SocketAddr>,
    /// Whether the sender can be reached at an address that no translation hides.
    pub public: bool,
    /// Whether the sender keeps a session with the receiver also when idle, and wants to be told of changes.
    pub standing: bool,
    /// Whether the sender wants the receiver's digest. A digest that answers never asks.
    pub ask: bool,
}

/// One line of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Whose document.
    pub key: KeyPrefix,
    /// Its order among documents of this kind and member.
    pub order: u64,
}

/// A document on its way between members, still to be verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Gossiped {
    /// The authority's keyring.
    Keyring(Signed<Keyring>),
    /// Anything of the directory.
    Entry(DirectoryEntry),
    /// Where a member can be reached.
    Endpoints {
        /// Which member; must be the signer.
        identity: IdentityKey,
        /// Signed by that member.
        announcement: Signed<EndpointAnnouncement>,
    },
}

/// A document of which there is one per network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Root {
    /// The keyring.
    Keyring,
    /// The network's document.
    Network,
}

/// A message between members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum GossipMessage {
    /// What the sender holds.
    Digest(Digest),
    /// Asks for listings of the buckets that differ from these.
    Compare {
        /// Which shelf.
        shelf: Shelf,
        /// [`BUCKETS`] hashes of [`BUCKET_HASH`] bytes.
        buckets: Vec<u8>,
    },
    /// Everything the sender has on a shelf between two keys, both included.
    Listing {
        /// Which shelf.
        shelf: Shelf,
        /// Where the range begins.
        first: KeyPrefix,
        /// Where the range ends.
        last: KeyPrefix,
        /// In ascending order, at most [`MAX_LISTED`].
        lines: Vec<Line>,
    },
    /// Asks for documents.
    Want {
        /// Which shelf.
        shelf: Shelf,
        /// Whose, at most [`MAX_WANTED`].
        keys: Vec<KeyPrefix>,
    },
    /// Asks for a document of which there is one.
    WantRoot(Root),
    /// Documents, asked for or new.
    Documents(Vec<Gossiped>),
    /// Part of the encoding of a [`Gossiped`] that is too long for one message.
    Part {
        /// The same for all parts of one document.
        document: u32,
        /// Which part, from 0.
        index: u8,
        /// How many parts there are.
        count: u8,
        /// At most [`PART`] bytes; exactly as many in all parts but the last.
        bytes: Vec<u8>,
    },
}

impl GossipMessage {
    /// Length of its encoding.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        wire::encode(self).len()
    }
}
