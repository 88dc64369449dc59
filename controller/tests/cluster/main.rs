//! Several controllers on one PostgreSQL: real HTTP, real QUIC, a real server that gets killed.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test waits for one kind of message and passes over every other"
)]
#![allow(
    dead_code,
    reason = "nodes and HTTP are those of the tests of one controller, and do more than is needed here"
)]

mod cluster;
mod following;
#[path = "../controller/http.rs"]
mod http;
mod joining;
mod keyring;
mod moving;
#[path = "../controller/node.rs"]
mod node;
mod oidc;
mod once;
mod outage;
#[path = "../controller/provider.rs"]
mod provider;
mod racing;
#[path = "../controller/receiver.rs"]
mod receiver;
mod rendezvous;
#[path = "../controller/rig.rs"]
mod rig;
mod upgrading;
#[path = "../controller/visitor.rs"]
mod visitor;
mod webhooks;

/// Where a controller of its own keeps what it knows.
const STORE: rig::Store = rig::Store::Postgres;
