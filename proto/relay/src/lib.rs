//! A relay's decisions: who is its client, who may send to whom, how much, and what becomes of each frame. Nodes and
//! controllers relay by the same rules, so both use this crate. It is pure: time and randomness come in, and values go out.
//!
//! [`Relay`] is shared. Forwarding threads ask it about each frame of kind `30` that claims to come from a client
//! ([`Relay::take`]); the owner of the slow path passes on what members say on authenticated channels
//! ([`Relay::handle_message`]), tells it who is no member any more ([`Relay::remove`]), and lets time pass
//! ([`Relay::handle_timeout`]). Only relayed frames meet its locks.
//!
//! Nothing is allocated or answered for a frame whose tag does not verify. What a client may do is bounded: channels,
//! bytes per second ([`Limits`]); so is what all of them may do together.

mod bucket;
mod client;
mod counters;
mod verdict;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic::Ordering::Relaxed,
    },
    time::{Duration, Instant},
};

use rand::RngCore;
use tombolo_proto::{
    frame::{self, FrameKind},
    id::NetworkId,
    key::IdentityKey,
    links::Carried,
    relay::{
        PING_PAYLOAD, RELAY_HEADER, RelayHeader, RelayIndex, RelayKey, RelayMessage, RelayOp,
        RelayRefusal,
    },
};

use bucket::Bucket;
use client::Client;
pub use counters::{RelayCounters, RelayTotals};
pub use verdict::{Limits, Outlet, Verdict};

/// A client is forgotten when it has not pinged for this long: six pings of a client that is idle.
const FORGET_AFTER: Duration = Duration::from_secs(150);
/// A grant is repeated for so long, because its first copy may be lost. A client that asks later, or when it has pinged, has
/// lost its state, and with it the counter of its pings: it gets another key.
const REPEAT_GRANT: Duration = Duration::from_secs(5);
/// Between two calls of [`Relay::handle_timeout`] while frames are forwarded, and while clients are idle. A full budget
/// lasts for the longer one.
const TICK: Duration = Duration::from_millis(100);
const IDLE_TICK: Duration = Duration::from_millis(500);
/// Largest frame that is forwarded: a jumbo network's, with header and tag.
const MAX_FRAME: usize = 9_216;

/// What an index stands for.
#[derive(Debug)]
enum Entry {
    /// A client itself.
    Client(Arc<Client>),
    /// One direction of a channel.
    Channel {
        from: Arc<Client>,
        to: Arc<Client>,
        /// The other direction, which is what the receiver answers on.
        back: RelayIndex,
    },
}

#[derive(Debug, Default)]
struct State {
    clients: BTreeMap<(NetworkId, IdentityKey), Held>,
    entries: HashMap<RelayIndex, Entry>,
    /// Bytes that were forwarded for clients that are gone.
    carried_before: BTreeMap<NetworkId, u64>,
    last_tick: Option<Instant>,
    /// Whether frames came between the last two ticks, and how many there had been.
    is_busy: bool,
    frames: u64,
}

#[derive(Debug)]
struct Held {
    client: Arc<Client>,
    granted_at: Instant,
    heard_at: Instant,
    /// To whom there are channels, and by what index this client sends.
    channels: BTreeMap<IdentityKey, RelayIndex>,
}

/// A relay, shared by all threads.
#[derive(Debug)]
pub struct Relay {
    limits: Limits,
    state: RwLock<State>,
    total: Bucket,
    counters: RelayCounters,
}

