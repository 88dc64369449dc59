//! Tombolo beside other overlays, on one machine, in one run.
//!
//! Two network namespaces on a veth pair stand for two hosts. For every combination of round, veth offloads, placement
//! on cores and peer, in that order of nesting so that peers are interleaved, the suite makes the two namespaces anew,
//! brings the peer up on both sides, measures, and takes everything down:
//!
//! ```text
//! cli -> plan (what is measured) -> run -> session -> lab (namespaces) -> peer (up, down) -> measure (iperf3, ping, /proc)
//!                                    |
//!                                    +-> record (every sample) -> summary (medians) -> goals -> report (Markdown, SVG, PNG)
//! ```
//!
//! Beside it stands [`load`]: controllers with thousands of members.
//!
//! A peer is one file under `peers/`. What is compared with what is in `goals`; how a figure is obtained is in `measure`.
#![expect(
    clippy::print_stdout,
    reason = "a command-line program that reports its progress"
)]

pub mod cli;
pub mod figure;
pub mod goals;
pub mod lab;
pub mod load;
pub mod machine;
pub mod measure;
pub mod peer;
mod peers;
mod plain;
pub mod plan;
pub mod process;
mod profile;
mod progress;
pub mod record;
pub mod report;
pub mod run;
mod session;
pub mod summary;
