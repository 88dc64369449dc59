//! What rules stopped: how often each did, and which flows lately, for people.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use tombolo_proto::rules::Action;

use super::packet::Segment;
use crate::fib::PeerSlot;

/// Stopped flows that are remembered: what a person reads when something does not get through.
pub(super) const MAX_STOPPED: usize = 64;

/// A flow that was stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoppedFlow {
    /// Who sent it.
    pub peer: PeerSlot,
    /// The rule, from 1; `None` for the default.
    pub rule: Option<usize>,
    /// The rule as text, or `default deny`.
    pub text: Arc<str>,
    /// From where.
    pub source: IpAddr,
    /// To where.
    pub destination: IpAddr,
    /// Its protocol's number.
    pub protocol: u8,
    /// Its destination port, if it has one.
    pub port: Option<u16>,
    /// How many packets.
    pub packets: u64,
    /// Second of the last one, on the clock of the flows.
    pub(super) seen: u32,
}

/// Counters of every rule, which live on while rules before and behind it come and go.
#[derive(Debug)]
pub(super) struct Stopped {
    lines: Vec<Counted>,
    default: Counted,
    lately: Arc<Mutex<VecDeque<StoppedFlow>>>,
}

#[derive(Debug, Clone)]
struct Counted {
    text: Arc<str>,
    packets: Arc<AtomicU64>,
}

impl Stopped {
    pub(super) fn new(rules: Vec<String>, default: Action, previous: Option<&Self>) -> Self {
        let mut known: BTreeMap<Arc<str>, Vec<Counted>> = BTreeMap::new();
        for counted in previous
            .iter()
            .flat_map(|previous| previous.lines.iter().rev())
        {
            let same = known.entry(Arc::clone(&counted.text)).or_default();
            same.push(counted.clone());
        }
        let mut counted = |text: String| {
            let text: Arc<str> = text.into();
            let kept = known.get_mut(&text).and_then(Vec::pop);
            kept.unwrap_or_else(|| Counted::new(text))
        };
        let lines = rules.into_iter().map(&mut counted).collect();
        let default = match (default, previous) {
            (Action::Deny, Some(previous)) => previous.default.clone(),
            _ => Counted::new("default deny".into()),
        };
        Self {
            lines,
            default,
            lately: previous.map_or_else(Arc::default, |previous| Arc::clone(&previous.lately)),
        }
    }

    /// Counts a packet that a rule stopped, from 0. The list of flows is for people: nobody waits for it.
    pub(super) fn count(&self, rule: Option<usize>, peer: PeerSlot, segment: &Segment, now: u32) {
        let counted = rule
            .and_then(|at| self.lines.get(at))
            .unwrap_or(&self.default);
        counted.packets.fetch_add(1, Relaxed);
        let Ok(mut lately) = self.lately.try_lock() else {
            return;
        };
        let port = segment.port();
        let same = lately.iter_mut().find(|flow| {
            flow.destination == segment.destination
                && flow.port == port
                && flow.source == segment.source
                && flow.protocol == segment.protocol
                && flow.peer == peer
                && flow.text == counted.text
        });
        if let Some(flow) = same {
            flow.packets += 1;
            flow.seen = now;
            flow.rule = rule.map(|at| at + 1);
            return;
        }
        if lately.len() >= MAX_STOPPED
            && let Some((oldest, _)) = lately.iter().enumerate().min_by_key(|(_, flow)| flow.seen)
        {
            lately.remove(oldest);
        }
        lately.push_back(StoppedFlow {
            peer,
            rule: rule.map(|at| at + 1),
            text: Arc::clone(&counted.text),
            source: segment.source,
            destination: segment.destination,
            protocol: segment.protocol,
            port,
            packets: 1,
            seen: now,
        });
    }

    /// Every rule's text and how many packets it stopped, in order; the default last.
    pub(super) fn by_rule(&self) -> impl Iterator<Item = (&str, u64)> {
        let all = self.lines.iter().chain([&self.default]);
        all.map(|counted| (&*counted.text, counted.packets.load(Relaxed)))
    }

    /// The flows stopped lately, newest first.
    pub(super) fn lately(&self) -> Vec<StoppedFlow> {
        let lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        let mut flows: Vec<_> = lately.iter().cloned().collect();
        flows.sort_by_key(|flow| std::cmp::Reverse(flow.seen));
        flows
    }
}

impl Counted {
    fn new(text: Arc<str>) -> Self {
        Self {
            text,
            packets: Arc::default(),
        }
    }
}
