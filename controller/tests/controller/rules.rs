//! Access rules over the API, by verbs and by forms, and what nodes are told of them.

use serde_json::{Value, json};
use tombolo_proto::{
    api,
    control::{Capabilities, ToController},
    id::Version,
    rules::{Action, Party},
};

use crate::{
    http::Http,
    rig::{Rig, member_path},
    verbs::Verbs,
    visitor::Visitor,
};

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_replaced_as_a_whole_told_to_members_and_kept() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let mut node = rig.member(network.id).await;
    node.sync(network.id, Version::default()).await;
    let tagged = json!({"name": "nas", "tags": ["disk"]});
    rig.set_member(network.id, &node, tagged).await;
    let path = format!("/networks/{}/rules", network.id);
    let none: Value = rig.http.get(&path).await.expect_status(200);
    assert_eq!(none, json!({"default": "allow", "rules": []}));

    let wanted = json!({"default": "deny", "rules": [
        {"action": "allow", "protocol": "tcp", "ports": ["22", "8000-8100"], "from": ["tag:disk"], "to": ["172.27.0.0/16"]},
        {"action": "deny", "protocol": "any", "ports": [], "from": ["member:nas"], "to": []},
    ]});
    let answer = rig.http.put(&path, wanted.clone()).await;
    let set: Value = answer.expect_status(200);

    assert_eq!(set, wanted);
    let told = node
        .wait(|message| match message {
            tombolo_proto::control::ToNode::Directory { entries, .. } => {
                entries.iter().find_map(|entry| match entry {
                    tombolo_proto::config::DirectoryEntry::Network(signed) => signed
                        .verify(network.id.into(), |_| true)
                        .ok()
                        .filter(|doc| !doc.rules.is_empty()),
                    _ => None,
                })
            }
            _ => None,
        })
        .await;
    assert_eq!(told.rules.default, Action::Deny);
    assert_eq!(told.rules.rules[1].from, [Party::Member(node.identity())]);

    // Whoever saw another list changes nothing.
    let tag = answer.header("etag").to_owned();
    let other = json!({"default": "allow", "rules": [{"action": "deny"}]});
    let stale = [("content-type", "application/json"), ("if-match", "\"x\"")];
    let body = other.to_string().into_bytes();
    let answer = rig.http.send("PUT", &path, &stale, body.clone()).await;
    answer.expect_problem(412, "read it again");
    let fresh = [
        ("content-type", "application/json"),
        ("if-match", tag.as_str()),
    ];
    let answer = rig.http.send("PUT", &path, &fresh, body).await;
    let set: api::AccessRules = answer.expect_status(200);
    assert_eq!(
        set.rules[0].protocol, "any",
        "what is left out has defaults"
    );

    let rig = rig.restart().await;
    let kept: api::AccessRules = rig.http.get(&path).await.expect_status(200);
    assert_eq!(kept, set);
    let log: api::Page<api::AuditEntry> =
        rig.http.get("/audit?limit=1000").await.expect_status(200);
    let noted = log
        .items
        .iter()
        .filter(|entry| entry.action == "rules.update");
    assert_eq!(noted.count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_make_no_sense_or_name_nobody_are_refused_in_words() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let path = format!("/networks/{}/rules", network.id);
    for (rule, status, said) in [
        (json!({"action": "permit"}), 422, "permit"),
        (json!({"action": "deny", "port": 22}), 422, "port"),
        (json!({"action": "deny", "protocol": "tpc"}), 422, "tpc"),
        (
            json!({"action": "deny", "ports": ["22"]}),
            422,
            "only tcp and udp have ports",
        ),
        (
            json!({"action": "deny", "protocol": "tcp", "ports": ["0"]}),
            422,
            "is not a port",
        ),
        (json!({"action": "deny", "from": ["bob"]}), 422, "is nobody"),
        (
            json!({"action": "deny", "from": ["tag:x"]}),
            409,
            "no member has the tag",
        ),
        (
            json!({"action": "deny", "to": ["member:x"]}),
            409,
            "there is no member",
        ),
        (
            json!({"action": "deny", "to": ["192.0.2.1"]}),
            409,
            "no address of this network",
        ),
    ] {
        let body = json!({"default": "allow", "rules": [{"action": "allow"}, rule]});
        let answer = rig.http.put(&path, body).await;
        let problem = answer.expect_problem(status, said);
        let detail = problem.detail;
        let says_which = detail.contains("access rule 2") || detail.contains("does not fit");
        assert!(says_which, "{detail}");
    }
    let many = json!({"default": "allow", "rules": vec![json!({"action": "deny"}); 1_001]});
    rig.http
        .put(&path, many)
        .await
        .expect_problem(422, "at most 1000");
    let unknown = "/networks/0123456789abcdef/rules";
    rig.http
        .get(unknown)
        .await
        .expect_problem(404, "no such network");
    let reader: Value = rig
        .http
        .post("/tokens", json!({"name": "r", "scopes": ["read"]}))
        .await
        .expect_status(201);
    let reader = Http::with_token(rig.controller.http(), reader["token"].as_str());
    let open = json!({"default": "allow", "rules": []});
    let _: Value = reader.get(&path).await.expect_status(200);
    reader.put(&path, open).await.expect_problem(403, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_listed_set_added_and_removed_by_verbs() {
    let rig = Rig::start().await;
    let verbs = Verbs::of(&rig);
    let network = rig.home().await;
    let node = rig.member(network.id).await;
    rig.set_member(network.id, &node, json!({"name": "nas"}))
        .await;
    let file = rig.state.path().join("rules.txt");
    let text = "# everybody may ask for the time\nallow udp 123\n\ndefault deny\n";
    std::fs::write(&file, text).expect("a file");

    let set = verbs
        .json(&format!("rule set home {}", file.display()))
        .await;
    assert_eq!(set["default"], "deny");
    verbs
        .json("rule add home --at 1 deny tcp 22,80-90 from member:nas")
        .await;
    let after = verbs.json("rule add home allow icmp").await;
    assert_eq!(after["rules"].as_array().map(Vec::len), Some(3));
    assert_eq!(after["rules"][0]["from"], json!(["member:nas"]));
    let human = verbs.run("rule ls home").await;
    assert!(
        human
            .out
            .contains("deny tcp 22,80-90 from member:nas to any"),
        "{}",
        human.out
    );
    assert!(human.out.contains("default deny"), "{}", human.out);
    let after = verbs.json("rule rm home 2").await;
    assert_eq!(after["rules"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        verbs.json("rule default home allow").await["default"],
        "allow"
    );

    verbs.fails("rule rm home 3", 1, "there are 2 rules").await;
    verbs
        .fails("rule add home allow tpc", 2, "neither a protocol")
        .await;
    verbs
        .fails(
            "rule add home deny any from tag:x",
            4,
            "no member has the tag",
        )
        .await;
    verbs
        .fails("rule default home maybe", 2, "allow, deny")
        .await;
    std::fs::write(&file, "default deny\nallow tcp ssh\n").expect("a file");
    let line = format!("rule set home {}", file.display());
    verbs.fails(&line, 2, "line 2: \"ssh\" is not a port").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_added_moved_and_removed_by_forms() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let mut alice = Visitor::administrator(&rig).await;
    let at = format!("/networks/{}", network.id);
    let rules = format!("{at}/rules");
    for (rule, place) in [
        ("deny udp", "1"),
        ("allow tcp 22", "1"),
        ("allow icmp", "9"),
    ] {
        let fields = [("rule", rule), ("at", place)];
        alice.act(&at, &rules, &fields).await.expect(200, "Saved.");
    }
    let default = [("action", "deny")];
    let path = format!("{rules}/default");
    alice.act(&at, &path, &default).await.expect(200, "Saved.");
    let listed = async || -> Vec<String> {
        let path = format!("/networks/{}/rules", network.id);
        let rules: api::AccessRules = rig.http.get(&path).await.expect_status(200);
        assert_eq!(rules.default, Action::Deny);
        let words = |rule: &api::AccessRule| format!("{} {}", rule.action, rule.protocol);
        rules.rules.iter().map(words).collect()
    };
    assert_eq!(listed().await, ["allow tcp", "deny udp", "allow icmp"]);

    let second = [("rule", "deny udp from any to any")];
    let up = format!("{rules}/2/up");
    alice.act(&at, &up, &second).await.expect(200, "Saved.");
    assert_eq!(listed().await, ["deny udp", "allow tcp", "allow icmp"]);
    // The second is another one by now.
    let late = alice
        .submit(&at, &format!("{rules}/2/remove"), &second)
        .await;
    late.expect(422, "The rules have changed meanwhile");
    let down = format!("{rules}/1/down");
    alice.act(&at, &down, &second).await.expect(200, "Saved.");
    let remove = format!("{rules}/2/remove");
    alice.act(&at, &remove, &second).await.expect(200, "Saved.");
    assert_eq!(listed().await, ["allow tcp", "allow icmp"]);
    let wrong = [("rule", "allow tpc"), ("at", "1")];
    alice
        .submit(&at, &rules, &wrong)
        .await
        .expect(422, "neither a protocol");
    alice
        .get(&at)
        .await
        .expect(200, "allow tcp 22 from any to any");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_whose_software_enforces_no_rules_are_named() {
    let rig = Rig::start().await;
    let network = rig.home().await.id;
    let old = rig.member(network).await;
    let mut new = rig.node().await;
    new.say(&ToController::Capabilities(Capabilities::OURS))
        .await;
    new.join(network, None).await;
    new.expect_pending(network).await;
    rig.authorize(network, &new).await;
    new.expect_member(network).await;
    let mut alice = Visitor::administrator(&rig).await;
    let page = format!("/networks/{network}");
    assert!(!alice.get(&page).await.body.contains("enforces no rules"));

    let rules = json!({ "default": "deny", "rules": [] });
    let path = format!("/networks/{network}/rules");
    rig.http.put(&path, rules).await;

    for (node, enforces) in [(&old, false), (&new, true)] {
        let member: api::Member = rig
            .http
            .get(&member_path(network, node))
            .await
            .expect_status(200);
        assert_eq!(member.enforces_rules, enforces);
    }
    let shown = alice.get(&page).await.body;
    assert_eq!(shown.matches("enforces no rules").count(), 1, "{shown}");
}
