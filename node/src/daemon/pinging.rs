//! `node ping`: one question, and whoever waits for its answer.

use std::time::{Duration, Instant};

use tokio::{sync::oneshot, time::timeout};
use tombolo_engine::path::way::Way;
use tombolo_proto::{
    id::{NetworkId, NodeId},
    key::IdentityKey,
};

use super::Daemon;
use crate::{
    failure::{Failure, FailureKind},
    local_api::Answer,
    report::{PathReport, diagnosis::PingReport},
};

/// Questions that may wait for their answers.
const MAX_WAITING: usize = 64;
/// Longest that anybody may wait.
const MAX_PATIENCE: Duration = Duration::from_secs(3600);

/// Somebody waits for an answer.
#[derive(Debug)]
pub(super) struct PingWaiter {
    network: NetworkId,
    peer: IdentityKey,
    /// What the engine calls the question; none until there is a session.
    id: Option<u64>,
    /// When somebody began to wait for a session.
    since: Instant,
    waited: Option<Duration>,
    /// How the peer is reached when it is asked.
    path: PathReport,
    answer: oneshot::Sender<(PathReport, Duration, Option<Duration>)>,
}

impl Daemon {
    /// Asks now, or as soon as there is a session.
    pub(super) fn ping(
        &mut self,
        network: NetworkId,
        node: NodeId,
        patience_ms: u32,
        answer: oneshot::Sender<Answer>,
    ) {
        let now = Instant::now();
        self.pings.retain(|waiter| !waiter.answer.is_closed());
        let peer = self
            .engine
            .peers(now)
            .into_iter()
            .find(|peer| (peer.network, peer.node) == (network, node));
        let Some(peer) = peer.filter(|_| self.pings.len() < MAX_WAITING) else {
            let message = format!("no member {node} can be asked now: see `tombolo peers`");
            let _ = answer.send(Failure::new(FailureKind::Failed, message).into());
            return;
        };
        let path = self.peer_report(peer.clone()).path;
        let (sender, receiver) = oneshot::channel();
        let id = self.engine.ping(network, peer.identity, now);
        self.pings.push(PingWaiter {
            network,
            peer: peer.identity,
            id,
            since: now,
            waited: None,
            path: path.clone(),
            answer: sender,
        });
        let patience = Duration::from_millis(u64::from(patience_ms)).min(MAX_PATIENCE);
        tokio::spawn(async move {
            let report = match timeout(patience, receiver).await {
                Ok(Ok((path, taken, waited))) => PingReport {
                    path,
                    latency_ms: Some(taken.as_secs_f64() * 1e3),
                    session_ms: waited.map(|waited| waited.as_secs_f64() * 1e3),
                    has_session: true,
                },
                Ok(Err(_)) | Err(_) => PingReport {
                    path,
                    latency_ms: None,
                    session_ms: None,
                    has_session: id.is_some(),
                },
            };
            // If who asked has gone away, nobody wants to know.
            let _ = answer.send(Answer::done(&report));
        });
    }

    /// There is a session: whoever waited for it is asked for now.
    pub(super) fn ping_waiting(&mut self, network: NetworkId, peer: IdentityKey) {
        let now = Instant::now();
        for waiter in &mut self.pings {
            if waiter.id.is_none() && (waiter.network, waiter.peer) == (network, peer) {
                waiter.id = self.engine.ping(network, peer, now);
                waiter.waited = Some(now.duration_since(waiter.since));
            }
        }
    }

    /// A question was answered.
    pub(super) fn ping_answered(&mut self, id: u64, way: Way, taken: Duration) {
        if let Some(position) = self.pings.iter().position(|waiter| waiter.id == Some(id)) {
            let waiter = self.pings.remove(position);
            let path = PathReport {
                via: waiter.path.via,
                mtu: waiter.path.mtu,
                ..self.path_report(Some(way))
            };
            let _ = waiter.answer.send((path, taken, waiter.waited));
        }
    }
}
