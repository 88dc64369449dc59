//! What both ends of a stream share: TLS 1.3 between those who know each other by their keys ([`client`], [`server`]), and
//! relayed frames on it ([`frames`]). Nodes and controllers connect by the same rules, so both use this crate.

pub mod frames;
mod keys;

pub use keys::{client, key_of, server};
