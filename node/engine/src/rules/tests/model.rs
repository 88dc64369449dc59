//! Access rules as one would write them down without a thought for speed, and random traffic to compare with.

use super::*;

/// What happens to a host.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// A member sends it a packet.
    Receive { from: u8, packet: Sort },
    /// It sends one.
    Send { to: u8, packet: Sort },
    /// Time passes.
    Wait(u64),
    /// The rules change.
    Rules { lines: Vec<usize>, deny: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Tcp(u16, u16, u8),
    Udp(u16, u16),
    Ping(u16),
    Pong(u16),
    Other,
}

const LINES: [&str; 10] = [
    "allow tcp 80",
    "deny tcp 22-80 from tag:web",
    "allow udp 40000 from member:2",
    "deny icmp from 10.0.0.2/31",
    "allow any from member:3 to tag:home",
    "deny any from tag:web,10.0.0.3",
    "allow tcp 22,40000",
    "deny 47",
    "allow icmp to 10.0.0.9",
    "deny udp",
];

pub(super) fn a_step() -> impl Strategy<Value = Step> {
    let rules = (collection::vec(0..LINES.len(), 0..4), any::<bool>());
    prop_oneof![
        6 => (1u8..=3, a_packet()).prop_map(|(from, packet)| Step::Receive { from, packet }),
        6 => (1u8..=3, a_packet()).prop_map(|(to, packet)| Step::Send { to, packet }),
        2 => sample::select(vec![1, 59, 61, 239, 241, 301, 601, 7_441]).prop_map(Step::Wait),
        1 => rules.prop_map(|(lines, deny)| Step::Rules { lines, deny }),
    ]
}

fn a_packet() -> impl Strategy<Value = Sort> {
    let port = || sample::select(vec![22u16, 80, 40_000]);
    // SYN, SYN and ACK, ACK, FIN and ACK, RST.
    let flags = sample::select(vec![0x02u8, 0x12, 0x10, 0x10, 0x11, 0x04]);
    prop_oneof![
        5 => (port(), port(), flags).prop_map(|(from, to, flags)| Sort::Tcp(from, to, flags)),
        3 => (port(), port()).prop_map(|(from, to)| Sort::Udp(from, to)),
        1 => (1u16..=2).prop_map(Sort::Ping),
        1 => (1u16..=2).prop_map(Sort::Pong),
        1 => Just(Sort::Other),
    ]
}

/// Plays the steps on a guard and on the model.
pub(super) fn agree(steps: &[Step]) -> Result<(), TestCaseError> {
    let start = now();
    let mut rules = AccessRules {
        default: Action::Deny,
        rules: Vec::new(),
    };
    let mut guard = guard_of(&rules, None, start);
    let mut model = Model::default();
    for (at, step) in steps.iter().enumerate() {
        match step {
            Step::Wait(seconds) => {
                model.now += seconds;
                if let Some(guard) = &guard {
                    guard.set_time(start + Duration::from_secs(model.now));
                }
            }
            Step::Rules { lines, deny } => {
                let lines: Vec<&str> = lines.iter().map(|line| LINES[*line]).collect();
                let default = if *deny { Action::Deny } else { Action::Allow };
                rules = AccessRules {
                    default,
                    rules: super::rules(&lines),
                };
                let now = start + Duration::from_secs(model.now);
                guard = guard_of(&rules, guard.as_ref(), now);
                if guard.is_none() {
                    // Nobody remembers anything, and the time begins anew.
                    model.flows.clear();
                }
            }
            Step::Send { to, packet } => {
                if let Some(guard) = &guard {
                    guard.sent(&packet.between(ME, *to));
                    model.send(*to, *packet);
                }
            }
            Step::Receive { from, packet } => {
                if let Some(guard) = &guard {
                    guard.set_time(start + Duration::from_secs(model.now));
                    let verdict = guard.admit(peer(*from), &packet.between(*from, ME));
                    let expected = model.receive(&rules, *from, *packet);
                    prop_assert_eq!(verdict.is_ok(), expected, "step {}: {:?}", at, step);
                }
            }
        }
    }
    Ok(())
}

impl Sort {
    fn between(self, from: u8, to: u8) -> Vec<u8> {
        match self {
            Self::Tcp(source, destination, flags) => tcp(from, to, source, destination, flags),
            Self::Udp(source, destination) => udp(from, to, source, destination),
            Self::Ping(id) => ping(from, to, id),
            Self::Pong(id) => pong(from, to, id),
            Self::Other => other(from, to, 47),
        }
    }
}

#[derive(Default)]
struct Model {
    now: u64,
    flows: Vec<Flow>,
}

