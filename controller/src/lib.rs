//! The controller: a web API, a control channel for nodes, STUN, and one store behind them.
//!
//! ```text
//! api / control -> domain::decide -> compile -> sign -> store.commit(expected, changes + signed blobs) -> publish
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | [`controller`] | starting and stopping the whole |
//! | [`config`] | what it is started with: flags, environment, file |
//! | [`networks`] | load, decide, sign, commit, publish; again on conflict |
//! | [`store`] | the database |
//! | `telling` | what nodes are told at once and what in portions |
//! | `watch` | what other replicas change, and whether the store is there |
//! | [`api`] | the web API |
//! | `panel` | pages for people; a client of the web API |
//! | `auth` | who may do what |
//! | [`oidc`] | signing in with the account of an identity provider |
//! | `control` | QUIC connections of nodes |
//! | [`sealing`] | keys that seal secrets in the store |
//! | `links` | what members tell of their links |
//! | `relay` | relaying for members; `observing`: STUN |
//! | `limiter` | how often a source may ask |
//! | [`cli`], [`commands`] | the verbs |

mod announced;
pub mod api;
mod auth;
mod authority;
mod backup;
mod blobs;
pub mod cli;
pub mod commands;
pub mod config;
mod control;
pub mod controller;
mod http;
mod interfaces;
mod limiter;
mod links;
mod listen;
mod moment;
pub mod networks;
mod observing;
pub mod oidc;
mod panel;
pub mod publish;
mod relay;
pub mod sealing;
mod setup;
pub mod signer;
mod state_dir;
mod stop;
pub mod store;
mod telemetry;
mod telling;
mod token;
pub mod trust;
mod watch;
mod webhooks;

pub use controller::{Controller, StartError};
