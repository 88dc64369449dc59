//! No overlay: the veth pair itself.

use std::{net::Ipv6Addr, path::Path};

use anyhow::Result;

use crate::{
    lab::{Lab, Side},
    peer::{Overlay, Peer, Role},
};

#[derive(Debug)]
pub(super) struct Raw;

impl Peer for Raw {
    fn name(&self) -> &'static str {
        "raw"
    }

    fn about(&self) -> &'static str {
        "no overlay, the veth pair itself"
    }

    fn role(&self) -> Role {
        Role::Reference
    }

    fn up(&self, side: &Side) -> Result<()> {
        side.run(&format!(
            "ip -6 addr add fd00::{}/64 dev eth0 nodad",
            side.number
        ))
        .map(drop)
    }

    fn overlay(&self, lab: &Lab) -> Result<Overlay> {
        let v6 = |number| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number);
        Ok(Overlay {
            device: "eth0".to_owned(),
            v4: [lab.a.underlay(), lab.b.underlay()],
            v6: Some([v6(1), v6(2)]),
        })
    }

    fn version(&self, _peers: &Path, _binaries: &Path) -> Result<String, String> {
        Ok("kernel".to_owned())
    }
}
