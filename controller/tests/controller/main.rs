//! A whole controller in this process: real HTTP, real QUIC, real SQLite in a temporary directory.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test waits for one kind of message and passes over every other"
)]

mod accounts;
mod api;
mod audit;
mod backups;
mod bad_input;
mod control;
mod etags;
mod http;
mod https;
mod importing;
mod links;
mod lists;
mod live;
mod matrix;
mod node;
mod oidc;
mod oidc_clients;
mod once;
mod panel;
mod provider;
mod receiver;
mod rendezvous;
mod restart;
mod rig;
mod rules;
mod scale;
mod secrets;
mod sessions;
mod sign_ins;
mod start;
mod strangers;
mod tcp;
mod undo;
mod verbs;
mod visitor;
mod webhooks;
mod zerotier;

/// Where the controllers of this program keep what they know.
const STORE: rig::Store = rig::Store::Sqlite;
