//! One random life of a network with its controllers.

mod administrators;
mod ending;

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use tombolo_domain::command::Command;
use tombolo_proto::{
    config::{DirectoryEntry, MemberCert},
    key::Seed,
    signed::Signed,
};
use tombolo_tests::{
    simnet::Conditions,
    world::{Name, World, disk::Crash},
};

use super::{oracle::Oracle, registry::Registry};
use administrators::deauthorised;

/// What clocks jump by, at most.
const TEN_YEARS: i64 = 10 * 365 * 86_400;
/// Nested and disjoint, so that longest prefixes matter.
const PREFIXES: [&str; 6] = [
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.2.0/24",
    "10.1.2.3/32",
    "10.2.0.0/16",
    "10.240.0.0/24",
];
/// The longest that anything may need to be right again once nothing is in the way: a pause between attempts to connect,
/// a look at the store, a comparison of digests, a look at the clock.
const HEALS: Duration = Duration::from_secs(100);
const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// How large a life is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) nodes: u8,
    pub(super) replicas: u8,
    pub(super) steps: usize,
    /// Packets between random nodes after each step.
    pub(super) packets: usize,
    /// Whether keys of replicas are revoked.
    pub(super) revokes: bool,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Authorise,
    Deauthorise,
    Remove,
    Address,
    Route,
    Unroute,
    KillNode,
    CrashNode,
    RestartNode,
    RestartOldNode,
    MoveNode,
    NodeClock,
    KillController,
    RestartController,
    CutStore,
    StoreDown,
    StoreUp,
    StoreClock,
    Upkeep,
    Forge,
    CutNode,
    Part,
    Heal,
}

const STEPS: [(Step, u32); 23] = [
    (Step::Authorise, 6),
    (Step::Deauthorise, 3),
    (Step::Remove, 3),
    (Step::Address, 2),
    (Step::Route, 3),
    (Step::Unroute, 2),
    (Step::KillNode, 2),
    (Step::CrashNode, 2),
    (Step::RestartNode, 4),
    (Step::RestartOldNode, 2),
    (Step::MoveNode, 1),
    (Step::NodeClock, 1),
    (Step::KillController, 2),
    (Step::RestartController, 3),
    (Step::CutStore, 1),
    (Step::StoreDown, 1),
    (Step::StoreUp, 2),
    (Step::StoreClock, 1),
    (Step::Upkeep, 1),
    (Step::Forge, 2),
    (Step::CutNode, 2),
    (Step::Part, 2),
    (Step::Heal, 3),
];

/// One seed.
pub(super) struct Life {
    seed: u64,
    size: Size,
    rng: StdRng,
    /// Decides about keys, so that all else happens as it would without.
    keys: StdRng,
    world: World,
    oracle: Oracle,
    registry: Registry,
    wishes: u64,
    routes: u32,
    log: Vec<String>,
}

impl Life {
    pub(super) fn new(seed: u64, size: Size) -> Self {
        let is_clean = seed.is_multiple_of(2);
        let conditions = if is_clean {
            Conditions::CLEAN
        } else {
            Conditions::ROUGH
        };
        let mut world = World::with_controllers(conditions, seed, size.nodes, size.replicas);
        world.keep_diary();
        for name in world.names() {
            world.restart(name);
        }
        Self {
            seed,
            size,
            rng: StdRng::seed_from_u64(seed),
            keys: StdRng::seed_from_u64(!seed),
            oracle: Oracle::new(&world, is_clean),
            world,
            registry: Registry::default(),
            wishes: 0,
            routes: 0,
            log: Vec::new(),
        }
    }

    /// Lives it, to the end where all is well again. Returns how many packets arrived.
    pub(super) fn run(mut self) -> u64 {
        self.run_for(SECOND * 2);
        for name in self.world.names() {
            if !self.rng.random_ratio(1, 5) {
                self.authorise(name);
            }
        }
        self.run_for(SECOND * 3);
        for _ in 0..self.size.steps {
            self.step();
            if self.size.revokes && self.keys.random_ratio(1, 8) {
                self.revoke_a_key();
            }
            let pauses = [MILLISECOND * 30, SECOND / 2, SECOND * 3, SECOND * 12];
            let pause = *pauses.choose(&mut self.rng).expect("there are pauses");
            self.run_for(pause);
            for _ in 0..self.size.packets {
                self.send_something();
            }
            self.run_for(MILLISECOND * 200);
        }
        self.heal_everything();
        self.run_for(HEALS);
        self.judge_the_end();
        self.oracle.delivered
    }

