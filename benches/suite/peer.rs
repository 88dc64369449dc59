//! What the suite wants from an overlay: an interface on both sides, and to be gone afterwards.

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr},
    path::Path,
};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::lab::{Lab, Side};
pub use crate::peers::ALL;

/// One overlay. A new one is a file under `peers/` and a line in `peers.rs`.
pub trait Peer: std::fmt::Debug + Sync {
    /// Its name in tables; also that of its folder among the fetched peers.
    fn name(&self) -> &'static str;

    /// How it is configured where that is a choice, in a few words.
    fn about(&self) -> &'static str;

    /// What it is to the comparison.
    fn role(&self) -> Role {
        Role::Overlay
    }

    /// Folders among the fetched peers that its commands are in; none for what is not fetched.
    fn needs(&self) -> &'static [&'static str] {
        &[]
    }

    /// Keys and configuration files, if it wants any; no time counts yet.
    ///
    /// # Errors
    /// When it cannot be used.
    fn prepare(&self, _lab: &Lab) -> Result<()> {
        Ok(())
    }

    /// Brings one side up, with [`Side::daemon`] for what is to be measured. Side A comes first.
    ///
    /// # Errors
    /// When it does not come up.
    fn up(&self, side: &Side) -> Result<()>;

    /// Where the two sides are once they are up.
    ///
    /// # Errors
    /// When it is not known.
    fn overlay(&self, lab: &Lab) -> Result<Overlay>;

    /// Removes what would survive the end of the daemons and of the namespaces; mostly there is nothing.
    fn down(&self, _side: &Side) {}

    /// What version it is, as its folder says; a reason where it is missing.
    ///
    /// # Errors
    /// The reason.
    fn version(&self, peers: &Path, _binaries: &Path) -> Result<String, String> {
        let mut version = String::new();
        for folder in self.needs() {
            let folder = peers.join(folder);
            match fs::read_to_string(folder.join("VERSION")) {
                Ok(text) if version.is_empty() => text.trim().clone_into(&mut version),
                Ok(_) => {}
                Err(_) => {
                    return Err(fs::read_to_string(folder.join("MISSING")).map_or_else(
                        |_| "not fetched: run `make bench-peers`".to_owned(),
                        |why| why.trim().to_owned(),
                    ));
                }
            }
        }
        Ok(version)
    }
}

/// What a peer is to the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Tombolo, as installed or with a setting of its own.
    Tombolo,
    /// An overlay that Tombolo is compared with.
    Overlay,
    /// No encryption: shows what the machine can do, and wins nothing.
    Reference,
}

/// Where the two sides are on an overlay.
#[derive(Debug, Clone)]
pub struct Overlay {
    /// The interface on side A.
    pub device: String,
    /// Addresses of A and B.
    pub v4: [Ipv4Addr; 2],
    /// Addresses of A and B, if the peer carries IPv6.
    pub v6: Option<[Ipv6Addr; 2]>,
}

impl Overlay {
    /// 10.77.0.1 and 10.77.0.2, fd77::1 and fd77::2: what all peers use that do not assign addresses by themselves.
    #[must_use]
    pub fn usual(device: impl Into<String>) -> Self {
        Self {
            device: device.into(),
            v4: [Ipv4Addr::new(10, 77, 0, 1), Ipv4Addr::new(10, 77, 0, 2)],
            v6: Some([
                Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1),
                Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2),
            ]),
        }
    }
}

impl Side {
    /// Gives an interface the usual addresses of this side and sets it up.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn usual_addresses(&self, device: &str) -> Result<()> {
        let number = self.number;
        self.run(&format!(
            "ip addr add 10.77.0.{number}/24 dev {device} && ip -6 addr add fd77::{number}/64 dev {device} nodad && ip link set {device} up"
        ))
        .map(drop)
    }
}
