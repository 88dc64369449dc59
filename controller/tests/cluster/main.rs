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
mod once;
mod outage;
mod racing;
#[path = "../controller/receiver.rs"]
mod receiver;
mod rendezvous;
mod upgrading;
mod webhooks;
