//! Tombolo.

pub mod membership;
pub mod mss;
pub mod prefix_table;
pub mod reconcile;
