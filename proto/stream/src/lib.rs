//! What both ends of a stream share: TLS 1.3 between those who know each other by their keys ([`client`], [`server`]), and
//! relayed frames on it ([`frames`]), which hardly wait in front of it ([`queue`]). Nodes and controllers connect by the same
//! rules, so both use this crate.

mod codel;
pub mod frames;
mod keys;
pub mod queue;
pub mod tcp;

pub use keys::{client, key_of, server};
