//! The words both sides of Tombolo agree on: identities and addresses, the first bytes of every datagram, the signed
//! documents that say who belongs to a network, and the messages of the control channel.
//!
//! Everything here is pure: no sockets, no clock, no randomness of its own. What is visible on the wire or in signed
//! documents is frozen by the vectors in `tests/vectors.rs`.
//!
//! | module | what it holds |
//! |---|---|
//! | [`id`] | node addresses, network ids, revisions, lane indices |
//! | [`key`] | seeds, Ed25519 identities, X25519 transport keys |
//! | [`address`] | the memory-hard hash that turns an identity into a 40-bit node address |
//! | [`sixplane`] | IPv6 layouts: RFC 4193 mode and 6PLANE, both directions |
//! | [`link`] | the join link `tombolo://…` |
//! | [`frame`] | what the first bytes of a datagram mean; the lane header |
//! | [`stun`] | STUN Binding (RFC 8489), as much as address discovery needs |
//! | [`ip`] | a borrowed view of an IPv4 or IPv6 header |
//! | [`wire`] | the one canonical encoding of documents and messages |
//! | [`signed`] | signatures over documents: the only way to a trusted document |
//! | [`config`] | the documents: keyring, network, member certificate, revocation, endpoints |
//! | [`rules`] | access rules in the network's document, and their text form |
//! | [`control`] | messages between node and controller |
//! | [`links`] | what members tell of their links |
//! | [`gossip`] | messages between members, about documents |
//! | [`relay`] | frames that a relay forwards, and how one becomes its client |
//! | [`api`] | JSON of the web API |

pub mod address;
pub mod api;
pub mod config;
pub mod control;
pub mod frame;
pub mod gossip;
pub mod id;
pub mod ip;
pub mod key;
pub mod link;
pub mod links;
pub mod relay;
pub mod rules;
pub mod signed;
pub mod sixplane;
pub mod stun;
pub mod wire;
