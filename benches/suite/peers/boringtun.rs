//! boringtun, a WireGuard in Rust.

use anyhow::Result;

use super::wireguard;
use crate::{
    lab::{Lab, Side},
    peer::{Overlay, Peer},
};

#[derive(Debug)]
pub(super) struct Boringtun;

impl Peer for Boringtun {
    fn name(&self) -> &'static str {
        "boringtun"
    }

    fn about(&self) -> &'static str {
        "MTU 1420, 4 threads (default)"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["boringtun", "wireguard-tools"]
    }

    fn prepare(&self, lab: &Lab) -> Result<()> {
        wireguard::prepare(lab)
    }

    fn up(&self, side: &Side) -> Result<()> {
        wireguard::up(side, "boringtun-cli --foreground --disable-drop-privileges")
    }

    fn overlay(&self, lab: &Lab) -> Result<Overlay> {
        wireguard::overlay(lab)
    }

    fn down(&self, side: &Side) {
        wireguard::down(side);
    }
}
