//! gotatun, a WireGuard in Rust grown from boringtun.

use anyhow::Result;

use super::wireguard;
use crate::{
    lab::{Lab, Side},
    peer::{Overlay, Peer},
};

#[derive(Debug)]
pub(super) struct Gotatun;

impl Peer for Gotatun {
    fn name(&self) -> &'static str {
        "gotatun"
    }

    fn about(&self) -> &'static str {
        "MTU 1420"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["gotatun", "wireguard-tools"]
    }

    fn prepare(&self, lab: &Lab) -> Result<()> {
        wireguard::prepare(lab)
    }

    fn up(&self, side: &Side) -> Result<()> {
        wireguard::up(side, "gotatun --foreground --disable-drop-privileges")
    }

    fn overlay(&self, lab: &Lab) -> Result<Overlay> {
        wireguard::overlay(lab)
    }

    fn down(&self, side: &Side) {
        wireguard::down(side);
    }
}
