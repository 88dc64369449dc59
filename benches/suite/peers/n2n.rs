//! n2n: Ethernet over UDP. The supernode runs on side A and only introduces the two edges to each other.

use anyhow::Result;

use crate::{
    lab::{Lab, Side},
    peer::{Overlay, Peer},
};

const DEVICE: &str = "edge0";
const SUPERNODE_PORT: u16 = 7654;

#[derive(Debug)]
pub(super) struct N2n;

impl Peer for N2n {
    fn name(&self) -> &'static str {
        "n2n"
    }

    fn about(&self) -> &'static str {
        "AES, MTU 1290 (default), an Ethernet"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["n2n"]
    }

    fn up(&self, side: &Side) -> Result<()> {
        let number = side.number;
        let supernode = if number == 1 {
            side.underlay()
        } else {
            side.remote_underlay()
        };
        if number == 1 {
            side.daemon(&format!("supernode -f -p {SUPERNODE_PORT}"))?;
        }
        side.daemon(&format!(
            "edge -f -c bench -k bench -A3 -l {supernode}:{SUPERNODE_PORT} -e {} -a static:10.77.0.{number}/24 -d {DEVICE} -E -u 0 -g 0",
            side.underlay()
        ))?;
        side.wait_until(&format!("ip -4 addr show dev {DEVICE} | grep -q 10.77"))?;
        side.run(&format!(
            "ip -6 addr add fd77::{number}/64 dev {DEVICE} nodad"
        ))
        .map(drop)
    }

    fn overlay(&self, _lab: &Lab) -> Result<Overlay> {
        Ok(Overlay::usual(DEVICE))
    }
}
