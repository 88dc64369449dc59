//! The signed documents. Trust runs network id -> authority root key -> [`Keyring`] -> everything else.
//!
//! A node accepts a document only if its [`Version`] is above the one it holds. Prefixes in documents carry no host bits.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use ipnet::{IpNet, Ipv6Net};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    id::{Epoch, Mtu, NodeId, Revision, UnixSeconds, Version},
    key::{IdentityKey, TransportKey},
    link::HostPort,
    rules::AccessRules,
    signed::{Document, NetworkScope, Signed},
};

/// How long a member certificate counts: long, because survival in an outage beats short certificates; revocation is fast.
pub const CERT_LIFETIME_SECONDS: u64 = 90 * 24 * 3600;
/// How far a node's clock may be off before it refuses a certificate as expired.
pub const CLOCK_TOLERANCE_SECONDS: u64 = 24 * 3600;
/// Endpoints that are kept and tried per peer.
pub const MAX_ENDPOINTS: usize = 8;

/// Which replicas may sign and where controllers are. Signed by the authority's root key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keyring {
    /// Order among keyrings; the epoch of every live document. A new epoch begins when a key is revoked: whatever that key
    /// signed is of an epoch that is over, however high its revision.
    pub version: Version,
    /// Keys whose signatures count.
    pub replicas: BTreeSet<IdentityKey>,
    /// Where nodes find controllers, control port.
    pub endpoints: Vec<HostPort>,
}

impl Keyring {
    /// What a keyring's signature is bound to: the authority.
    #[must_use]
    pub const fn scope(authority: NodeId) -> NetworkScope {
        NetworkScope(authority.get() << 24)
    }
}

impl Document for Keyring {
    const LABEL: &'static str = "tombolo/keyring/v1";
}

/// What all members of a network share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkDoc {
    /// Order among documents of this network.
    pub version: Version,
    /// Short name for people.
    pub name: String,
    /// Ranges that member addresses are assigned from.
    pub v4_pools: Vec<Ipv4Range>,
    /// Prefixes that are reached through the overlay as a whole (the pools' on-link routes).
    pub on_link: BTreeSet<IpNet>,
    /// Ranges that container subnets are allocated from.
    pub subnet_pools: Vec<IpNet>,
    /// Which automatic IPv6 layouts members have.
    pub v6_modes: BTreeSet<V6Mode>,
    /// Largest inner packet.
    pub mtu: Mtu,
    /// Who is a member at this version: tells who is given a directory piece by piece when it is whole.
    pub members: MembersDigest,
    /// What members take from each other. Without any, nothing is encoded: so the document of such a network is the same
    /// for versions that know no rules, and they refuse one with rules rather than read half of it.
    #[serde(
        skip_serializing_if = "AccessRules::is_empty",
        deserialize_with = "AccessRules::or_none"
    )]
    pub rules: AccessRules,
}

impl Document for NetworkDoc {
    const LABEL: &'static str = "tombolo/network/v1";
}

/// SHA-256 over the identity keys of a network's members, in ascending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MembersDigest(pub [u8; 32]);

impl MembersDigest {
    /// The digest of these members, in whatever order they come.
    #[must_use]
    pub fn of<'a>(members: impl IntoIterator<Item = &'a IdentityKey>) -> Self {
        let members: BTreeSet<&IdentityKey> = members.into_iter().collect();
        let mut hasher = Sha256::new();
        for member in members {
            hasher.update(member.0);
        }
        Self(hasher.finalize().into())
    }
}

/// An inclusive range of IPv4 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ipv4Range {
    /// First address that may be given out.
    pub start: Ipv4Addr,
    /// Last address that may be given out.
    pub end: Ipv4Addr,
}

/// An automatic IPv6 layout: see [`crate::sixplane`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum V6Mode {
    /// A /80 per member; the member is `::1`.
    #[serde(rename = "6plane")]
    SixPlane,
    /// One address per member.
    #[serde(rename = "rfc4193")]
    Rfc4193,
}

/// Binds an identity to its transport key and to everything it may send from: the only source for forwarding and for
/// the check of inbound source addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberCert {
    /// Order among this member's certificates; the revision is the certificate's serial.
    pub version: Version,
    /// The member's address, for people; maps key on `identity`.
    pub node: NodeId,
    /// Short name for people.
    pub name: String,
    /// Who the member is.
    pub identity: IdentityKey,
    /// The member's X25519 key in this network.
    pub transport: TransportKey,
    /// Counts rotations of `transport`.
    pub transport_epoch: u32,
    /// Every single address of the member itself, assigned and automatic.
    pub addresses: BTreeSet<IpAddr>,
    /// The member's /80, if the network has 6PLANE on.
    pub prefix: Option<Ipv6Net>,
    /// Prefixes behind the member, each at most once.
    pub routes: Vec<CertRoute>,
    /// Whether the member may forward sealed frames for others.
    pub relay: bool,
    /// Words that access rules refer to.
    pub tags: BTreeSet<String>,
    /// When it was signed.
    pub issued_at: UnixSeconds,
    /// When it stops counting.
    pub not_after: UnixSeconds,
}

impl Document for MemberCert {
    const LABEL: &'static str = "tombolo/member/v1";
}

/// A prefix behind a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CertRoute {
    /// Without host bits.
    pub prefix: IpNet,
    /// Lower wins among members with the same prefix.
    pub metric: u32,
    /// Whether other members may carry the same prefix.
    pub mode: RouteMode,
}

/// How a prefix is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteMode {
    /// One member only.
    Single,
    /// Several members; the others decide which one lives.
    Failover,
}

/// A member's certificates count only if their serial is above the floor. By key, never by anything malleable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// Order among documents of this network.
    pub version: Version,
    /// Who is out.
    pub identity: IdentityKey,
    /// Certificates up to this serial are void.
    pub serial_floor: Revision,
    /// When it was signed.
    pub issued_at: UnixSeconds,
}

impl Document for Revocation {
    const LABEL: &'static str = "tombolo/revocation/v1";
}

/// Any document of a network's directory, still to be verified. The epoch inside makes late replays harmless.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DirectoryEntry {
    /// The network's own document.
    Network(Signed<NetworkDoc>),
    /// A member's certificate.
    Member(Signed<MemberCert>),
    /// A removal.
    Revocation(Signed<Revocation>),
}

/// Where a node may be reached, signed by the node itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointAnnouncement {
    /// Best first, at most [`MAX_ENDPOINTS`].
    pub endpoints: Vec<SocketAddr>,
    /// The replica the node is connected to.
    pub home: Option<IdentityKey>,
    /// Order among announcements of one node: wall-clock milliseconds, at least one above the last sent.
    pub sequence: u64,
}

impl Document for EndpointAnnouncement {
    const LABEL: &'static str = "tombolo/endpoints/v1";
}

impl Version {
    /// A version in the first epoch.
    #[must_use]
    pub const fn first_epoch(revision: u64) -> Self {
        Self {
            epoch: Epoch(0),
            revision: Revision(revision),
        }
    }
}
