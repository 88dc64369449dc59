//! The node's shell: system calls, threads and the daemon around the engine, and the verbs that talk to it.
//!
//! | module | what it holds |
//! |---|---|
//! | [`cli`], [`commands`] | the command line and its verbs |
//! | [`daemon`] | wiring, and the loop that owns the engine |
//! | [`dataplane`] | the forwarding threads |
//! | [`io`] | TUN devices and UDP sockets |
//! | [`mod@bench`] | measuring the way to a member, both ends |
//! | [`docker`] | containers in the overlay |
//! | [`names`] | the resolver for members and containers |
//! | [`host`] | addresses, routes, firewall and sysctls of this machine |
//! | [`sync`] | the connection to controllers |
//! | [`state_dir`] | what is kept on disk |
//! | [`local_api`], [`report`] | the daemon's socket and what it tells |

pub mod bench;
pub mod cli;
pub mod commands;
pub mod config_file;
pub mod daemon;
pub mod dataplane;
pub mod docker;
pub mod failure;
pub mod host;
pub mod io;
pub mod local_api;
mod metrics;
pub mod names;
mod output;
pub mod report;
pub mod state_dir;
mod streams;
pub mod sync;
mod telemetry;
mod tls;