    fn run_for(&mut self, duration: Duration) {
        self.world.run_for(duration);
        self.judge();
    }

    fn judge(&mut self) {
        let answers = std::mem::take(&mut self.world.controllers_mut().0.answers);
        let controllers = self.world.controllers();
        let stored = self.registry.judge(&controllers.store, &answers);
        let verdict = stored.and_then(|()| self.oracle.judge(&mut self.world));
        if let Err(what) = verdict {
            self.fail(&what);
        }
    }

    #[track_caller]
    fn fail(&self, what: &str) -> ! {
        let from = self.log.len().saturating_sub(30);
        let story = self.log[from..].join("\n");
        panic!(
            "seed {} of {:?}: {what}\nthe last steps were:\n{story}",
            self.seed, self.size
        );
    }

    fn note(&mut self, what: String) {
        let at = self.world.clock.elapsed().as_secs_f64();
        self.log.push(format!("{at:9.3} {what}"));
    }

    fn step(&mut self) {
        let (step, _) = *STEPS
            .choose_weighted(&mut self.rng, |(_, weight)| *weight)
            .expect("there are steps");
        let who = Name(self.rng.random_range(1..=self.size.nodes));
        let replica = self.rng.random_range(0..usize::from(self.size.replicas));
        self.note(format!("{step:?} {who:?} replica {replica}"));
        match step {
            Step::Authorise => self.authorise(who),
            Step::Deauthorise => self.patch(who, deauthorised()),
            Step::Remove => self.ask(Command::RemoveMember(self.identity(who))),
            Step::Address => self.change_address(who),
            Step::Route => self.add_route(who),
            Step::Unroute => self.remove_route(),
            Step::KillNode => self.world.kill(who),
            Step::CrashNode => self.world.node_mut(who).crash = Some(self.a_crash()),
            Step::RestartNode => self.restart(who),
            Step::RestartOldNode => self.restart_old(who),
            Step::MoveNode => self.move_node(who),
            Step::NodeClock => self.jump_clock(who),
            Step::KillController => self.world.kill_controller(replica),
            Step::RestartController => self.restart_controller(replica),
            Step::CutStore => self
                .world
                .controllers_mut()
                .0
                .set_reaches_store(replica, false),
            Step::StoreDown => self.world.controllers_mut().0.store.is_up = false,
            Step::StoreUp => self.mend_store(),
            Step::StoreClock => {
                let error = self.a_clock_error();
                self.world.controllers_mut().0.store.clock_error = error;
            }
            Step::Upkeep => self.upkeep(replica),
            Step::Forge => self.forge(who, replica),
            Step::CutNode => {
                let address = self.world.node(who).address;
                self.world.net.set_reachable(address, false);
                self.oracle.forget_meetings();
            }
            Step::Part => self.part(),
            Step::Heal => self.heal(),
        }
    }

    // What happens to nodes.

    fn a_crash(&mut self) -> Crash {
        if self.rng.random() {
            Crash::BeforeWriting
        } else {
            Crash::AfterWriting
        }
    }

    fn restart(&mut self, who: Name) {
        self.world.restart(who);
    }

    fn restart_old(&mut self, who: Name) {
        self.world.kill(who);
        let count = self.rng.random_range(1..4);
        self.world.node_mut(who).disk.lose(count);
        self.world.start(who);
    }

    fn move_node(&mut self, who: Name) {
        let old = self.world.node(who).address;
        let new = ([198, 51, self.rng.random(), who.0], 9790).into();
        let side = self.world.net.side(old);
        self.world.net.set_side(new, side);
        self.world.move_to(who, new);
    }

