//! A whole controller in this process: real HTTP, real QUIC, real SQLite in a temporary directory.

mod api;
mod bad_input;
mod control;
mod http;
mod lists;
mod node;
mod restart;
mod rig;
mod start;
mod verbs;
