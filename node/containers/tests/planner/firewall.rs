//! The rules against a model of iptables: chains as lists, nothing that is not ours ever changes.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tombolo_containers::{
    firewall::{self, Masquerade, Opening, RuleAction},
    nft,
    ruleset::{Backend, Saved},
};

use crate::scene::net;

const DOCKER_20: &str = "\
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A DOCKER-USER -s 192.0.2.1/32 -m comment --comment \"the owner's \\\"own\\\" rule\" -j DROP
-A DOCKER-USER -j RETURN
COMMIT
*nat
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
COMMIT
";
const DOCKER_29: &str = "\
*raw
:PREROUTING ACCEPT [0:0]
-A PREROUTING -d 10.10.0.2/32 ! -i br-0123456789ab -j DROP
COMMIT
*filter
:FORWARD DROP [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
COMMIT
";
const UFW: &str = "*filter\n:FORWARD DROP [0:0]\n-A FORWARD -j ufw-before-forward\nCOMMIT\n";
const OPEN: &str = "*filter\n:FORWARD ACCEPT [0:0]\nCOMMIT\n";

#[test]
fn overlay_and_bridge_are_let_through_before_dockers_own_rules_and_the_policy_stays() {
    let after = apply(DOCKER_20, &[app()]);

    let lines: Vec<_> = after.lines().collect();
    let own = lines
        .iter()
        .position(|line| line.contains("the owner's"))
        .expect("it is there");
    for rule in [
        "-A DOCKER-USER -i tmb0 -o tmbbr1 -m comment --comment tombolo:1 -j ACCEPT",
        "-A DOCKER-USER -i tmbbr1 -o tmb0 -m comment --comment tombolo:1 -j ACCEPT",
    ] {
        assert!(lines.iter().position(|line| *line == rule).expect(rule) < own);
    }
    assert!(lines.contains(
        &"-A PREROUTING -d 10.240.1.0/24 -i tmb0 -m comment --comment tombolo:1 -j ACCEPT"
    ));
    assert!(lines.contains(&":FORWARD DROP [0:0]"));
}

#[test]
fn where_there_is_no_docker_user_a_dropping_policy_is_opened_and_an_accepting_one_left_alone() {
    assert!(apply(UFW, &[app()]).contains("-A FORWARD -i tmb0 -o tmbbr1"));
    assert!(!apply(OPEN, &[app()]).contains("FORWARD -i"));
    let flushed = DOCKER_20.replace("-A FORWARD -j DOCKER-USER\n", "");
    assert!(apply(&flushed, &[app()]).contains("-A FORWARD -i tmb0 -o tmbbr1"));
}

#[test]
fn ours_move_back_in_front_of_a_guard_that_docker_put_there_later() {
    let ours = apply("", &[web()]);
    let rule = ours
        .lines()
        .find(|line| line.starts_with("-A PREROUTING"))
        .expect("a rule");
    let hidden = DOCKER_29.replace("-j DROP\n", &format!("-j DROP\n{rule}\n"));

    let after = apply(&hidden, &[web()]);

    let at = |text: &str| {
        after
            .lines()
            .position(|line| line.contains(text))
            .expect("a line")
    };
    assert!(at("-i tmb0") < at("10.10.0.2/32"));
    assert_eq!(after.matches(rule).count(), 1);
}

#[test]
fn without_openings_the_nftables_table_goes() {
    let table = nft::table(&[], &BTreeSet::from(["tmb0".to_owned()]));

    assert_eq!(table.mark, None);
    assert_eq!(
        table.script,
        "add table inet tombolo_docker\ndelete table inet tombolo_docker\n"
    );
}

#[test]
fn containers_keep_their_address_in_every_overlay_and_lose_it_outside() {
    let links = BTreeSet::from(["tmb0".to_owned(), "tmb1".to_owned()]);
    let table = nft::table(&[&app(), &web()], &links);

    for rule in [
        "ip daddr 10.240.1.0/24 iifname != { \"tmb0\", \"tmbbr1\" } counter drop",
        "ip6 daddr fc80:aa:1:1:0:1::/96 iifname != { \"tmb0\", \"tmbbr1\" } counter drop",
        "ip saddr 10.240.1.0/24 oifname != { \"tmb0\", \"tmb1\", \"tmbbr1\" } masquerade",
        "ip6 saddr fc80:aa:1:1:0:1::/96 oifname != { \"tmb0\", \"tmb1\", \"tmbbr1\" } masquerade",
        "oifname \"tmb0\" ip saddr 10.10.0.0/24 snat ip prefix to ip saddr map { 10.10.0.0/24 : 10.10.0.0/24 }",
    ] {
        assert!(table.script.contains(rule), "{rule} in {}", table.script);
    }
    assert!(!table.script.contains("reject"));
    assert!(
        !table.script.contains("ip saddr 10.10.0.0/24 oifname"),
        "Docker masquerades it"
    );
    let internal = Opening {
        internal: true,
        masquerade: Masquerade::Off,
        ..app()
    };
    let table = nft::table(&[&internal], &links);
    assert!(
        table
            .script
            .contains("iifname \"tmbbr1\" oifname != { \"tmb0\", \"tmbbr1\" } counter reject")
    );
    assert!(!table.script.contains("masquerade"));
}

proptest! {
    #[test]
    fn a_second_look_finds_nothing_to_do_and_removal_leaves_the_host_as_it_was(
        start in proptest::sample::select(vec![DOCKER_20, DOCKER_29, UFW, OPEN, ""]),
        chosen in proptest::collection::vec(an_opening(), 0..4),
        next in proptest::collection::vec(an_opening(), 0..4),
    ) {
        let once = apply(start, &chosen);
        prop_assert_eq!(&apply(&once, &chosen), &once);
        prop_assert!(steps(&once, &chosen).is_empty());
        let changed = apply(&once, &next);
        prop_assert_eq!(apply(&changed, &[]), normal(start));
    }
}

fn an_opening() -> impl Strategy<Value = Opening> {
    (1u8..4, any::<bool>()).prop_map(|(number, second)| Opening {
        bridge: format!("tmbbr{number}"),
        link: if second { "tmb1" } else { "tmb0" }.to_owned(),
        subnets: vec![
            net(&format!("10.240.{number}.0/24")),
            net(&format!("fc80:aa:1:1:0:{number}::/96")),
        ],
        masquerade: Masquerade::Ours,
        internal: false,
    })
}

fn app() -> Opening {
    Opening {
        bridge: "tmbbr1".to_owned(),
        link: "tmb0".to_owned(),
        subnets: vec![net("10.240.1.0/24"), net("fc80:aa:1:1:0:1::/96")],
        masquerade: Masquerade::Ours,
        internal: false,
    }
}

fn web() -> Opening {
    Opening {
        bridge: "br-0123456789ab".to_owned(),
        subnets: vec![net("10.10.0.0/24")],
        masquerade: Masquerade::Dockers,
        ..app()
    }
}

fn steps(saved: &str, openings: &[Opening]) -> Vec<RuleAction> {
    let saved = Saved::parse(Backend::V4, saved);
    firewall::actions(&firewall::desired(openings, Backend::V4, &saved), &saved)
}

/// What iptables does with the steps.
fn apply(saved: &str, openings: &[Opening]) -> String {
    let mut lines: Vec<String> = normal(saved).lines().map(str::to_owned).collect();
    for action in steps(saved, openings) {
        let (RuleAction::Insert(rule) | RuleAction::Delete(rule)) = &action;
        let line = format!("-A {} {}", rule.chain, rule.words.join(" "));
        let table = format!("*{}", rule.table.as_str());
        if !lines.contains(&table) {
            lines.extend([table.clone(), "COMMIT".to_owned()]);
        }
        let start = lines
            .iter()
            .position(|line| *line == table)
            .expect("it was just added");
        match action {
            RuleAction::Insert(_) => {
                let rules = lines[start + 1..]
                    .iter()
                    .take_while(|line| line.starts_with(':'));
                lines.insert(start + 1 + rules.count(), line);
            }
            RuleAction::Delete(_) => {
                let at = lines[start..].iter().position(|found| *found == line);
                lines.remove(start + at.expect("only what is there is deleted"));
            }
        }
    }
    normal(&lines.join("\n"))
}

/// Without tables that hold nothing: the kernel keeps those once they were looked at.
fn normal(saved: &str) -> String {
    let tables = saved.split_inclusive("COMMIT\n").map(str::to_owned);
    let tables = tables.map(|table| {
        if table.ends_with('\n') {
            table
        } else {
            table + "\n"
        }
    });
    tables
        .filter(|table| table.contains("-A ") || table.contains(':'))
        .collect()
}
