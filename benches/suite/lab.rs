//! Two hosts on one machine: network namespaces on a veth pair, made for one peer and gone with [`Lab`].

mod leftovers;
mod side;

use std::{cell::RefCell, path::PathBuf, process::Command, rc::Rc};

use anyhow::{Context as _, Result, ensure};

pub use self::{leftovers::remove_leftovers, side::Side};
use crate::{
    plan::Variant,
    process::{Interrupt, Process},
};

/// What all namespaces of the suite are called: this, the process id of the suite, and the side.
const PREFIX: &str = "tmbb";
/// Where the programs are and how hosts are set up, the same for all peers.
#[derive(Debug)]
pub struct Settings {
    /// Folder with one folder per peer, as `fetch-peers.sh` fills it.
    pub peers: PathBuf,
    /// Folder with Tombolo's own binaries.
    pub binaries: PathBuf,
    /// Set once the user wants to stop.
    pub interrupt: Interrupt,
}

/// Two hosts, A and B.
#[derive(Debug)]
pub struct Lab {
    /// The side that clients run on.
    pub a: Side,
    /// The side that servers run on.
    pub b: Side,
    /// How this lab differs from others.
    pub variant: Variant,
    transcript: Rc<RefCell<Vec<String>>>,
}

impl Lab {
    /// Two hosts at 10.200.0.1 and 10.200.0.2, with nothing running. Commands find the programs of the peers in `needs`.
    ///
    /// # Errors
    /// When the kernel refuses any of it, most likely because the suite does not run as root.
    pub fn new(settings: &Settings, variant: Variant, needs: &[&str]) -> Result<Self> {
        let transcript = Rc::default();
        let side =
            |letter, number| Side::new(settings, variant, needs, letter, number, &transcript);
        let lab = Self {
            a: side('a', 1)?,
            b: side('b', 2)?,
            variant,
            transcript: Rc::clone(&transcript),
        };
        ip(&[
            "link",
            "add",
            "eth0",
            "netns",
            &lab.a.namespace,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            &lab.b.namespace,
        ])?;
        for side in [&lab.a, &lab.b] {
            side.set_up()?;
        }
        // From here on the transcript tells of the peer alone.
        transcript.borrow_mut().clear();
        Ok(lab)
    }

    /// Both sides.
    pub fn sides(&self) -> impl Iterator<Item = &Side> {
        [&self.a, &self.b].into_iter()
    }

    /// Whether the peer runs in daemons, whose cost can be seen, and not in the kernel.
    pub fn has_daemons(&self) -> bool {
        self.sides().any(|side| !side.daemons().is_empty())
    }

    /// Looks at every daemon of the peer.
    ///
    /// # Errors
    /// The first one of `look`.
    pub fn daemons<T>(&self, look: impl Fn(&Process) -> Result<T>) -> Result<Vec<T>> {
        self.sides()
            .flat_map(|side| side.daemons().iter().map(&look).collect::<Vec<_>>())
            .collect()
    }

    /// Every command that was run for the peer so far, with the side it ran on.
    #[must_use]
    pub fn transcript(&self) -> Vec<String> {
        self.transcript.borrow().clone()
    }
}

fn ip(arguments: &[&str]) -> Result<String> {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .context("Failed to start ip")?;
    ensure!(
        output.status.success(),
        "ip {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
