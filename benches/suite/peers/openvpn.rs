//! OpenVPN, point to point with TLS and the fingerprint of the other side's certificate. Side B is the TLS client.

use anyhow::Result;

use crate::{
    lab::{Lab, Side},
    peer::{Overlay, Peer},
};

const DEVICE: &str = "ovpn0";

#[derive(Debug)]
pub(super) struct Openvpn;

impl Peer for Openvpn {
    fn name(&self) -> &'static str {
        "openvpn"
    }

    fn about(&self) -> &'static str {
        "UDP, TLS, AES-256-GCM, MTU 1500 (default), in userspace (no kernel offload)"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["openvpn"]
    }

    fn prepare(&self, lab: &Lab) -> Result<()> {
        for side in lab.sides() {
            side.run(
                "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
                 -keyout key.pem -out cert.pem -subj /CN=bench -days 3650",
            )?;
        }
        for (side, other) in [(&lab.a, &lab.b), (&lab.b, &lab.a)] {
            let fingerprint =
                other.run("openssl x509 -in cert.pem -noout -fingerprint -sha256 | cut -d= -f2")?;
            side.write("peer", fingerprint.trim())?;
        }
        Ok(())
    }

    fn up(&self, side: &Side) -> Result<()> {
        let role = if side.number == 1 {
            "--tls-server --dh none"
        } else {
            "--tls-client"
        };
        let (number, other) = (side.number, 3 - side.number);
        side.daemon(&format!(
            "openvpn --dev {DEVICE} --dev-type tun --proto udp --local {} --remote {} --port 1194 {role} \
             --cert cert.pem --key key.pem --peer-fingerprint $(cat peer) --data-ciphers AES-256-GCM --disable-dco \
             --ifconfig 10.77.0.{number} 10.77.0.{other} --ifconfig-ipv6 fd77::{number}/64 fd77::{other} --verb 1",
            side.underlay(),
            side.remote_underlay()
        ))?;
        side.wait_for_device(DEVICE)
    }

    fn overlay(&self, _lab: &Lab) -> Result<Overlay> {
        Ok(Overlay::usual(DEVICE))
    }
}
