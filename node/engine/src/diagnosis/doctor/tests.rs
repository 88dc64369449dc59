use super::*;
use crate::diagnosis::{Health, worst};

#[test]
fn a_host_in_order_has_no_bad_findings() {
    let findings = examine(&in_order());

    let bad: Vec<&Finding> = findings
        .iter()
        .filter(|finding| finding.health != Health::Ok)
        .collect();
    assert!(bad.is_empty(), "{bad:?}");
}

#[test]
fn every_fault_is_found_and_has_something_that_mends_it() {
    let faults: [(&str, Health, Fault); 19] = [
        ("reachability", Health::Warning, |facts| {
            facts.reached = [Some(true), Some(false)]
        }),
        ("daemon", Health::Broken, |facts| facts.daemon = false),
        ("daemon", Health::Broken, |facts| {
            facts.warnings = vec!["a thread ended".to_owned()]
        }),
        ("tun", Health::Broken, |facts| {
            facts.tun = Some("no driver".to_owned())
        }),
        ("clock", Health::Broken, |facts| {
            facts.newest_document = Some(UnixSeconds(20_000))
        }),
        ("disk", Health::Broken, |facts| facts.space = Some(1 << 20)),
        ("port", Health::Broken, |facts| {
            facts.port_problem = Some("in use".to_owned())
        }),
        ("firewall", Health::Warning, |facts| {
            facts.ruleset = Some(A_CLOSED_FIREWALL.to_owned())
        }),
        ("disk", Health::Broken, |facts| {
            facts.state_problem = Some(obstacle())
        }),
        ("port", Health::Warning, |facts| {
            facts.takes_streams = Some(false)
        }),
        ("firewall", Health::Warning, |facts| {
            let closed = A_CLOSED_FIREWALL.replace("policy drop", "policy accept");
            facts.ruleset = Some(closed.replace("dport 22 accept", "dport 9790 drop"))
        }),
        ("router", Health::Warning, |facts| {
            facts.is_translated = true;
            facts.mapped[1] = None;
        }),
        ("forwarding", Health::Broken, |facts| {
            facts.carries = [true, false];
            facts.forwarding = [Some(false), Some(false)];
        }),
        ("rp_filter", Health::Warning, |facts| {
            facts.rp_filter = vec![("tmb0".to_owned(), 1)]
        }),
        ("underlay", Health::Broken, |facts| {
            facts.uplinks = vec![("ppp0".to_owned(), 576)]
        }),
        ("reachability", Health::Warning, |facts| {
            facts.seen_at.clear()
        }),
        ("controller", Health::Broken, |facts| {
            facts.networks[0].status = "pending".to_owned()
        }),
        ("clash", Health::Warning, |facts| {
            facts.networks[0].clashes = vec![obstacle()]
        }),
        ("mtu", Health::Warning, |facts| {
            facts.networks[0].mtu = [Some(1400), Some(1500)]
        }),
    ];
    for (check, health, fault) in faults {
        let mut facts = in_order();
        fault(&mut facts);

        let findings = examine(&facts);

        let found = worst(&findings).expect("findings");
        assert_eq!(
            (found.check.as_str(), found.health),
            (check, health),
            "{findings:?}"
        );
        assert!(found.mend.is_some(), "{found:?}");
    }
}

type Fault = fn(&mut Facts);

const A_CLOSED_FIREWALL: &str = "table inet filter {\n chain input {\n  type filter hook input priority filter; policy drop;\n  tcp dport 22 accept\n }\n}\n";

fn obstacle() -> Obstacle {
    Obstacle {
        said: "eth1 has it".to_owned(),
        mend: "ip link delete eth1".to_owned(),
    }
}

fn in_order() -> Facts {
    Facts {
        daemon: true,
        wall: UnixSeconds(10_000),
        newest_document: Some(UnixSeconds(10_060)),
        forwarding: [Some(true), Some(false)],
        rp_filter: vec![("tmb0".to_owned(), 2)],
        ruleset: Some(String::new()),
        port: 9790,
        takes_streams: Some(true),
        mapped: ["203.0.113.1:9790".parse().ok(); 2],
        uplinks: vec![("eth0".to_owned(), 1500)],
        seen_at: vec!["203.0.113.1:9790".parse().expect("an endpoint")],
        peers: [3, 0],
        networks: vec![Network {
            name: "home".to_owned(),
            status: "ok".to_owned(),
            interface: "tmb0".to_owned(),
            mtu: [Some(1400), Some(1400)],
            is_connected: true,
            ..Network::default()
        }],
        state_dir: "/var/lib/tombolo/node".to_owned(),
        space: Some(1 << 33),
        aes: Some(true),
        ..Facts::default()
    }
}

#[test]
fn what_closes_the_port_is_opened_here_or_else_in_front_of_this_host() {
    let mend = |fault: Fault| {
        let mut facts = in_order();
        facts.reached = [Some(false), None];
        fault(&mut facts);
        let findings = examine(&facts);
        let mut of_outside = findings
            .into_iter()
            .filter(|it| it.said.contains("outside over"));
        of_outside.next().and_then(|finding| finding.mend)
    };

    let in_front = mend(|_| {}).expect("a finding");
    assert!(
        in_front.starts_with("open UDP port 9790 to this host"),
        "{in_front}"
    );
    let here = mend(|facts| facts.ruleset = Some(A_CLOSED_FIREWALL.to_owned()));
    let here = here.expect("a finding");
    assert_eq!(
        here,
        "nft insert rule inet filter input udp dport 9790 accept"
    );
    // The router is spoken of by itself.
    let behind = mend(|facts| {
        facts.is_translated = true;
        facts.mapped = [None, None];
    });
    assert_eq!(behind, None);
}

#[test]
fn behind_a_nat_one_controller_that_gets_in_does_not_show_that_strangers_do() {
    let look = |fault: Fault| {
        let mut facts = in_order();
        facts.reached = [Some(true), Some(true)];
        fault(&mut facts);
        let findings = examine(&facts).into_iter();
        let of_outside = findings.filter(|it| it.said.contains("outside over"));
        of_outside.map(|it| it.health).collect::<Vec<_>>()
    };

    assert_eq!(look(|_| {}), [Health::Ok, Health::Ok]);
    // A port that the router has mapped is open to everybody.
    assert_eq!(
        look(|facts| facts.is_translated = true),
        [Health::Ok, Health::Ok]
    );
    let unmapped = look(|facts| {
        facts.is_translated = true;
        facts.mapped = [None, None];
    });
    assert_eq!(unmapped, [Health::Unknown, Health::Ok]);
}

#[test]
fn a_router_that_opens_every_port_that_is_wanted_is_in_order() {
    let mut facts = in_order();
    facts.is_translated = true;
    assert_eq!(
        worst(&examine(&facts)).map(|worst| worst.health),
        Some(Health::Ok)
    );

    // Streams are taken by those who relay alone.
    facts.mapped[1] = None;
    facts.takes_streams = None;
    assert_eq!(
        worst(&examine(&facts)).map(|worst| worst.health),
        Some(Health::Ok)
    );
}
