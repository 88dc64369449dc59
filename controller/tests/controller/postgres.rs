//! The tests of a whole controller once more, on PostgreSQL.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test waits for one kind of message and passes over every other"
)]
#![allow(
    dead_code,
    reason = "the tests of starting and of the verbs are not repeated, what only they use is here"
)]

mod accounts;
mod api;
mod audit;
mod backups;
mod bad_input;
mod control;
mod etags;
mod http;
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
mod restart;
mod rig;
mod scale;
mod secrets;
mod sessions;
mod sign_ins;
mod strangers;
mod undo;
mod visitor;
mod webhooks;
mod zerotier;

/// Where the controllers of this program keep what they know.
const STORE: rig::Store = rig::Store::Postgres;
