//! wireguard-go, the reference implementation in userspace, with segmentation offload since 2023.

use anyhow::Result;

use super::wireguard;
use crate::{
    lab::{Lab, Side},
    peer::{Overlay, Peer},
};

#[derive(Debug)]
pub(super) struct WireguardGo;

impl Peer for WireguardGo {
    fn name(&self) -> &'static str {
        "wireguard-go"
    }

    fn about(&self) -> &'static str {
        "MTU 1420"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["wireguard-go", "wireguard-tools"]
    }

    fn prepare(&self, lab: &Lab) -> Result<()> {
        wireguard::prepare(lab)
    }

    fn up(&self, side: &Side) -> Result<()> {
        wireguard::up(side, "env LOG_LEVEL=error wireguard-go --foreground")
    }

    fn overlay(&self, lab: &Lab) -> Result<Overlay> {
        wireguard::overlay(lab)
    }

    fn down(&self, side: &Side) {
        wireguard::down(side);
    }
}
