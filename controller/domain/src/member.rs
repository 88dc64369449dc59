//! A member's life: a request waits, an administrator (or a token, or an open network) authorises it, deauthorising
//! keeps its addresses and routes for later, deleting frees them.
//!
//! ```text
//! (unknown) --join--> Request --authorise--> Authorized <--> Deauthorized
//!                        |                        |               |
//!                        +--expire, delete        +----delete-----+--> (unknown)
//! ```

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

use tombolo_proto::{
    id::{NodeId, Revision, UnixSeconds},
    key::{IdentityKey, TransportKey},
};

use crate::name::Name;

/// A node that asked to join. It reserves nothing: no address, no name, not even its node address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Who asks, proven by the connection.
    pub identity: IdentityKey,
    /// The address that belongs to the identity, checked by the hash.
    pub node: NodeId,
    /// Suggested name.
    pub name: Name,
    /// The node's key in this network.
    pub transport: TransportKey,
    /// Counts rotations of that key.
    pub transport_epoch: u32,
    /// Where the request came from: requests are capped per source.
    pub source: IpAddr,
    /// When it was last made, to the day: old requests expire.
    pub requested_at: UnixSeconds,
}

/// A node that is, or was, allowed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who it is.
    pub identity: IdentityKey,
    /// Its 40-bit address.
    pub node: NodeId,
    /// Unique within the network.
    pub name: Name,
    /// Its key in this network.
    pub transport: TransportKey,
    /// Counts rotations of that key.
    pub transport_epoch: u32,
    /// Whether it may take part now.
    pub state: MemberState,
    /// Assigned addresses; the automatic IPv6 ones follow from the network's modes.
    pub addresses: BTreeSet<Ipv4Addr>,
    /// Words that access rules refer to.
    pub tags: BTreeSet<String>,
    /// Whether it may forward sealed frames for others.
    pub relay: bool,
    /// The revision that issued its last certificate.
    pub serial: Revision,
    /// When that certificate was issued.
    pub issued_at: UnixSeconds,
    /// When that certificate stops counting.
    pub not_after: UnixSeconds,
}

/// Whether a member may take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberState {
    /// It has a valid certificate.
    Authorized,
    /// Its certificates are revoked; its addresses and routes wait for it.
    Deauthorized,
}

impl Member {
    /// Whether it may take part now.
    #[must_use]
    pub fn is_authorized(&self) -> bool {
        self.state == MemberState::Authorized
    }
}