impl Default for Relay {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Relay {
    /// A relay without clients.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: RwLock::default(),
            total: Bucket::full(limits.total_rate),
            counters: RelayCounters::default(),
        }
    }

    /// What has been forwarded and dropped so far.
    #[must_use]
    pub fn totals(&self) -> RelayTotals {
        self.counters.totals(self.read().clients.len())
    }

    /// What is carried for one network, and has been.
    #[must_use]
    pub fn carried(&self, network: NetworkId) -> Carried {
        let state = self.read();
        let all = (network, IdentityKey([0; 32]))..=(network, IdentityKey([u8::MAX; 32]));
        let before = Carried {
            clients: 0,
            bytes: state.carried_before.get(&network).copied().unwrap_or(0),
        };
        state
            .clients
            .range(all)
            .fold(before, |sum, (_, held)| Carried {
                clients: sum.clients + 1,
                bytes: sum.bytes + held.client.carried.load(Relaxed),
            })
    }

    // The fast path.

    /// Takes a frame that came from `from`, and makes it what is to be sent.
    pub fn take(&self, from: Outlet, frame: &mut [u8]) -> Verdict {
        let verdict = self.judge(from, frame);
        match verdict {
            Ok(verdict) => verdict,
            Err(reason) => {
                self.counters.dropped(reason).fetch_add(1, Relaxed);
                Verdict::Drop
            }
        }
    }

    fn judge(&self, from: Outlet, frame: &mut [u8]) -> Result<Verdict, Dropped> {
        let header = RelayHeader::decode(frame).ok_or(Dropped::Malformed)?;
        let state = self.read();
        let entry = state.entries.get(&header.index).ok_or(Dropped::Unknown)?;
        match (header.op, entry) {
            (RelayOp::Forward, Entry::Channel { from, to, back }) => {
                self.forward(header, from, to, *back, frame)
            }
            (RelayOp::Ping, Entry::Client(client)) => {
                answer(header, client, from, frame).map(|()| Verdict::Answer)
            }
            (RelayOp::Forward | RelayOp::Ping, _) => Err(Dropped::Unknown),
            (RelayOp::Deliver | RelayOp::Pong, _) => Err(Dropped::Malformed),
        }
    }

    fn forward(
        &self,
        header: RelayHeader,
        from: &Client,
        to: &Client,
        back: RelayIndex,
        frame: &mut [u8],
    ) -> Result<Verdict, Dropped> {
        if !header.verify(&from.key, frame) {
            return Err(Dropped::BadTag);
        }
        let payload = frame.get(RELAY_HEADER..).unwrap_or_default();
        if payload.len() > MAX_FRAME || !is_forwardable(payload) {
            return Err(Dropped::Malformed);
        }
        let outlet = to.outlet().ok_or(Dropped::Unreachable)?;
        let bytes = u64::try_from(frame.len()).unwrap_or(u64::MAX);
        if !from.bucket.spend(bytes) {
            return Err(Dropped::OverBudget);
        }
        if !self.total.spend(bytes) {
            return Err(Dropped::OverBudget);
        }
        let delivered = RelayHeader {
            op: RelayOp::Deliver,
            index: back,
        };
        delivered.write(&to.key, frame);
        self.counters.forwarded(bytes);
        from.carried.fetch_add(bytes, Relaxed);
        Ok(Verdict::Forward(outlet))
    }

    // The slow path.

    /// Takes what a current member of `network` said on an authenticated channel; what to answer there.
    pub fn handle_message(
        &self,
        network: NetworkId,
        member: IdentityKey,
        message: &RelayMessage,
        rng: &mut dyn RngCore,
        now: Instant,
    ) -> Option<RelayMessage> {
        let mut state = self.write();
        match message {
            RelayMessage::Ask => Some(self.grant(&mut state, (network, member), rng, now)),
            RelayMessage::Open { peer } => {
                let answer = self.open(&mut state, network, member, *peer, rng);
                Some(answer.unwrap_or_else(|reason| RelayMessage::Refused {
                    peer: Some(*peer),
                    reason,
                }))
            }
            RelayMessage::Farewell => {
                state.remove(network, &member);
                None
            }
            RelayMessage::Grant { .. }
            | RelayMessage::Opened { .. }
            | RelayMessage::Refused { .. } => None,
        }
    }

    fn grant(
        &self,
        state: &mut State,
        (network, member): (NetworkId, IdentityKey),
        rng: &mut dyn RngCore,
        now: Instant,
    ) -> RelayMessage {
        if let Some(held) = state.clients.get(&(network, member))
            && now.saturating_duration_since(held.granted_at) < REPEAT_GRANT
            && !held.client.has_pinged()
        {
            return held.client.grant();
        }
        state.remove(network, &member);
        if state.clients.len() >= self.limits.clients {
            return RelayMessage::Refused {
                peer: None,
                reason: RelayRefusal::Full,
            };
        }
        let mut key = [0; 16];
        rng.fill_bytes(&mut key);
        let index = state.free_index(rng);
        let client = Arc::new(Client::new(index, RelayKey(key), self.limits.client_rate));
        let grant = client.grant();
        state
            .entries
            .insert(index, Entry::Client(Arc::clone(&client)));
        let held = Held {
            client,
            granted_at: now,
            heard_at: now,
            channels: BTreeMap::new(),
        };
        state.clients.insert((network, member), held);
        state.last_tick.get_or_insert(now);
        grant
    }

    fn open(
        &self,
        state: &mut State,
        network: NetworkId,
        member: IdentityKey,
        peer: IdentityKey,
        rng: &mut dyn RngCore,
    ) -> Result<RelayMessage, RelayRefusal> {
        let held = state
            .clients
            .get(&(network, member))
            .ok_or(RelayRefusal::NotAClient)?;
        if let Some(&channel) = held.channels.get(&peer) {
            return Ok(RelayMessage::Opened { peer, channel });
        }
        if held.channels.len() >= self.limits.channels {
            return Err(RelayRefusal::Full);
        }
        let other = state
            .clients
            .get(&(network, peer))
            .filter(|other| peer != member && other.client.outlet().is_some())
            .ok_or(RelayRefusal::NotHere)?;
        let ends = [Arc::clone(&held.client), Arc::clone(&other.client)];
        let there = state.free_index(rng);
        let back = loop {
            let index = state.free_index(rng);
            if index != there {
                break index;
            }
        };
        let [near, far] = ends;
        for (index, from, to, back) in [(there, &near, &far, back), (back, &far, &near, there)] {
            let entry = Entry::Channel {
                from: Arc::clone(from),
                to: Arc::clone(to),
                back,
            };
            state.entries.insert(index, entry);
        }
        for (owner, other, index) in [(member, peer, there), (peer, member, back)] {
            if let Some(held) = state.clients.get_mut(&(network, owner)) {
                held.channels.insert(other, index);
            }
        }
        Ok(RelayMessage::Opened {
            peer,
            channel: there,
        })
    }

    /// Whoever is no member any more is no client either.
    pub fn remove(&self, network: NetworkId, member: &IdentityKey) {
        if !self.read().clients.is_empty() {
            self.write().remove(network, member);
        }
    }

    /// Keeps only clients for which `is_member` holds.
    pub fn retain(&self, is_member: impl Fn(NetworkId, &IdentityKey) -> bool) {
        let gone: Vec<(NetworkId, IdentityKey)> = self
            .read()
            .clients
            .keys()
            .filter(|(network, member)| !is_member(*network, member))
            .copied()
            .collect();
        if gone.is_empty() {
            return;
        }
        let mut state = self.write();
        for (network, member) in gone {
            state.remove(network, &member);
        }
    }

    /// Nobody is forwarded for any more; everybody who was is returned, to be told.
    pub fn close(&self) -> Vec<(NetworkId, IdentityKey)> {
        let mut state = self.write();
        let gone: Vec<_> = state.clients.keys().copied().collect();
        for (network, member) in &gone {
            state.remove(*network, member);
        }
        state.last_tick = None;
        gone
    }

    /// A stream has ended: its clients are nowhere until they ping.
    pub fn stream_closed(&self, stream: u64) {
        for held in self.read().clients.values() {
            held.client.leave(Outlet::Stream(stream));
        }
    }

    /// The networks that there are clients of.
    #[must_use]
    pub fn networks(&self) -> BTreeSet<NetworkId> {
        let state = self.read();
        state.clients.keys().map(|(network, _)| *network).collect()
    }

    /// Whether somebody is a client.
    #[must_use]
    pub fn has_client(&self, network: NetworkId, member: &IdentityKey) -> bool {
        self.read().clients.contains_key(&(network, *member))
    }

    /// When [`Self::handle_timeout`] wants to be called next; never without clients.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let state = self.read();
        let last = state.last_tick.filter(|_| !state.clients.is_empty())?;
        Some(last + if state.is_busy { TICK } else { IDLE_TICK })
    }

    /// Fills budgets and forgets who has gone.
    pub fn handle_timeout(&self, now: Instant) {
        let mut state = self.write();
        let elapsed = state
            .last_tick
            .map_or(TICK, |last| now.saturating_duration_since(last));
        state.last_tick = Some(now);
        let frames = self.counters.taken();
        state.is_busy = std::mem::replace(&mut state.frames, frames) != frames;
        self.total.refill(elapsed);
        let mut gone = Vec::new();
        for (name, held) in &mut state.clients {
            held.client.bucket.refill(elapsed);
            if held.client.was_heard() {
                held.heard_at = now;
            } else if now.saturating_duration_since(held.heard_at) >= FORGET_AFTER {
                gone.push(*name);
            }
        }
        for (network, member) in gone {
            state.remove(network, &member);
        }
        if state.clients.is_empty() {
            state.last_tick = None;
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn free_index(&self, rng: &mut dyn RngCore) -> RelayIndex {
        loop {
            let index = RelayIndex(rng.next_u32());
            if !self.entries.contains_key(&index) {
                return index;
            }
        }
    }

    fn remove(&mut self, network: NetworkId, member: &IdentityKey) {
        let Some(held) = self.clients.remove(&(network, *member)) else {
            return;
        };
        *self.carried_before.entry(network).or_default() += held.client.carried.load(Relaxed);
        self.entries.remove(&held.client.index);
        for (peer, there) in held.channels {
            self.entries.remove(&there);
            let other = self.clients.get_mut(&(network, peer));
            if let Some(back) = other.and_then(|other| other.channels.remove(member)) {
                self.entries.remove(&back);
            }
        }
    }
}

/// Takes a client's ping and makes it the pong. The newest ping says where the client is.
fn answer(
    header: RelayHeader,
    client: &Client,
    from: Outlet,
    frame: &mut [u8],
) -> Result<(), Dropped> {
    if !header.verify(&client.key, frame) {
        return Err(Dropped::BadTag);
    }
    let counter = frame
        .get(RELAY_HEADER..RELAY_HEADER + PING_PAYLOAD)
        .and_then(|payload| payload.first_chunk().copied())
        .map(u64::from_le_bytes)
        .ok_or(Dropped::Malformed)?;
    if !client.take_ping(counter, from) {
        return Err(Dropped::Replayed);
    }
    let pong = RelayHeader {
        op: RelayOp::Pong,
        index: header.index,
    };
    pong.write(&client.key, frame);
    Ok(())
}

/// Whether a frame is something that one node says to another; never one that was relayed before.
fn is_forwardable(payload: &[u8]) -> bool {
    match frame::kind(payload) {
        Some(
            FrameKind::WireGuard(_)
            | FrameKind::LaneData
            | FrameKind::LaneControl
            | FrameKind::LaneFragment
            | FrameKind::Probe,
        ) => true,
        Some(FrameKind::Stun | FrameKind::Relay) | None => false,
    }
}

use counters::Dropped;

#[cfg(test)]
mod tests;
