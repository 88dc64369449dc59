//! A seeded network: what is sent arrives later, perhaps twice, perhaps out of order, perhaps not at all.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::simnat::SimNat;

/// How the network treats datagrams.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conditions {
    /// Least time on the way.
    pub delay: Duration,
    /// Added at random: with more than the gap between two datagrams, they overtake each other.
    pub jitter: Duration,
    /// Chance to get lost.
    pub loss: f64,
    /// Chance to arrive a second time.
    pub duplication: f64,
    /// Chance that a bit turns over.
    pub corruption: f64,
}

impl Conditions {
    /// 20 ms, in order, nothing lost.
    pub const CLEAN: Self = Self {
        delay: Duration::from_millis(20),
        jitter: Duration::ZERO,
        loss: 0.0,
        duplication: 0.0,
        corruption: 0.0,
    };
    /// What a bad mobile network does.
    pub const ROUGH: Self = Self {
        delay: Duration::from_millis(20),
        jitter: Duration::from_millis(30),
        loss: 0.2,
        duplication: 0.1,
        corruption: 0.0,
    };
}

/// A datagram that arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Where it came from.
    pub from: SocketAddr,
    /// Whom it is for.
    pub to: SocketAddr,
    /// All of it.
    pub payload: Vec<u8>,
}

/// What a datagram looks like from outside: enough to tell the messages of a handshake apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Looks {
    /// Where it comes from.
    pub from: SocketAddr,
    /// Its first byte.
    pub first: u8,
    /// Its bytes.
    pub length: usize,
}

impl From<&Delivery> for Looks {
    fn from(delivery: &Delivery) -> Self {
        Self {
            from: delivery.from,
            first: delivery.payload.first().copied().unwrap_or_default(),
            length: delivery.payload.len(),
        }
    }
}

/// What happens to a datagram that a test picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It gets lost.
    Lost,
    /// It arrives twice.
    Doubled,
    /// It arrives so much later.
    Late(Duration),
}

/// The network.
#[derive(Debug)]
pub struct SimNet {
    /// May be changed at any time; holds for what is sent from then on.
    pub conditions: Conditions,
    rng: StdRng,
    in_flight: BTreeMap<(Instant, u64), Delivery>,
    sequence: u64,
    routers: Vec<SimNat>,
    /// The router of each host, or of each router that is behind another.
    behind: BTreeMap<IpAddr, usize>,
    unreachable: BTreeSet<SocketAddr>,
    /// Datagrams with more bytes get lost without a word.
    hole: usize,
    /// Addresses of different sides do not reach each other; those not named are on side 0.
    sides: BTreeMap<SocketAddr, u8>,
    /// Pairs that do not reach each other, both ways round.
    parted: BTreeSet<[SocketAddr; 2]>,
    /// Datagrams yet to be sent that will get lost, counted from the next.
    doomed: BTreeSet<u64>,
    sent: u64,
    /// The fate of the next so many datagrams of these looks.
    picked: Vec<(Looks, u32, Fate)>,
    /// Sees everything that is sent, also what gets lost; kept only while a test listens.
    tap: Option<Vec<Delivery>>,
}

impl SimNet {
    /// A network whose accidents follow from `seed`.
    #[must_use]
    pub fn new(conditions: Conditions, seed: u64) -> Self {
        Self {
            conditions,
            rng: StdRng::seed_from_u64(seed),
            in_flight: BTreeMap::new(),
            sequence: 0,
            routers: Vec::new(),
            behind: BTreeMap::new(),
            unreachable: BTreeSet::new(),
            hole: usize::MAX,
            sides: BTreeMap::new(),
            parted: BTreeSet::new(),
            doomed: BTreeSet::new(),
            sent: 0,
            picked: Vec::new(),
            tap: None,
        }
    }

    /// Puts the host of this address behind a NAT of its own.
    pub fn set_nat(&mut self, host: IpAddr, nat: SimNat) {
        let router = self.add_router(nat);
        self.put_behind(host, router);
    }

    /// Adds a router with NAT.
    pub fn add_router(&mut self, nat: SimNat) -> usize {
        self.routers.push(nat);
        self.routers.len() - 1
    }

    /// Puts a host behind a router, or a router by its public address behind another.
    pub fn put_behind(&mut self, host: IpAddr, router: usize) {
        self.behind.insert(host, router);
    }

    /// Whether a NAT is in front of this place, so that nobody connects to it by TCP.
    #[must_use]
    pub fn is_hidden(&self, place: SocketAddr) -> bool {
        self.behind.contains_key(&place.ip())
    }

    /// A router forgets everything, as one that is switched off and on.
    pub fn restart_router(&mut self, router: usize) {
        self.routers[router].forget();
    }

    /// What a router does.
    #[must_use]
    pub fn router(&self, router: usize) -> &SimNat {
        &self.routers[router]
    }

    /// Where others see a datagram that goes from one socket to another come from.
    pub fn seen_as(&mut self, from: SocketAddr, by: SocketAddr) -> SocketAddr {
        self.translated(from, by).unwrap_or(from)
    }

    /// What a host outside answers to the question of a socket where it is seen; `None` if the question does not get there.
    pub fn answered(
        &mut self,
        from: SocketAddr,
        by: SocketAddr,
        now: Instant,
    ) -> Option<SocketAddr> {
        self.set_now(now);
        self.translated(from, by)
    }

    /// Where a datagram comes from once it is on the network of its destination; `None` if it never gets there.
    fn translated(&mut self, mut from: SocketAddr, to: SocketAddr) -> Option<SocketAddr> {
        let network_of = self.behind.get(&to.ip()).copied();
        while let Some(&router) = self.behind.get(&from.ip())
            && network_of != Some(router)
        {
            let nat = &mut self.routers[router];
            let behaviour = nat.behaviour();
            if behaviour.blocks || (to.ip() == nat.public() && !behaviour.hairpin) {
                return None;
            }
            from = nat.outbound(from, to);
        }
        (network_of == self.behind.get(&from.ip()).copied()).then_some(from)
    }

