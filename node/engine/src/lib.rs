//! Every decision of a node, and none of its system calls: who may talk to whom, how sessions are made and kept, what
//! becomes of each packet, and what the host is to look like.
//!
//! Nothing here reads a clock, opens a socket, draws randomness of its own or waits. Time is an argument, the last one;
//! whoever holds the sockets calls in with what arrived and sends what comes out. So a test runs years of a network in
//! milliseconds, and the same code runs in the daemon.
//!
//! There are two speeds. The **fast path** ([`fib`], [`forward`]) works on `&Fib`, an immutable snapshot, from many
//! threads: one packet in, one verdict out. Whatever it cannot settle it *punts*. The **slow path** ([`control`]) has one
//! owner: it takes punts, directories and the passing of time, and *publishes* a new snapshot when something changed.
//! There is no third channel.
//!
//! | module | what it decides |
//! |---|---|
//! | [`forward`] | what becomes of one packet; reasons to drop it are in [`counters`] |
//! | [`fib`] | what the fast path knows |
//! | [`ownership`] | who owns which prefix: outbound routing and the inbound source check, by [`prefix_table`] |
//! | `failover` | which of several owners of a prefix gets the packets |
//! | [`rules`] | access rules: what is taken from peers, and which flows are under way |
//! | [`lane`] | sealing and opening frames; [`replay`] |
//! | [`mss`] | what TCP may announce |
//! | `mtu` | the largest frame that a way takes; [`parts`]: what becomes of larger packets |
//! | [`control`] | the engine: networks, peers, punts, deadlines |
//! | [`path`] | ways to a peer, and which to take |
//! | `round_trip` | how long an answer takes, and is waited for |
//! | `peer` | one peer: when to dial, which lane to use, where it is, whether it lives |
//! | [`handshake`] | how a lane is agreed |
//! | [`session`] | the Noise handshake underneath, behind traits |
//! | `gate` | how much strangers may make this node work; `budget` |
//! | [`endpoint`] | which endpoints are worth a datagram |
//! | `observer` | STUN, answered |
//! | [`punch`] | meeting across NATs that map by destination |
//! | [`nat`] | what kind of NAT this node is behind |
//! | [`lane_control`] | what peers say to each other on a lane |
//! | [`diagnosis`] | what is wrong, in words, and what mends it |
//! | [`membership`] | which documents count |
//! | `gossip` | how documents spread among members |
//! | [`relay`] | which relays there are, and channels through them; what a relay does is in `tombolo_relay` |
//! | [`reconcile`] | what the host is to look like |
//! | [`backoff`] | when to try again |

pub mod backoff;
mod budget;
pub mod control;
pub mod counters;
pub mod diagnosis;
pub mod endpoint;
mod failover;
pub mod fib;
pub mod forward;
mod gate;
mod gossip;
pub mod handshake;
pub mod lane;
pub mod lane_control;
pub mod membership;
pub mod mss;
mod mtu;
pub mod nat;
mod observer;
pub mod offload;
pub mod ownership;
pub mod parts;
pub mod path;
mod peer;
mod pending;
pub mod prefix_table;
pub mod punch;
pub mod reconcile;
pub mod relay;
pub mod replay;
mod round_trip;
pub mod rules;
pub mod session;
