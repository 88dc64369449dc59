//! Ways to a peer, and which of them to take.

pub mod way;