    fn a_clock_error(&mut self) -> i64 {
        if self.rng.random_ratio(1, 3) {
            0
        } else {
            self.rng.random_range(-TEN_YEARS..=TEN_YEARS)
        }
    }

    fn jump_clock(&mut self, who: Name) {
        let error = self.a_clock_error();
        let shown = self.rng.random_range(0..1_000_000);
        let node = self.world.node_mut(who);
        node.clock_error = error;
        node.set_handshake_clock(shown);
    }

    // What happens to controllers and the underlay.

    fn restart_controller(&mut self, replica: usize) {
        self.world.kill_controller(replica);
        let (controllers, clock) = self.world.controllers_mut();
        controllers.start(replica, clock);
    }

    /// Hands a node certificates that must not count: an honest one with another address, signed by a stolen key as the
    /// same version or in another epoch, or by a key that may not sign.
    fn forge(&mut self, victim: Name, replica: usize) {
        let node = self.world.node(victim);
        let wall = node.wall(&self.world.clock);
        let held: Vec<MemberCert> = node
            .directory()
            .into_iter()
            .flat_map(|directory| {
                let epoch = directory.keyring().version.epoch;
                let members = directory.members(wall).cloned();
                members.filter(move |cert| cert.version.epoch == epoch)
            })
            .collect();
        let Some(honest) = held.choose(&mut self.rng) else {
            return;
        };
        let mut forged = honest.clone();
        forged
            .addresses
            .insert(IpAddr::V4(Ipv4Addr::new(172, 27, 0, 250)));
        let stolen = self.world.controllers().stolen_key(replica);
        let scope = self.world.network().into();
        let same_version = Signed::sign(&forged, scope, stolen);
        forged.version.revision.0 += 1_000;
        let stranger = Signed::sign(&forged, scope, &Seed::from_bytes([7; 32]).identity());
        forged.version.epoch.0 += 1;
        let other_epoch = Signed::sign(&forged, scope, stolen);
        let entries = [same_version, stranger, other_epoch].map(DirectoryEntry::Member);
        self.world.hand_over(victim, entries.to_vec());
    }

    fn mend_store(&mut self) {
        let (controllers, _) = self.world.controllers_mut();
        controllers.store.is_up = true;
        for replica in 0..controllers.count() {
            controllers.set_reaches_store(replica, true);
        }
    }

    fn part(&mut self) {
        let nodes: Vec<_> = self
            .world
            .names()
            .into_iter()
            .map(|name| self.world.node(name).address)
            .collect();
        let replicas = (0..self.world.controllers().count())
            .map(|replica| self.world.controllers().address(replica));
        let all: Vec<_> = nodes.into_iter().chain(replicas).collect();
        for address in all {
            let side = self.rng.random_range(0..2);
            self.world.net.set_side(address, side);
        }
        self.oracle.forget_meetings();
    }

    fn heal(&mut self) {
        self.world.net.mend();
        self.oracle.forget_meetings();
    }

    // Packets.

    fn send_something(&mut self) {
        let from = Name(self.rng.random_range(1..=self.size.nodes));
        let to = Name(self.rng.random_range(1..=self.size.nodes));
        let source = if self.rng.random_ratio(1, 8) {
            to
        } else {
            from
        };
        let (Some(source), Some(destination)) = (self.an_address(source), self.an_address(to))
        else {
            return;
        };
        self.send(from, source, destination);
    }

    fn send(&mut self, from: Name, source: IpAddr, destination: IpAddr) -> u64 {
        let number = self.world.send_between(from, source, destination);
        self.oracle.sent(number, from, source);
        number
    }

    /// The IPv4 address that a member has now, by the store.
    fn address(&self, who: Name) -> Option<IpAddr> {
        let network = self.world.controllers().store.network();
        let member = network.member(&self.identity(who))?;
        member.addresses.first().copied().map(IpAddr::V4)
    }

    fn an_address(&mut self, who: Name) -> Option<IpAddr> {
        if self.rng.random_ratio(1, 4) {
            let prefix: ipnet::IpNet = PREFIXES.choose(&mut self.rng)?.parse().ok()?;
            return Some(prefix.addr());
        }
        self.address(who)
    }
}
