//! vpncloud in tun mode, with a shared password.

use anyhow::Result;

use crate::{
    lab::{Lab, Side},
    peer::{Overlay, Peer},
};

const DEVICE: &str = "vpn0";

#[derive(Debug)]
pub(super) struct Vpncloud;

impl Peer for Vpncloud {
    fn name(&self) -> &'static str {
        "vpncloud"
    }

    fn about(&self) -> &'static str {
        "tun mode, the cipher its own speed test picks, MTU 1430 by hand"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["vpncloud"]
    }

    /// vpncloud looks for its own address on the way to a public one and ends where there is no such way.
    fn prepare(&self, lab: &Lab) -> Result<()> {
        for side in lab.sides() {
            side.run(&format!(
                "ip route add default via {}",
                side.remote_underlay()
            ))?;
        }
        Ok(())
    }

    /// Addresses by hand: its `--ip` takes neither IPv6 nor a prefix length.
    fn up(&self, side: &Side) -> Result<()> {
        let (number, remote) = (side.number, side.remote_underlay());
        side.daemon(&format!(
            "vpncloud --type tun --device {DEVICE} --password bench --listen 3210 --peer {remote}:3210 \
             --no-port-forwarding --claim 10.77.0.{number}/32 --claim fd77::{number}/128 --mode router"
        ))?;
        side.wait_for_device(DEVICE)?;
        side.run(&format!("ip link set {DEVICE} mtu 1430"))?;
        side.usual_addresses(DEVICE)
    }

    fn overlay(&self, _lab: &Lab) -> Result<Overlay> {
        Ok(Overlay::usual(DEVICE))
    }
}
