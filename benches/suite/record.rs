//! Everything a run found out, as it stands in the JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{figure::Figure, machine::Machine, peer::Role, plan::Variant};

/// One run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// `full`, `quick`, or what the user called it.
    pub name: String,
    /// When it began, in UTC.
    pub date: String,
    /// The command line of the suite.
    pub command: String,
    /// Whether it ran to its end.
    pub complete: bool,
    /// How often everything was to be repeated.
    pub rounds: u32,
    /// Length of a TCP test in seconds.
    pub tcp_seconds: u32,
    /// Length of a UDP test in seconds.
    pub udp_seconds: u32,
    /// Which commit of Tombolo was measured, if known.
    pub revision: Option<String>,
    /// How many pings of each kind per round.
    pub pings: u32,
    /// By which commands each task is done, with the side they run on; the addresses are those of the first peer.
    pub tasks: BTreeMap<String, Vec<String>>,
    /// What it ran on.
    pub machine: Machine,
    /// Who was measured, and who could not be.
    pub peers: Vec<PeerRecord>,
    /// Every single measurement.
    pub samples: Vec<Sample>,
    /// What did not work.
    pub failures: Vec<Failure>,
}

/// One peer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PeerRecord {
    /// Its name.
    pub name: String,
    /// What it is to the comparison.
    pub role: Role,
    /// How it is configured.
    pub about: String,
    /// Version and origin.
    pub version: Option<String>,
    /// Why it was not measured.
    pub missing: Option<String>,
    /// MTU of its interface.
    pub mtu: Option<u64>,
    /// What was run to bring it up, with the side it was run on.
    pub commands: Vec<String>,
}

/// One measurement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sample {
    /// Which peer.
    pub peer: String,
    /// Under which circumstances.
    #[serde(flatten)]
    pub variant: Variant,
    /// In which round, from 1.
    pub round: u32,
    /// What was measured.
    pub figure: Figure,
    /// The number, in the unit of the figure.
    pub value: f64,
    /// The unit, for readers of the JSON.
    pub unit: String,
}

/// Something that did not work.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Failure {
    /// Which peer.
    pub peer: String,
    /// Under which circumstances.
    #[serde(flatten)]
    pub variant: Variant,
    /// In which round, from 1.
    pub round: u32,
    /// What went wrong, and at what.
    pub what: String,
}

impl Record {
    /// The name of Tombolo as installed.
    pub const TOMBOLO: &'static str = "tombolo";

    /// The record of one peer.
    #[must_use]
    pub fn peer(&self, name: &str) -> Option<&PeerRecord> {
        self.peers.iter().find(|peer| peer.name == name)
    }
}
