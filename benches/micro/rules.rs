//! What access rules cost the member that receives: a flow that is known, the walk through the rules for one that is not, and
//! the note of what leaves.

use std::{collections::BTreeSet, hint::black_box, time::Instant};

use tombolo_engine::{fib::PeerSlot, rules::Guard};
use tombolo_proto::{
    config::MemberCert,
    id::{NodeId, UnixSeconds, Version},
    key::{IdentityKey, TransportKey},
    rules::{AccessRules, Action, Rule},
};

use crate::{packets, stages::Stages};

const RULES: [usize; 3] = [1, 100, 1_000];
const ME: u8 = 9;
const PEER: u8 = 1;

/// All of them.
pub(crate) fn measure(stages: &mut Stages) {
    let [us, them] = [[10, 0, 0, ME], [10, 0, 0, PEER]];
    let received = packets::tcp(them, us, 1_400, 0);
    let sent = packets::tcp(us, them, 1_400, 0);
    for count in RULES {
        let known = guard(count, "allow tcp 5201");
        stages.one(
            format!("access rules: a known flow among {count}"),
            |bencher| {
                bencher.iter(|| {
                    known
                        .admit(PeerSlot(1), black_box(&received))
                        .expect("the last rule allows it");
                });
            },
        );
        let stopping = guard(count, "deny tcp 5201");
        stages.one(
            format!("access rules: stopped by the last of {count}"),
            |bencher| {
                bencher.iter(|| {
                    stopping
                        .admit(PeerSlot(1), black_box(&received))
                        .expect_err("the last rule stops it")
                });
            },
        );
    }
    let noting = guard(1, "deny tcp 5201");
    stages.one("access rules: the note of what leaves", |bencher| {
        bencher.iter(|| noting.sent(black_box(&sent)));
    });
}

/// So many rules for this member: all but the last are for other ports.
fn guard(count: usize, last: &str) -> Guard {
    let others = (1..count).map(|at| format!("deny tcp {} from 10.0.0.0/8", 6_000 + at));
    let lines = others.chain([last.to_owned()]);
    let rules = AccessRules {
        default: Action::Deny,
        rules: lines
            .map(|line| {
                let rule: Rule<String> = line.parse().expect("a rule");
                rule.rename_members(|name| name.parse()).expect("no names")
            })
            .collect(),
    };
    let members = [ME, PEER].map(a_cert);
    Guard::new(
        &rules,
        &a_cert(ME),
        members.iter(),
        |identity| Some(PeerSlot(u32::from(identity.0[0]))),
        None,
        [0x1234_5678_9abc_def1, 0x0fed_cba9_8765_4321],
        Instant::now(),
    )
    .expect("rules that deny")
}

fn a_cert(number: u8) -> MemberCert {
    MemberCert {
        version: Version::first_epoch(1),
        node: NodeId::new(u64::from(number)).expect("a node address"),
        name: String::new(),
        identity: IdentityKey([number; 32]),
        transport: TransportKey([number; 32]),
        transport_epoch: 0,
        addresses: BTreeSet::from([[10, 0, 0, number].into()]),
        prefix: None,
        routes: Vec::new(),
        relay: false,
        tags: BTreeSet::new(),
        issued_at: UnixSeconds(0),
        not_after: UnixSeconds(u64::MAX),
    }
}
