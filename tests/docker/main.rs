//! The real binaries beside a real Docker on every host. Needs root and Docker; no registry is asked.
//!
//! Every test builds its own laboratory of hosts that are machines of their own (see `tombolo_tests::docker`) and leaves
//! nothing behind.

mod by_hand;
mod engines;
mod example;
mod exits;
mod images;
mod laboratory;
mod lan;
mod members;
mod names;
mod networks;
mod publishing;
mod restarts;
mod town;
