//! The API of ZeroTier's controller: what panels and playbooks written for that one ask, in the order in which they do.

use serde_json::{Value, json};
use tombolo_proto::{api, id::NetworkId};

use crate::{
    http::{Answer, Http},
    rig::Rig,
};

/// A tool: it shows its token as such tools do, and says nothing of JSON.
struct Tool {
    http: Http,
    token: String,
}

impl Tool {
    fn new(rig: &Rig) -> Self {
        let token = std::fs::read_to_string(rig.state.path().join("admin.token"));
        Self::with_token(rig, token.expect("a token").trim())
    }

    fn with_token(rig: &Rig, token: &str) -> Self {
        Self {
            http: Http::with_token(rig.controller.http(), None),
            token: token.to_owned(),
        }
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        let headers = [
            ("X-ZT1-Auth", self.token.as_str()),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let body = body.as_bytes().to_vec();
        self.http
            .send(method, &format!("//{path}"), &headers, body)
            .await
    }

    async fn get(&self, path: &str) -> Value {
        self.ask("GET", path, "").await.expect_status(200)
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.ask("POST", path, &body.to_string())
            .await
            .expect_status(200)
    }

    async fn delete(&self, path: &str) -> Value {
        self.ask("DELETE", path, "").await.expect_status(200)
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// ztncui: every request has its address from /status; lists are read, changed and sent back.
#[tokio::test(flavor = "multi_thread")]
async fn a_panel_that_sends_lists_back_manages_a_network() {
    let rig = Rig::start().await;
    let tool = Tool::new(&rig);

    let address = text(&tool.get("status").await["address"]).to_owned();
    let made = tool
        .post(
            &format!("controller/network/{address}______"),
            json!({"name": "home"}),
        )
        .await;
    let id = text(&made["nwid"]).to_owned();
    assert!(id.starts_with(&address) && id.len() == 16, "{id}");
    let ids = tool.get("controller/network").await;
    assert_eq!(ids, json!([id]));
    let path = format!("controller/network/{id}");
    assert_eq!(tool.get(&path).await["name"], "home");

    // "Easy setup".
    let network = tool
        .post(
            &path,
            json!({
                "ipAssignmentPools": [{"ipRangeStart": "10.147.17.1", "ipRangeEnd": "10.147.17.254"}],
                "routes": [{"target": "10.147.17.0/24", "via": null}],
                "v4AssignMode": {"zt": "true"},
            }),
        )
        .await;
    assert_eq!(network["v4AssignMode"]["zt"], true);
    tool.post(&path, json!({"v6AssignMode": {"6plane": "true"}}))
        .await;

    let network_id: NetworkId = id.parse().expect("an id");
    let mut node = rig.node().await;
    node.join(network_id, None).await;
    node.expect_pending(network_id).await;
    let members = tool.get(&format!("{path}/member")).await;
    let member = format!("{path}/member/{}", node.address);
    assert_eq!(members, json!({node.address.to_string(): 0}));
    let waiting = tool.get(&member).await;
    assert_eq!(waiting["authorized"], false);
    assert_eq!(waiting["vMajor"], 1, "it said that it is \"test 1.0\"");

    let let_in = tool.post(&member, json!({"authorized": true})).await;
    node.expect_member(network_id).await;
    assert_eq!(let_in["authorized"], true);
    let assigned = text(&let_in["ipAssignments"][0]).to_owned();
    assert!(assigned.starts_with("10.147.17."), "{assigned}");

    // Addresses and routes are read, pushed to, and sent back as a whole.
    let mut addresses = tool.get(&member).await["ipAssignments"].clone();
    addresses
        .as_array_mut()
        .expect("a list")
        .push(json!("10.147.17.77"));
    let two = tool
        .post(&member, json!({"ipAssignments": addresses}))
        .await;
    assert_eq!(two["ipAssignments"].as_array().map(Vec::len), Some(2));
    let mut routes = tool.get(&path).await["routes"].clone();
    let list = routes.as_array_mut().expect("a list");
    list.push(json!({"target": "192.168.7.1/24", "via": assigned}));
    let routed = tool.post(&path, json!({"routes": routes})).await;
    assert_eq!(routed["routes"][1]["target"], "192.168.7.0/24");
    let shown: api::Network = rig
        .http
        .get(&format!("/networks/{id}"))
        .await
        .expect_status(200);
    assert_eq!(shown.routes.len(), 1);
    assert_eq!(shown.routes[0].via, node.address);
    let without: Vec<Value> = routes.as_array().expect("a list")[..1].to_vec();
    let unrouted = tool.post(&path, json!({"routes": without})).await;
    assert_eq!(unrouted["routes"].as_array().map(Vec::len), Some(1));

    let renamed = tool.post(&path, json!({"name": "my home"})).await;
    assert_eq!(renamed["name"], "my-home");
    let gone = tool.delete(&member).await;
    assert_eq!(text(&gone["id"]), node.address.to_string());
    node.expect_denied(network_id, "deleted").await;
    let gone = tool.delete(&path).await;
    assert_eq!(gone["name"], "my-home");
    assert_eq!(tool.ask("GET", &path, "").await.status, 404);

    // All of it stands in the audit log, in the name of the token.
    let log: api::Page<api::AuditEntry> = rig
        .http
        .get(&format!("/audit?network={id}&limit=1000"))
        .await
        .expect_status(200);
    let actions: Vec<&str> = log.items.iter().map(|line| line.action.as_str()).collect();
    for action in [
        "network.create",
        "network.update",
        "member.authorize",
        "member.update",
        "member.delete",
        "network.delete",
    ] {
        assert!(actions.contains(&action), "{action} in {actions:?}");
    }
    let by_token = log
        .items
        .iter()
        .filter(|line| line.actor.starts_with("token "));
    assert!(by_token.count() >= 8, "{actions:?}");
}

/// ZeroUI: whole configurations with rules, and a member that is deleted and reset at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_panel_that_sends_whole_objects_manages_a_network() {
    let rig = Rig::start().await;
    let tool = Tool::new(&rig);
    let address = text(&tool.get("status").await["address"]).to_owned();
    let made = tool
        .post(
            &format!("controller/network/{address}______"),
            json!({
                "name": "hungry_turing", "private": true, "enableBroadcast": true,
                "v4AssignMode": {"zt": true},
                "v6AssignMode": {"6plane": false, "rfc4193": true, "zt": false},
                "ipAssignmentPools": [{"ipRangeStart": "172.25.0.1", "ipRangeEnd": "172.25.255.254"}],
                "routes": [{"target": "172.25.0.0/16", "via": null}],
                "rules": [
                    {"type": "MATCH_ETHERTYPE", "not": true, "or": false, "etherType": 2048},
                    {"type": "MATCH_ETHERTYPE", "not": true, "or": false, "etherType": 2054},
                    {"type": "MATCH_ETHERTYPE", "not": true, "or": false, "etherType": 34525},
                    {"type": "ACTION_DROP"}, {"type": "ACTION_ACCEPT"},
                ],
            }),
        )
        .await;
    let id = text(&made["id"]).to_owned();
    assert!(
        made["creationTime"]
            .as_u64()
            .is_some_and(|at| at > 1_600_000_000_000)
    );
    let path = format!("controller/network/{id}");
    let network_id: NetworkId = id.parse().expect("an id");
    let mut node = rig.node().await;
    node.join(network_id, None).await;
    node.expect_pending(network_id).await;
    let member = format!("{path}/member/{}", node.address);

    let mut whole = tool.get(&member).await;
    whole["authorized"] = json!(true);
    tool.post(&member, whole).await;
    node.expect_member(network_id).await;
    let peer = tool.get(&format!("peer/{}", node.address)).await;
    assert_eq!(
        (&peer["versionMajor"], &peer["latency"]),
        (&json!(1), &json!(0))
    );
    let before = tool.get(&path).await;
    let same = tool.post(&path, before.clone()).await;
    assert_eq!(same, before, "what is sent back changes nothing");

    tool.delete(&member).await;
    tool.ask("GET", &format!("peer/{}", node.address), "")
        .await
        .expect_problem(404, "no member");
    let reset = json!({"authorized": false, "ipAssignments": [], "capabilities": [], "tags": []});
    let blank = tool.post(&member, reset).await;
    assert_eq!(
        (&blank["authorized"], &blank["revision"]),
        (&json!(false), &json!(0))
    );
    assert_eq!(tool.get(&format!("{path}/member")).await, json!({}));
    tool.ask("POST", &member, r#"{"authorized": true}"#)
        .await
        .expect_problem(404, "has not asked to join");
}

/// Playbooks choose their own number, repeat themselves, and may hold a token for one network.
#[tokio::test(flavor = "multi_thread")]
async fn a_playbook_makes_a_network_of_its_choice_once() {
    let rig = Rig::start().await;
    let tool = Tool::new(&rig);
    let address = text(&tool.get("status").await["address"]).to_owned();
    let path = format!("controller/network/{address}00cafe");
    assert_eq!(tool.get("controller").await["controller"], true);

    for _ in 0..2 {
        let network = tool.post(&path, json!({"name": "lab", "mtu": 2800})).await;
        assert_eq!(text(&network["id"]), format!("{address}00cafe"));
        assert_eq!(
            (&network["mtu"], &network["revision"]),
            (&json!(2800), &json!(1))
        );
    }
    let scope = format!("admin:{address}00cafe");
    let token: api::CreatedToken = rig
        .http
        .post("/tokens", json!({"name": "lab", "scopes": [scope]}))
        .await
        .expect_status(201);
    let narrow = Tool::with_token(&rig, &token.token);
    assert_eq!(
        narrow.get("controller/network").await,
        json!([format!("{address}00cafe")])
    );
    narrow.post(&path, json!({"private": false})).await;
    for elsewhere in [format!("{address}______"), format!("{address}00beef")] {
        narrow
            .ask("POST", &format!("controller/network/{elsewhere}"), "{}")
            .await
            .expect_problem(403, "may not");
    }

    narrow.delete(&path).await;
    // Members of the old one would belong to a new one of the same id.
    tool.ask("POST", &path, "{}")
        .await
        .expect_problem(409, "before");
    tool.ask("POST", "controller/network/8056c2e21c______", "{}")
        .await
        .expect_problem(404, "begin with");
    tool.ask(
        "POST",
        &format!("controller/network/{address}______"),
        "[1]",
    )
    .await
    .expect_problem(400, "not an object");
    let stale = [("if-match", "\"old\""), ("x-zt1-auth", tool.token.as_str())];
    let made = tool.post("controller/network", json!({})).await;
    let made = format!("//controller/network/{}", text(&made["id"]));
    let answer = tool
        .http
        .send("POST", &made, &stale, b"{\"mtu\":1300}".to_vec());
    answer.await.expect_problem(412, "changed");
    let wrong = Tool::with_token(&rig, "tombolo_000000000000_wrong");
    wrong
        .ask("GET", "status", "")
        .await
        .expect_problem(401, "token");
}
