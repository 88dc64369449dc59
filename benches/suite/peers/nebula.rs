//! nebula: certificates instead of configured peers. Side A is the lighthouse.

use anyhow::Result;

use crate::{
    lab::{Lab, Side},
    peer::{Overlay, Peer},
};

const DEVICE: &str = "neb0";

#[derive(Debug)]
pub(super) struct Nebula;

impl Peer for Nebula {
    fn name(&self) -> &'static str {
        "nebula"
    }

    fn about(&self) -> &'static str {
        "cipher aes, MTU 1300, 1 routine (defaults)"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["nebula"]
    }

    fn prepare(&self, lab: &Lab) -> Result<()> {
        lab.a.run("nebula-cert ca -name bench")?;
        for side in lab.sides() {
            side.copy_from(&lab.a, "ca.crt ca.key")?;
            let number = side.number;
            side.run(&format!(
                "nebula-cert sign -name host{number} -networks 10.77.0.{number}/24,fd77::{number}/64 \
                 -out-crt host.crt -out-key host.key"
            ))?;
            let (lighthouse, hosts) = if number == 1 {
                ("true", "[]")
            } else {
                ("false", "['10.77.0.1']")
            };
            let remote = lab.a.underlay();
            side.write(
                "config.yml",
                &format!(
                    "pki: {{ca: ca.crt, cert: host.crt, key: host.key}}\n\
                     static_host_map: {{'10.77.0.1': ['{remote}:4242'], 'fd77::1': ['{remote}:4242']}}\n\
                     lighthouse: {{am_lighthouse: {lighthouse}, hosts: {hosts}}}\n\
                     listen: {{host: 0.0.0.0, port: 4242}}\n\
                     cipher: aes\n\
                     tun: {{dev: {DEVICE}}}\n\
                     logging: {{level: error}}\n\
                     firewall:\n\
                     \x20 outbound: [{{port: any, proto: any, host: any}}]\n\
                     \x20 inbound: [{{port: any, proto: any, host: any}}]\n"
                ),
            )?;
        }
        Ok(())
    }

    fn up(&self, side: &Side) -> Result<()> {
        side.daemon("nebula -config config.yml")?;
        side.wait_for_device(DEVICE)
    }

    fn overlay(&self, _lab: &Lab) -> Result<Overlay> {
        Ok(Overlay::usual(DEVICE))
    }
}
