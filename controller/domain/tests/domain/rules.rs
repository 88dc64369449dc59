//! Access rules: what is taken, what is refused and in which words, and what document follows.

use std::collections::BTreeSet;

use tombolo_domain::{
    command::{Command, MemberPatch},
    compile,
    decide::decide,
    network::Network,
    refusal::{Refusal, RefusalKind},
    rules,
};
use tombolo_proto::{
    id::Epoch,
    rules::{AccessRules, Action, MAX_RULES, Party, Rule},
};

use crate::scene::*;

#[test]
fn rules_reach_the_network_document_with_members_by_key_and_read_back_by_name() {
    let network = with_members();
    let lines = [
        "allow tcp 22 from tag:admin to any",
        "deny udp from member:nas to 10.0.0.0/29",
        "allow any from any to member:web",
    ];

    let changes = decide(set(Action::Deny, &lines), &network, NOW).expect("good rules");
    let after = network.apply(&changes);

    let documents = compile::compile(&network, &after, &changes, Epoch(0), NOW);
    let doc = documents.network.expect("the network's document changed");
    assert!(documents.certs.is_empty() && documents.revocations.is_empty());
    assert_eq!(doc.rules.default, Action::Deny);
    assert_eq!(doc.rules.rules[1].from, [Party::Member(identity(1))]);
    assert_eq!(doc.rules.rules[2].to, [Party::Member(identity(0))]);
    let written: Vec<_> = rules::written(&after).iter().map(Rule::to_string).collect();
    assert_eq!(written, lines);
    assert_eq!(
        decide(set(Action::Deny, &lines), &after, NOW),
        Ok(Vec::new()),
        "the same rules again change nothing"
    );
}

#[test]
fn members_are_named_by_name_node_address_or_key() {
    let network = with_members();
    let key = identity(1).to_string();
    for name in ["NAS", "1000000001", key.as_str()] {
        let line = format!("deny any from member:{name}");
        let after = ruled(&network, &[&line]);
        assert_eq!(
            after.settings().rules.rules[0].from,
            [Party::Member(identity(1))],
            "{name}"
        );
    }
}

#[test]
fn what_names_nobody_is_refused_with_number_and_text() {
    let network = with_members();
    for (line, said) in [
        ("deny any from tag:ghost", "no member has the tag \"ghost\""),
        ("deny any from member:ghost", "there is no member \"ghost\""),
        (
            "deny any to 192.0.2.0/24",
            "no address of this network is in 192.0.2.0/24",
        ),
        ("deny any to 2001:db8::/32", "no address of this network"),
    ] {
        let refusal = refused(&network, &["allow tcp 1", line]);
        let text = refusal.to_string();
        assert!(text.starts_with("access rule 2 (deny any"), "{text}");
        assert!(text.contains(said), "{text}");
        assert_eq!(refusal.kind(), RefusalKind::Conflict);
    }
    for line in [
        "deny any to 0.0.0.0/0",
        "deny any to ::/0",
        "deny any to 10.240.7.0/24",
        "deny any to fc00::/7",
    ] {
        let _ = ruled(&network, &[line]);
    }
}

#[test]
fn what_the_rules_in_force_name_may_stay_when_it_is_gone() {
    let lines = ["deny any from member:nas", "allow any from tag:admin"];
    let before = ruled(&with_members(), &lines);
    let removed = before.apply(
        &decide(Command::RemoveMember(identity(1)), &before, NOW).expect("a member to remove"),
    );
    let untagged = MemberPatch {
        tags: Some(BTreeSet::new()),
        ..MemberPatch::default()
    };
    let network = update(&removed, 0, untagged);

    let written: Vec<String> = rules::written(&network)
        .iter()
        .map(Rule::to_string)
        .collect();
    let mut lines: Vec<&str> = written.iter().map(String::as_str).collect();
    lines.push("deny tcp 25");
    let after = ruled(&network, &lines);

    assert_eq!(
        after.settings().rules.rules[0].from,
        [Party::Member(identity(1))],
        "a rule for somebody who is gone never becomes a rule for everybody"
    );
}

#[test]
fn lists_and_rules_that_are_too_long_are_refused() {
    let network = with_members();
    let many = vec!["deny tcp 25"; MAX_RULES];
    let after = ruled(&network, &many);
    assert_eq!(after.settings().rules.rules.len(), MAX_RULES);
    let surplus = vec!["deny tcp 25"; MAX_RULES + 1];
    assert_eq!(refused(&network, &surplus), Refusal::TooManyRules);

    let wide = format!("deny any from {}", vec!["10.0.0.1"; 33].join(","));
    assert!(
        refused(&network, &[&wide])
            .to_string()
            .contains("more than 32 parties")
    );
    let heavy = format!("deny any from {}", vec!["member:nas"; 32].join(","));
    assert_eq!(
        refused(&network, &vec![heavy.as_str(); 100]),
        Refusal::RulesTooLong
    );
}

#[test]
fn the_other_settings_keep_the_rules_and_no_rules_leave_no_trace() {
    let network = ruled(&with_members(), &["deny tcp 25"]);
    let renamed = Command::Configure(tombolo_domain::command::SettingsPatch {
        name: Some("office".parse().expect("a name")),
        ..Default::default()
    });
    let renamed = network.apply(&decide(renamed, &network, NOW).expect("a new name"));
    assert_eq!(renamed.settings().rules, network.settings().rules);

    let emptied = decide(set(Action::Allow, &[]), &renamed, NOW).expect("no rules");
    let emptied = renamed.apply(&emptied);
    assert_eq!(emptied.settings().rules, AccessRules::default());
}

fn with_members() -> Network {
    let mut network = a_network();
    for (who, name, tag) in [(0, "web", "admin"), (1, "nas", "disk")] {
        let join = Command::Join {
            request: a_request(who, 0),
            granted: true,
        };
        network = network.apply(&decide(join, &network, NOW).expect("room for a member"));
        let patch = MemberPatch {
            name: Some(name.parse().expect("a name")),
            tags: Some(BTreeSet::from([tag.to_owned()])),
            ..MemberPatch::default()
        };
        network = update(&network, who, patch);
    }
    network
}

fn update(network: &Network, who: u8, patch: MemberPatch) -> Network {
    let command = Command::UpdateMember {
        identity: identity(who),
        patch,
    };
    network.apply(&decide(command, network, NOW).expect("a sensible patch"))
}

fn set(default: Action, lines: &[&str]) -> Command {
    Command::SetRules {
        default,
        rules: lines
            .iter()
            .map(|line| line.parse().expect("a rule"))
            .collect(),
    }
}

fn ruled(network: &Network, lines: &[&str]) -> Network {
    network.apply(&decide(set(Action::Allow, lines), network, NOW).expect("good rules"))
}

fn refused(network: &Network, lines: &[&str]) -> Refusal {
    decide(set(Action::Allow, lines), network, NOW).expect_err("bad rules")
}
