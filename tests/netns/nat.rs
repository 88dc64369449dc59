//! Real nodes behind every kind of NAT that the kernel can be made to be.

use std::time::{Duration, Instant};

use tombolo_tests::{
    nat::Nat,
    netns::{Claim, Lab},
    overlay::{Controller, Node, Overlay, SOON, answers, repetitions, text, wait_for_ping},
    process::{announce, figure, median, wait_for},
};

/// What two members need to talk, whatever is between them.
const PROMISE: Duration = Duration::from_secs(2);
/// Where many sockets have to be tried on many ports.
const PROMISE_PUNCHED: Duration = Duration::from_secs(5);

#[test]
fn members_behind_every_pair_of_nats_reach_each_other_directly_where_there_is_a_way() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let kinds = [
        Nat::FullCone,
        Nat::AddressRestricted,
        Nat::PortRestricted,
        Nat::Symmetric,
        Nat::SymmetricSequential,
    ];
    let mut routers = Vec::new();
    let mut hosts = Vec::new();
    let mut behind = Vec::new();
    // Two of each, for the pairs of one kind.
    for (number, kind) in (1..).zip(kinds.iter().chain(&kinds)) {
        let router = lab.router(&format!("r{number}"), number, *kind);
        hosts.push(lab.host_behind(&router, &format!("n{number}"), 2));
        routers.push(router);
        behind.push(*kind);
    }
    let overlay = Overlay::on_hosts(lab, hosts, "");
    for (node, kind) in overlay.nodes.iter().zip(&behind) {
        wait_for("the kind of NAT", SOON, || {
            let seen = seen_nat(node);
            (seen == (kind.mapping().to_owned(), kind.filtering().to_owned())).then_some(())
        });
    }
    let (mut answered, mut plain, mut punched, mut missed) =
        (Vec::new(), Vec::new(), Vec::new(), 0);
    for (index, first) in overlay.nodes.iter().enumerate() {
        for (other, second) in overlay.nodes.iter().enumerate().skip(index + 1) {
            let pair = [behind[index], behind[other]];
            let strict = pair.iter().filter(|kind| kind.is_symmetric()).count();
            let has_to_be_punched = strict == 1 && pair.contains(&Nat::PortRestricted);
            // By a relay, until there is something better.
            let took = until(SOON, || answers(&first.host.namespace, second.v4()));
            answered.push(took.unwrap_or_else(|| panic!("{pair:?} never talked")));
            if strict == 2 {
                assert!(!is_direct(first, second), "{pair:?}");
                wait_for("the reason", SOON, || {
                    let why = first.json(&["why", &second.id()]);
                    (why["relayed_because"] == "both_nats_dependent").then_some(())
                });
                continue;
            }
            let took = until(SOON, || {
                let _ = answers(&first.host.namespace, second.v4());
                is_direct(first, second)
            });
            match took {
                Some(took) if has_to_be_punched => punched.push(took),
                Some(took) => plain.push(took),
                None if has_to_be_punched => missed += 1,
                None => panic!("{pair:?} never met directly"),
            }
        }
    }
    tell("first packet to first answer, all pairs of NATs", &answered);
    tell(
        "from then on to a direct path, NATs that calls pass",
        &plain,
    );
    tell(
        "from then on to a direct path, one NAT mapping by destination",
        &punched,
    );
    // Ports are tried by chance, and this is no place to measure it.
    announce(&format!("not punched: {missed} of 8"));
    assert!(missed <= 2, "{missed} of 8 were not punched");
    figure(
        "first packet to first answer, median of all pairs of NATs",
        median(answered),
        PROMISE,
    );
}

#[test]
fn a_nat_that_maps_by_destination_is_punched_from_a_port_restricted_one() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let routers = [
        lab.router("r1", 1, Nat::Symmetric),
        lab.router("r2", 2, Nat::PortRestricted),
    ];
    let controller = Controller::start(lab.host("ctl"));
    let hosts = vec![
        lab.host_behind(&routers[0], "sym", 2),
        lab.host_behind(&routers[1], "prc", 2),
    ];
    let mut overlay = Overlay::around(controller, lab, hosts, "");
    wait_for_ping(&overlay.nodes[0].host.namespace, overlay.nodes[1].v4());
    let runs = repetitions(4, 40);
    let (mut times, mut missed) = (Vec::new(), 0);
    for run in 0..runs {
        for node in &mut overlay.nodes {
            node.kill();
        }
        let [sym, prc] = &mut overlay.nodes[..] else {
            panic!("two nodes");
        };
        let start = Instant::now();
        for node in [&mut *sym, &mut *prc] {
            node.up_with(&["--port", &(9_800 + run).to_string()]);
        }
        let (from, to) = if run % 2 == 0 { (sym, prc) } else { (prc, sym) };
        let took = until(PROMISE_PUNCHED * 3, || {
            let _ = answers(&from.host.namespace, to.v4());
            is_direct(from, to)
        });
        match took {
            Some(_) => times.push(start.elapsed()),
            None => missed += 1,
        }
    }
    announce(&format!("not punched within 15 s: {missed} of {runs}"));
    times.sort_unstable();
    tell("start of both to a direct path, punched", &times);
    let within = times
        .iter()
        .filter(|took| **took <= PROMISE_PUNCHED)
        .count();
    announce(&format!(
        "figure: punched within {} s: {within} of {runs}",
        PROMISE_PUNCHED.as_secs()
    ));
    let enough = runs * 95 / 100;
    assert!(within >= enough, "{within} of {runs}: {times:?}");
}

/// What a node says of its NAT towards IPv4.
fn seen_nat(node: &Node) -> (String, String) {
    let status = node.json(&["status"]);
    let nat = &status["nat"]["ipv4"];
    let word = |name: &str| nat[name].as_str().unwrap_or("?").to_owned();
    (word("mapping"), word("filtering"))
}

pub(crate) fn is_direct(from: &Node, to: &Node) -> bool {
    let id = to.id();
    let peers = from.json(&["peers"]);
    let mut peers = peers.as_array().into_iter().flatten();
    peers.any(|peer| peer["node"] == id.as_str() && text(peer, "/path/kind") == "direct")
}

/// How long it takes until `done`.
fn until(limit: Duration, done: impl Fn() -> bool) -> Option<Duration> {
    let start = Instant::now();
    while start.elapsed() < limit {
        if done() {
            return Some(start.elapsed());
        }
    }
    None
}

fn tell(what: &str, times: &[Duration]) {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let at = |percent: usize| {
        let index = sorted.len().saturating_sub(1) * percent / 100;
        sorted.get(index).map_or(f64::NAN, Duration::as_secs_f64)
    };
    announce(&format!(
        "figure: {what}: {} runs, median {:.2} s, 95th percentile {:.2} s, longest {:.2} s",
        sorted.len(),
        at(50),
        at(95),
        at(100)
    ));
}
