//! Whole networks in virtual time: engines, a seeded network between them, no sockets, no waiting.

mod changes;
mod first_packet;
mod hostile;
mod idle;
mod jumps;
mod random;
mod rekey;
mod restart;
mod revocation;
mod roaming;
