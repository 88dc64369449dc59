//! What all userspace WireGuards have in common: the daemon makes an interface, `wg` configures it.

use anyhow::Result;

use crate::{
    lab::{Lab, Side},
    peer::Overlay,
};

const PORT: u16 = 51820;
/// What an interface gets from wg-quick: 1500 less IPv6, UDP and WireGuard.
const MTU: u16 = 1420;

pub(super) fn prepare(lab: &Lab) -> Result<()> {
    for side in lab.sides() {
        side.run("umask 077; wg genkey >key")?;
    }
    for (side, other) in [(&lab.a, &lab.b), (&lab.b, &lab.a)] {
        let public = other.run("wg pubkey <key")?;
        side.write("peer", public.trim())?;
    }
    Ok(())
}

/// `daemon` is the command that makes the interface, which is its last argument.
pub(super) fn up(side: &Side, daemon: &str) -> Result<()> {
    let (device, remote) = (side.unique_device(), side.remote_underlay());
    side.daemon(&format!("{daemon} {device}"))?;
    // The socket is the last thing to appear.
    side.wait_until(&format!(
        "test -S /var/run/wireguard/{device}.sock && ip link show {device}"
    ))?;
    let other = 3 - side.number;
    side.run(&format!(
        "wg set {device} listen-port {PORT} private-key key \
         peer $(cat peer) allowed-ips 10.77.0.{other}/32,fd77::{other}/128 endpoint {remote}:{PORT}"
    ))?;
    side.run(&format!("ip link set {device} mtu {MTU}"))?;
    side.usual_addresses(&device)
}

pub(super) fn overlay(lab: &Lab) -> Result<Overlay> {
    Ok(Overlay::usual(lab.a.unique_device()))
}

/// A daemon that was killed leaves its socket, which all namespaces share.
pub(super) fn down(side: &Side) {
    let _ = std::fs::remove_file(format!("/var/run/wireguard/{}.sock", side.unique_device()));
}
