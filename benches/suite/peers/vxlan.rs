//! VXLAN of the kernel: what tunnelling costs without encryption and without leaving the kernel.

use std::path::Path;

use anyhow::Result;

use crate::{
    lab::{Lab, Side},
    peer::{Overlay, Peer, Role},
};

const DEVICE: &str = "vx0";

#[derive(Debug)]
pub(super) struct Vxlan;

impl Peer for Vxlan {
    fn name(&self) -> &'static str {
        "vxlan"
    }

    fn about(&self) -> &'static str {
        "in the kernel, not encrypted, MTU 1450"
    }

    fn role(&self) -> Role {
        Role::Reference
    }

    fn up(&self, side: &Side) -> Result<()> {
        let (local, remote) = (side.underlay(), side.remote_underlay());
        side.run(&format!(
            "ip link add {DEVICE} type vxlan id 77 dstport 4789 local {local} remote {remote} dev eth0"
        ))?;
        side.usual_addresses(DEVICE)
    }

    fn overlay(&self, _lab: &Lab) -> Result<Overlay> {
        Ok(Overlay::usual(DEVICE))
    }

    fn version(&self, _peers: &Path, _binaries: &Path) -> Result<String, String> {
        Ok("kernel".to_owned())
    }
}
