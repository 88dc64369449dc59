//! Tombolo.

pub mod control;
pub mod counters;
pub mod fib;
pub mod forward;
pub mod lane;
pub mod membership;
pub mod mss;
pub mod ownership;
pub mod prefix_table;
pub mod reconcile;
pub mod replay;
pub mod session;
