//! Tombolo: a controller on side A, idle once both nodes have joined, and a node on each side.
//!
//! Joining is part of the preparation; what is measured as the time to the first ping is a node that comes up from its
//! cache, as after a reboot.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{
    lab::{Lab, Side},
    peer::{Overlay, Peer, Role},
};

const DEVICE: &str = "tmb0";
const CONTROL_PORT: u16 = 9791;
/// All that one side's processes must not share with another's.
const ENVIRONMENT: &str =
    "env TOMBOLO_STATE_DIR=$PWD/state TOMBOLO_CONFIG=$PWD/node.toml TOMBOLO_SOCKET=$PWD/node.sock";
const CONTROLLER: &str =
    "env TOMBOLO_STATE_DIR=$PWD/controller TOMBOLO_CONFIG=$PWD/controller.toml";

#[derive(Debug)]
pub(super) struct Tombolo {
    name: &'static str,
    about: &'static str,
    config: &'static str,
}

impl Tombolo {
    pub(super) const AS_INSTALLED: Self = Self {
        name: "tombolo",
        about: "as installed",
        config: "",
    };
    pub(super) const WITHOUT_AES: Self = Self {
        name: "tombolo-chacha",
        about: "as on a CPU without AES: ChaCha20-Poly1305",
        config: "[crypto]\naes = false\n",
    };
}

impl Peer for Tombolo {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn role(&self) -> Role {
        Role::Tombolo
    }

    fn prepare(&self, lab: &Lab) -> Result<()> {
        let control = format!("{}:{CONTROL_PORT}", lab.a.underlay());
        lab.a.write("controller.toml", "")?;
        lab.a.bystander(&format!(
            "{CONTROLLER} controller serve --advertise {control}"
        ))?;
        lab.a
            .wait_until(&format!("{CONTROLLER} controller network ls"))?;
        let created = lab.a.run(&format!(
            "{CONTROLLER} controller network create bench --v4 10.77.0.0/16 --json"
        ))?;
        let network = text(&created, "/id")?;
        for side in lab.sides() {
            side.write("node.toml", self.config)?;
            self.up(side)?;
            side.wait_until(&format!("{ENVIRONMENT} node status"))?;
            side.run(&format!(
                "{ENVIRONMENT} node join {network} --controller {control}"
            ))?;
            let node = text(
                &side.run(&format!("{ENVIRONMENT} node id --json"))?,
                "/node",
            )?;
            lab.a.run(&format!(
                "{CONTROLLER} controller member authorize {network} {node}"
            ))?;
        }
        for side in lab.sides() {
            for family in [4, 6] {
                side.wait_until(&format!(
                    "ip -{family} addr show dev {DEVICE} scope global | grep -q inet"
                ))?;
            }
            side.run(&format!(
                "ip -j addr show dev {DEVICE} scope global >addresses"
            ))?;
            side.end_daemons();
        }
        Ok(())
    }

    fn up(&self, side: &Side) -> Result<()> {
        side.daemon(&format!("{ENVIRONMENT} node up"))
    }

    fn overlay(&self, lab: &Lab) -> Result<Overlay> {
        let [a, b] = [addresses(&lab.a)?, addresses(&lab.b)?];
        Ok(Overlay {
            device: DEVICE.to_owned(),
            v4: [a.0, b.0],
            v6: Some([a.1, b.1]),
        })
    }

    fn version(&self, _peers: &Path, binaries: &Path) -> Result<String, String> {
        let version = |binary| {
            let path = binaries.join(binary);
            Command::new(&path)
                .arg("--version")
                .output()
                .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
                .map_err(|error| format!("{} cannot be run: {error}", path.display()))
        };
        version("controller")?;
        version("node")
    }
}

/// The addresses that a side had when it had joined: side B's are wanted before it is up again.
fn addresses(side: &Side) -> Result<(Ipv4Addr, Ipv6Addr)> {
    let links: Value = serde_json::from_str(&side.quietly("cat addresses")?)?;
    let of = |family: &str| {
        links
            .pointer("/0/addr_info")?
            .as_array()?
            .iter()
            .find(|address| address["family"] == family)?["local"]
            .as_str()
    };
    let parsed = (
        of("inet").context("no IPv4")?.parse()?,
        of("inet6").context("no IPv6")?.parse()?,
    );
    Ok(parsed)
}

/// A field of a JSON answer.
fn text(answer: &str, pointer: &str) -> Result<String> {
    let value: Value =
        serde_json::from_str(answer).with_context(|| format!("not JSON: {answer}"))?;
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .map(str::to_owned)
        .with_context(|| format!("no {pointer} in {answer}"))
}
