//! What the verbs that explain tell: `node ping`, `node why`, `node doctor`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tombolo_engine::diagnosis::{
    Finding,
    doctor::{Exit, Obstacle},
    why::Candidate,
};
use tombolo_proto::id::{NetworkId, NodeId, UnixSeconds};

use super::PathReport;

/// What became of one question of `node ping`; what travels over the socket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PingReport {
    /// The path that it took, or would have.
    pub path: PathReport,
    /// Round trip; none if no answer came in time.
    pub latency_ms: Option<f64>,
    /// What was waited for a session before it could be asked at all.
    pub session_ms: Option<f64>,
    /// Whether a session was there to ask by.
    pub has_session: bool,
}

/// `node ping`, at its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PingSummary {
    /// Who was asked.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// In which network.
    pub network: NetworkId,
    /// How many questions were sent.
    pub sent: u32,
    /// How many were answered.
    pub received: u32,
    /// Share of questions without an answer.
    pub loss_percent: f64,
    /// Round trips; none if nothing was answered.
    pub latency_ms: Option<PingLatency>,
    /// What the first question waited for a session.
    pub session_ms: Option<f64>,
    /// The path at the end.
    pub path: PathReport,
    /// The cipher at the end.
    pub cipher: Option<String>,
    /// Round trip of each question in order; null without an answer.
    pub samples: Vec<Option<f64>>,
}

/// Round trips of `node ping`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PingLatency {
    /// Shortest.
    pub min: f64,
    /// Mean.
    pub average: f64,
    /// Longest.
    pub max: f64,
}

/// `node why`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WhyReport {
    /// What was asked.
    pub asked: String,
    /// The member that is meant, if there is one.
    pub node: Option<NodeId>,
    /// Its name.
    pub name: Option<String>,
    /// In which network.
    pub network: Option<NetworkId>,
    /// The conclusion in one sentence.
    pub conclusion: String,
    /// Whether packets get there.
    pub reachable: bool,
    /// Why the path is relayed, if it is: `udp_blocked`, `other_udp_blocked`, `both_nats_dependent`, `own_nat_dependent`,
    /// `other_nat_dependent`, `no_endpoint_known` or `unanswered`.
    #[serde(default)]
    pub relayed_because: Option<String>,
    /// Every way to the member that is known, the one in use first.
    #[serde(default)]
    pub candidates: Vec<CandidateReport>,
    /// Everything that was looked at, in the order of a packet's way.
    pub steps: Vec<Finding>,
}

/// A way to a member, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CandidateReport {
    /// Where it leads.
    pub place: String,
    /// Seconds since the member was last asked there.
    pub tried: Option<f64>,
    /// Seconds since it last answered.
    pub answered: Option<f64>,
    /// Round trip.
    pub latency_ms: Option<f64>,
}

impl From<&Candidate> for CandidateReport {
    fn from(candidate: &Candidate) -> Self {
        let seconds = |time: &Duration| time.as_secs_f64();
        Self {
            place: candidate.place.clone(),
            tried: candidate.tried.as_ref().map(seconds),
            answered: candidate.answered.as_ref().map(seconds),
            latency_ms: candidate.latency.as_ref().map(|time| seconds(time) * 1e3),
        }
    }
}

/// `node doctor`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoctorReport {
    /// Whether nothing is broken.
    pub healthy: bool,
    /// Everything that was looked at.
    pub findings: Vec<Finding>,
}

/// What only the daemon knows of what `node doctor` looks at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonFacts {
    /// When the newest document that it holds was signed.
    pub newest_document: Option<UnixSeconds>,
    /// Whether this member carries prefixes for others: IPv4, IPv6.
    pub carries: [bool; 2],
    /// Whether a translation hides this node, and nobody has said where it can be called.
    pub is_translated: bool,
    /// Whether it listens for streams of TCP; none if it is not to relay.
    pub takes_streams: Option<bool>,
    /// What is not installed of each network.
    pub clashes: Vec<(NetworkId, Obstacle)>,
    /// The networks that leave the overlay here.
    #[serde(default)]
    pub exits: Vec<Exit>,
    /// The network whose default route is installed here: IPv4, IPv6.
    #[serde(default)]
    pub defaults: [Option<NetworkId>; 2],
    /// Who else uses our mark or our table.
    #[serde(default)]
    pub intruders: Vec<Obstacle>,
    /// Whether a controller got through to the data port from where nobody had sent to: IPv4, IPv6; none if none tried.
    #[serde(default)]
    pub reached: [Option<bool>; 2],
}
