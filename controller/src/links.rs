//! What members tell of their links, on its way to the store: gathered for a moment, because it comes from all of them and
//! nobody needs it at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tombolo_proto::{
    id::NetworkId,
    key::IdentityKey,
    links::{Carried, LinkReport, MAX_LINKS},
};

use crate::{publish::Registry, stop::Stop, store::Store};

/// How long reports are gathered.
const GATHER: Duration = Duration::from_secs(2);
/// Bytes per second that are believed of one member: sums have to fit the columns of the store.
const MAX_RATE: u64 = 1 << 40;

/// What a member told.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) report: LinkReport,
    /// None of members that do not tell.
    pub(crate) carried: Option<Carried>,
}

/// Reports that wait to be written; the last one of each member.
#[derive(Debug, Default)]
pub(crate) struct Links(Mutex<BTreeMap<(NetworkId, IdentityKey), Told>>);

impl Links {
    /// Takes what a member of this network told.
    pub(crate) fn take(&self, network: NetworkId, member: IdentityKey, mut told: Told) {
        let report = &mut told.report;
        report.links.truncate(MAX_LINKS);
        report.sent = report.sent.min(MAX_RATE);
        report.received = report.received.min(MAX_RATE);
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.insert((network, member), told);
    }

    /// Writes what was told, until told to stop.
    pub(crate) async fn run(&self, store: &Store, registry: &Registry, mut stop: Stop) {
        let mut due = tokio::time::interval(GATHER);
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = due.tick() => self.write(store, registry).await,
                () = stop.wait() => return,
            }
        }
    }

    async fn write(&self, store: &Store, registry: &Registry) {
        let told = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if told.is_empty() {
            return;
        }
        match store.put_links(&told).await {
            Ok(()) => {
                let networks: BTreeSet<NetworkId> = told.keys().map(|(id, _)| *id).collect();
                for network in networks {
                    registry.tell(network, None, "links");
                }
            }
            // The next report says it again.
            Err(error) if error.is_outage() => store.health().suspect(&error),
            Err(error) => {
                tracing::error!(%error, "could not write what members tell of their links")
            }
        }
    }
}
