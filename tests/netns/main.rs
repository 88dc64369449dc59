//! The real binaries in real network namespaces, with real traffic. Needs root.
//!
//! Every test builds its own laboratory (see `tombolo_tests::netns`) and leaves nothing behind. Tests that judge time
//! or loss claim the machine for themselves; the others run beside each other.

mod bad_input;
mod bench;
mod containers;
mod default_route;
mod diagnosis;
mod disk;
mod doctor;
mod gossip;
mod hairpin;
mod install;
mod ipv6;
mod isolation;
mod joining;
mod laboratory;
mod lanes;
mod leaving;
mod mtu;
mod nat;
mod offload;
mod outage;
mod panel;
mod paths;
mod port_mapping;
mod privacy;
mod rekey;
mod relays;
mod rendezvous;
mod revocation;
mod rules;
mod scale;
mod stolen_key;
mod survival;
mod tcp;
mod wan;
mod why;
