//! Whole networks in virtual time: engines, a seeded network between them, no sockets, no waiting.

mod changes;
mod epochs;
mod failover;
mod first_packet;
mod forged;
mod gossip;
mod hostile;
mod idle;
mod jumps;
mod mtu;
mod nat;
mod negotiation;
mod paths;
mod quiet;
mod random;
mod rekey;
mod relays;
mod rendezvous;
mod restart;
mod revocation;
mod roaming;
mod streams;
mod survival;