    /// Takes a datagram.
    pub fn send(&mut self, mut datagram: Delivery, now: Instant) {
        self.set_now(now);
        let Some(from) = self.translated(datagram.from, datagram.to) else {
            self.sent += 1;
            return;
        };
        datagram.from = from;
        if let Some(tap) = &mut self.tap {
            tap.push(datagram.clone());
        }
        if datagram.payload.len() > self.hole {
            return;
        }
        let is_doomed = self.doomed.remove(&self.sent);
        self.sent += 1;
        let is_cut = is_doomed || self.is_cut(datagram.from, datagram.to);
        if is_cut || self.rng.random_bool(self.conditions.loss) {
            return;
        }
        let fate = self.fate(Looks::from(&datagram));
        if self.conditions.corruption > 0.0 && self.rng.random_bool(self.conditions.corruption) {
            let at = self.rng.random_range(0..datagram.payload.len().max(1));
            if let Some(byte) = datagram.payload.get_mut(at) {
                *byte ^= 1 << self.rng.random_range(0..8);
            }
        }
        if fate == Some(Fate::Lost) {
            return;
        }
        let late = match fate {
            Some(Fate::Late(late)) => late,
            Some(Fate::Lost | Fate::Doubled) | None => Duration::ZERO,
        };
        if self.rng.random_bool(self.conditions.duplication) || fate == Some(Fate::Doubled) {
            self.enqueue(datagram.clone(), now);
        }
        self.enqueue(datagram, now + late);
    }

    fn set_now(&mut self, now: Instant) {
        for router in &mut self.routers {
            router.set_now(now);
        }
    }

    /// How many of the datagrams that were picked have not come by yet.
    #[must_use]
    pub fn still_picked(&self) -> u32 {
        self.picked.iter().map(|(_, times, _)| times).sum()
    }

    fn fate(&mut self, looks: Looks) -> Option<Fate> {
        let (_, times, fate) = self
            .picked
            .iter_mut()
            .find(|(picked, times, _)| *picked == looks && *times > 0)?;
        *times -= 1;
        Some(*fate)
    }

    /// Decides what happens to the next `times` datagrams that look like this.
    pub fn pick(&mut self, looks: Looks, times: u32, fate: Fate) {
        self.picked.push((looks, times, fate));
    }

    fn enqueue(&mut self, datagram: Delivery, now: Instant) {
        let jitter = self
            .conditions
            .jitter
            .mul_f64(self.rng.random_range(0.0..1.0));
        let arrival = now + self.conditions.delay + jitter;
        self.in_flight.insert((arrival, self.sequence), datagram);
        self.sequence += 1;
    }

    /// From now on datagrams with more bytes get lost without a word.
    pub const fn set_hole(&mut self, above: usize) {
        self.hole = above;
    }

    /// Loses a datagram that is yet to be sent: 0 is the next.
    pub fn lose(&mut self, ahead: u64) {
        self.doomed.insert(self.sent + ahead);
    }

    /// Cuts the cable of an address, or plugs it in again.
    pub fn set_reachable(&mut self, address: SocketAddr, reachable: bool) {
        if reachable {
            self.unreachable.remove(&address);
        } else {
            self.unreachable.insert(address);
        }
    }

    /// Puts an address on a side of a network that is parted.
    pub fn set_side(&mut self, address: SocketAddr, side: u8) {
        self.sides.insert(address, side);
    }

    /// Cuts the link between two addresses, or joins it again. Others reach both.
    pub fn set_parted(&mut self, one: SocketAddr, other: SocketAddr, parted: bool) {
        for pair in [[one, other], [other, one]] {
            if parted {
                self.parted.insert(pair);
            } else {
                self.parted.remove(&pair);
            }
        }
    }

    /// Joins all sides, and plugs every cable in again.
    pub fn mend(&mut self) {
        self.sides.clear();
        self.parted.clear();
        self.unreachable.clear();
    }

    /// The side that an address is on.
    #[must_use]
    pub fn side(&self, address: SocketAddr) -> u8 {
        self.sides.get(&address).copied().unwrap_or_default()
    }

    /// Whether nothing gets from one address to another now.
    #[must_use]
    pub fn is_cut(&self, one: SocketAddr, other: SocketAddr) -> bool {
        [one, other]
            .iter()
            .any(|address| self.unreachable.contains(address))
            || self.side(one) != self.side(other)
            || self.parted.contains(&[one, other])
    }

    /// When the next datagram arrives.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.in_flight.keys().next().map(|(arrival, _)| *arrival)
    }

    /// A datagram that has arrived.
    pub fn poll_delivery(&mut self, now: Instant) -> Option<Delivery> {
        let entry = self.in_flight.first_entry()?;
        let mut datagram = (entry.key().0 <= now).then(|| entry.remove())?;
        self.set_now(now);
        // What a NAT does not let in stays at its public address, where nobody is.
        while let Some(inside) = self
            .routers
            .iter()
            .find_map(|nat| nat.inbound(datagram.from, datagram.to))
        {
            datagram.to = inside;
        }
        Some(datagram)
    }

    /// Begins to listen.
    pub fn listen(&mut self) {
        self.tap = Some(Vec::new());
    }

    /// What was sent since listening began or this was last asked.
    pub fn heard(&mut self) -> Vec<Delivery> {
        self.tap.as_mut().map(std::mem::take).unwrap_or_default()
    }
}
