//! Every decision of a controller, as functions of values: no clock, no store, no randomness.
//!
//! A [`network::Network`] is the whole configuration of one network. [`decide::decide`] takes a
//! [`command::Command`] and answers with the [`change::Change`]s that carry it out, or with a
//! [`refusal::Refusal`] that says what is wrong and what to do. Applying the changes gives the next network;
//! [`compile::compile`] tells which documents have to be signed for the step from one to the other.
//!
//! ```text
//! Command + Network + now  -> decide  -> changes | refusal
//! Network + changes        -> apply   -> next Network (revision + 1, unless only requests changed)
//! both Networks            -> compile -> documents to sign
//! ```
//!
//! The caller stores changes and signed documents in one transaction, on the condition that nobody else wrote since
//! the network was loaded; if somebody did, it loads and decides again. So two replicas that decide at the same time
//! can never both win, and every rule here is checked against the state it is written to.

pub mod address_pool;
pub mod audit;
pub mod change;
pub mod command;
pub mod compile;
pub mod decide;
pub mod keyring;
pub mod managed_route;
pub mod member;
pub mod name;
pub mod network;
pub mod pacing;
pub mod prefix;
pub mod refusal;
pub mod rights;
mod roll;
pub mod rules;
pub mod settings;
pub mod sign_on;
pub mod subnet;
pub mod webhook;
