//! Tombolo's way of a packet without its encryption and without its daemon: see `plain`.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::{
    lab::{Lab, Side},
    peer::{Overlay, Peer, Role},
};

const DEVICE: &str = "plain0";
const PORT: u16 = 9789;
/// As of a Tombolo network.
const MTU: u16 = 1400;

#[derive(Debug)]
pub(super) struct TomboloPlain;

impl Peer for TomboloPlain {
    fn name(&self) -> &'static str {
        "tombolo-plain"
    }

    fn about(&self) -> &'static str {
        "Tombolo's loops without encryption and without a daemon: part of the suite, installed nowhere"
    }

    fn role(&self) -> Role {
        Role::Reference
    }

    fn up(&self, side: &Side) -> Result<()> {
        let suite = std::env::current_exe().context("Failed to find this program")?;
        side.daemon(&format!(
            "{} plain {DEVICE} {}:{PORT}",
            suite.display(),
            side.remote_underlay()
        ))?;
        side.wait_for_device(DEVICE)?;
        side.run(&format!("ip link set {DEVICE} mtu {MTU}"))?;
        side.usual_addresses(DEVICE)
    }

    fn overlay(&self, _lab: &Lab) -> Result<Overlay> {
        Ok(Overlay::usual(DEVICE))
    }

    fn version(&self, _peers: &Path, _binaries: &Path) -> Result<String, String> {
        Ok(concat!("of this suite, ", env!("CARGO_PKG_VERSION")).to_owned())
    }
}