/// As seen from this host: what it calls a flow, whom with, and its own port first.
type Name = (&'static str, u8, u16, u16);

struct Flow {
    name: Name,
    is_ours: bool,
    seen: u64,
    is_answered: bool,
    is_closing: bool,
}

impl Model {
    fn send(&mut self, to: u8, packet: Sort) {
        let (begins, name): (bool, Name) = match packet {
            Sort::Tcp(source, destination, _) => (is_syn(packet), ("tcp", to, source, destination)),
            Sort::Udp(source, destination) => (false, ("udp", to, source, destination)),
            Sort::Ping(id) => (false, ("our echo", to, id, 0)),
            Sort::Pong(id) => (false, ("their echo", to, id, 0)),
            Sort::Other => (false, ("other", to, 0, 0)),
        };
        let now = self.now;
        if let Some(flow) = self.live(name)
            && (flow.is_ours || !begins)
        {
            flow.go_on(packet, now);
            flow.is_answered |= !flow.is_ours;
            return;
        }
        let opens = match packet {
            Sort::Tcp(40_000, 22 | 80, 0x10 | 0x12) => true,
            Sort::Tcp(..) => begins,
            Sort::Pong(_) => false,
            Sort::Udp(..) | Sort::Ping(_) | Sort::Other => true,
        };
        if opens {
            self.put(Flow {
                name,
                is_ours: true,
                seen: now,
                is_answered: name.0 == "tcp" && !begins,
                is_closing: false,
            });
        }
    }

    fn receive(&mut self, rules: &AccessRules, from: u8, packet: Sort) -> bool {
        let name: Name = match packet {
            Sort::Tcp(source, destination, _) => ("tcp", from, destination, source),
            Sort::Udp(source, destination) => ("udp", from, destination, source),
            Sort::Ping(id) => ("their echo", from, id, 0),
            Sort::Pong(id) => ("our echo", from, id, 0),
            Sort::Other => ("other", from, 0, 0),
        };
        let now = self.now;
        if let Some(flow) = self.live(name)
            && flow.is_ours
            && !is_syn(packet)
        {
            flow.is_answered = true;
            flow.go_on(packet, now);
            return true;
        }
        if !is_allowed(rules, from, packet) {
            return false;
        }
        let known = self
            .live(name)
            .map(|flow| (flow.is_answered, flow.is_closing));
        let (is_answered, is_closing) = known.unwrap_or_default();
        let mut flow = Flow {
            name,
            is_ours: false,
            seen: now,
            is_answered,
            is_closing,
        };
        flow.go_on(packet, now);
        self.put(flow);
        true
    }

    fn live(&mut self, name: Name) -> Option<&mut Flow> {
        let now = self.now;
        self.flows
            .iter_mut()
            .find(|flow| flow.name == name && now < flow.seen + flow.patience())
    }

    fn put(&mut self, flow: Flow) {
        self.flows.retain(|known| known.name != flow.name);
        self.flows.push(flow);
    }
}

impl Flow {
    fn go_on(&mut self, packet: Sort, now: u64) {
        self.seen = now;
        if is_syn(packet) {
            self.is_answered = false;
            self.is_closing = false;
        }
        if matches!(packet, Sort::Tcp(_, _, 0x11 | 0x04)) {
            self.is_closing = true;
        }
    }

    fn patience(&self) -> u64 {
        match self.name.0 {
            "tcp" if self.is_closing || !self.is_answered => 240,
            "tcp" => 7_440,
            "udp" => 300,
            "other" => 600,
            _ => 60,
        }
    }
}

fn is_syn(packet: Sort) -> bool {
    matches!(packet, Sort::Tcp(_, _, 0x02))
}

fn is_allowed(rules: &AccessRules, from: u8, packet: Sort) -> bool {
    let (protocol, port) = match packet {
        Sort::Tcp(_, port, _) => (Protocol::Tcp, Some(port)),
        Sort::Udp(_, port) => (Protocol::Udp, Some(port)),
        Sort::Ping(_) | Sort::Pong(_) => (Protocol::Icmp, None),
        Sort::Other => (Protocol::Other(47), None),
    };
    let is = |who: u8, party: &Party| match party {
        Party::Tag(tag) => a_cert(who).tags.contains(tag),
        Party::Member(member) => *member == key(who),
        Party::Prefix(prefix) => prefix.contains(&address(who)),
    };
    let side = |who: u8, parties: &[Party]| {
        parties.is_empty() || parties.iter().any(|party| is(who, party))
    };
    for rule in &rules.rules {
        let matches = (rule.protocol == Protocol::Any || rule.protocol == protocol)
            && (rule.ports.is_empty()
                || port.is_some_and(|port| rule.ports.iter().any(|it| it.contains(port))))
            && side(from, &rule.from)
            && side(ME, &rule.to);
        if matches {
            return rule.action == Action::Allow;
        }
    }
    rules.default == Action::Allow
}
