//! Random lives of small networks, judged by a naive model of who may talk to whom.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use ipnet::IpNet;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use tombolo_engine::{control::Timing, ownership::prefixes_of};
use tombolo_tests::{
    model::{Member, Model, View},
    simnet::Conditions,
    world::{Handshake, Name, World},
};

const NODES: u8 = 4;
const STEPS: usize = 25;
const SEEDS: u64 = 300;
/// Nested and disjoint, so that longest prefixes matter.
const PREFIXES: [&str; 5] = [
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.2.0/24",
    "10.1.2.3/32",
    "10.2.0.0/16",
];
const PROBES: [&str; 4] = ["10.1.2.3", "10.1.2.4", "10.1.9.9", "10.2.0.1"];

#[test]
fn packets_arrive_exactly_where_the_model_says() {
    for seed in 0..SEEDS {
        Life::new(seed).run();
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Authorise,
    Revoke,
    /// Stops listening to controllers, or listens again.
    Turn,
    Restart,
    Routes,
    Wait,
    Talk,
}

/// One seed.
struct Life {
    seed: u64,
    rng: StdRng,
    world: World,
    model: Model,
    /// Who sent a packet, from which address.
    sent: BTreeMap<u64, (Name, IpAddr)>,
    judged: BTreeMap<Name, usize>,
    log: Vec<String>,
}

impl Life {
    fn new(seed: u64) -> Self {
        let conditions = if seed.is_multiple_of(3) {
            Conditions::ROUGH
        } else {
            Conditions::CLEAN
        };
        let mut world = World::new(Handshake::Fake, conditions, seed);
        if seed.is_multiple_of(2) {
            world.set_timing(Timing {
                rekey_after: Duration::from_secs(2),
                // Long enough for an owner of a shared prefix to be trusted again before its unused session ends.
                reject_after: Duration::from_secs(9),
            });
        }
        for number in 1..=NODES {
            world.start(Name(number));
        }
        let mut life = Self {
            seed,
            rng: StdRng::seed_from_u64(seed),
            world,
            model: Model::default(),
            sent: BTreeMap::new(),
            judged: BTreeMap::new(),
            log: Vec::new(),
        };
        for number in 1..=NODES {
            life.world.authorise(Name(number));
        }
        life.publish();
        life
    }

    fn run(mut self) {
        for _ in 0..STEPS {
            self.step();
            self.judge();
            self.probe();
            self.judge();
        }
    }

    fn step(&mut self) {
        const STEPS: [Step; 10] = [
            Step::Authorise,
            Step::Authorise,
            Step::Revoke,
            Step::Turn,
            Step::Restart,
            Step::Routes,
            Step::Routes,
            Step::Wait,
            Step::Talk,
            Step::Talk,
        ];
        let step = *STEPS.choose(&mut self.rng).expect("there are steps");
        let who = self.somebody();
        self.log.push(format!("{step:?} {who:?}"));
        match step {
            Step::Authorise => self.world.authorise(who),
            Step::Revoke => self.world.revoke(who),
            Step::Turn => self.world.node_mut(who).is_deaf ^= true,
            // What a node knew it has on disk: a restart is no news to it.
            Step::Restart => self.world.restart(who),
            Step::Routes => self.change_routes(who),
            Step::Wait => {
                let seconds = self.rng.random_range(0..10);
                self.world.run_for(Duration::from_secs(seconds));
            }
            Step::Talk => {
                let to = self.somebody();
                for _ in 0..10 {
                    self.send(who, World::address_of(who), World::address_of(to));
                    self.world.run_for(Duration::from_millis(20));
                }
            }
        }
        self.judge();
        if matches!(
            step,
            Step::Authorise | Step::Revoke | Step::Turn | Step::Routes
        ) {
            self.publish();
        }
    }

    fn change_routes(&mut self, who: Name) {
        let count = self.rng.random_range(0..4);
        let routes: Vec<(IpNet, u32)> = PREFIXES
            .choose_multiple(&mut self.rng, count)
            .map(|prefix| prefix.parse().expect("a prefix"))
            .zip([10, 10, 5, 20])
            .collect();
        let identity = self.world.node(who).identity();
        self.world.authority().set_routes(identity, &routes);
    }

    fn publish(&mut self) {
        self.world.publish();
        for name in self.world.names() {
            self.refresh_view(name);
        }
    }

    fn refresh_view(&mut self, name: Name) {
        if self.world.node(name).is_deaf {
            return;
        }
        let wall = self.world.clock.wall();
        let names = self.world.names();
        let identities = names
            .iter()
            .map(|name| (self.world.node(*name).identity(), *name));
        let names: BTreeMap<_, _> = identities.collect();
        let view: View = self
            .world
            .authority()
            .directory()
            .members(wall)
            .map(|cert| {
                let member = Member {
                    identity: cert.identity,
                    owns: prefixes_of(cert).collect(),
                };
                (names[&cert.identity], member)
            })
            .collect();
        self.model.views.insert(name, view);
    }

    /// One packet between random addresses: must arrive if the model says so, however often it has to be repeated, and
    /// must not if it does not.
    fn probe(&mut self) {
        let from = self.somebody();
        let to = self.somebody();
        let source = self.an_address_of(from);
        let destination = self.an_address_of(to);
        let receiver = (1..=NODES)
            .map(Name)
            .find(|to| self.model.must_arrive(from, *to, source, destination));
        self.log.push(format!(
            "probe {from:?} {source} -> {destination}, expected at {receiver:?}"
        ));
        // While the first owner of a shared prefix is away, or only just back, the next one has its packets.
        let patience = if receiver.is_some() { 200 } else { 5 };
        for _ in 0..patience {
            let number = self.send(from, source, destination);
            self.world.run_for(Duration::from_millis(100));
            if receiver.is_some_and(|receiver| self.world.has_received(receiver, number)) {
                return;
            }
        }
        assert!(receiver.is_none(), "not arrived: {}", self.story());
    }

    /// Everything that was delivered since the last time was allowed to be.
    fn judge(&mut self) {
        for name in self.world.names() {
            let delivered = &self.world.node(name).delivered;
            let from = self
                .judged
                .get(&name)
                .copied()
                .unwrap_or_default()
                .min(delivered.len());
            for (_, message) in &delivered[from..] {
                let (sender, source) = self.sent[&message.number];
                assert_eq!(source, message.from, "{}", self.story());
                assert!(
                    self.model.may_arrive(sender, name, source),
                    "{sender:?} -> {name:?} from {source}: {}",
                    self.story()
                );
            }
            let count = delivered.len();
            self.judged.insert(name, count);
        }
    }

    fn send(&mut self, who: Name, from: IpAddr, to: IpAddr) -> u64 {
        let number = self.world.send_between(who, from, to);
        self.sent.insert(number, (who, from));
        number
    }

    fn somebody(&mut self) -> Name {
        Name(self.rng.random_range(1..=NODES))
    }

    fn an_address_of(&mut self, name: Name) -> IpAddr {
        if self.rng.random_bool(0.5) {
            return World::address_of(name);
        }
        let probe = PROBES.choose(&mut self.rng).expect("there are probes");
        probe.parse().expect("an address")
    }

    fn story(&self) -> String {
        format!("seed {}:\n{}", self.seed, self.log.join("\n"))
    }
}
