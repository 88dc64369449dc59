//! `controller import zerotier`: from a directory as a ZeroTier controller keeps it.

use std::{fs, path::Path};

use serde_json::{Value, json};
use tombolo_proto::api;

use crate::rig::Rig;

const HOME: &str = "9e1948db63a1b2c3";
const NAS: &str = "3b1b2c3d4e";
const LAPTOP: &str = "a1b2c3d4e5";
const STRANGER: &str = "0123456789";

/// What ZeroTier One 1.14 writes, with two networks.
fn a_directory(at: &Path) {
    let network = |id: &str, fields: Value| {
        let mut all = json!({
            "authTokens": [null], "authorizationEndpoint": "", "capabilities": [], "clientId": "",
            "creationTime": 1_700_000_000_000_u64, "dns": [], "enableBroadcast": true, "id": id, "ipAssignmentPools": [],
            "mtu": 2800, "multicastLimit": 32, "name": "", "nwid": id, "objtype": "network", "private": true,
            "remoteTraceLevel": 0, "remoteTraceTarget": null, "revision": 17, "routes": [],
            "rules": [{"not": false, "or": false, "type": "ACTION_ACCEPT"}], "rulesSource": "", "ssoEnabled": false,
            "tags": [], "v4AssignMode": {"zt": false}, "v6AssignMode": {"6plane": false, "rfc4193": false, "zt": false},
        });
        let changed = fields.as_object().expect("an object").clone();
        all.as_object_mut().expect("an object").extend(changed);
        write(&at.join(format!("controller.d/network/{id}.json")), &all);
    };
    let member = |node: &str, fields: Value| {
        let mut all = json!({
            "activeBridge": false, "address": node, "authenticationExpiryTime": 0, "authorized": false, "capabilities": [],
            "creationTime": 1_700_000_000_000_u64, "id": node, "identity": format!("{node}:0:00ff"), "ipAssignments": [],
            "lastAuthorizedCredential": null, "lastAuthorizedCredentialType": "api", "lastAuthorizedTime": 0,
            "lastDeauthorizedTime": 0, "noAutoAssignIps": false, "nwid": HOME, "objtype": "member", "remoteTraceLevel": 0,
            "remoteTraceTarget": null, "revision": 3, "ssoExempt": false, "tags": [], "vMajor": 1, "vMinor": 14,
            "vProto": 12, "vRev": 2,
        });
        let changed = fields.as_object().expect("an object").clone();
        all.as_object_mut().expect("an object").extend(changed);
        write(
            &at.join(format!("controller.d/network/{HOME}/member/{node}.json")),
            &all,
        );
    };
    network(
        HOME,
        json!({
            "name": "home lab",
            "v4AssignMode": {"zt": true},
            "v6AssignMode": {"6plane": true, "rfc4193": false, "zt": false},
            "ipAssignmentPools": [
                {"ipRangeStart": "10.147.17.1", "ipRangeEnd": "10.147.17.254"},
                {"ipRangeStart": "10.9.0.1", "ipRangeEnd": "10.9.0.9"},
            ],
            "routes": [
                {"target": "10.147.17.0/24", "via": null},
                {"target": "192.168.7.0/24", "via": "10.147.17.20"},
                {"target": "192.168.8.0/24", "via": "10.147.17.200"},
            ],
            "rules": [{"type": "MATCH_IP_PROTOCOL", "ipProtocol": 17}, {"type": "ACTION_DROP"}, {"type": "ACTION_ACCEPT"}],
        }),
    );
    network("9e1948db63ffffff", json!({}));
    member(
        NAS,
        json!({"authorized": true, "name": "nas", "ipAssignments": ["10.147.17.20"]}),
    );
    member(LAPTOP, json!({"authorized": true}));
    member(STRANGER, json!({}));
    fs::create_dir_all(at.join("controller.d/trace")).expect("a directory");
}

fn write(path: &Path, value: &Value) {
    fs::create_dir_all(path.parent().expect("it is inside")).expect("a directory");
    fs::write(path, value.to_string()).expect("a file");
}

/// What a run says: every item as `what: outcome`.
async fn import(rig: &Rig, words: &[&str]) -> Vec<String> {
    let words = [&["import", "zerotier", "--json"], words].concat();
    let (code, said) = rig.verb(&words).await;
    assert_eq!(code, Some(0), "{said}");
    let items: Vec<Value> = serde_json::from_str(&said).expect("a JSON array");
    let text = |item: &Value, name: &str| item[name].as_str().expect("a text").to_owned();
    let told = items.iter().map(|item| {
        assert!(!text(item, "detail").contains('\n'));
        format!("{}: {}", text(item, "what"), text(item, "outcome"))
    });
    told.collect()
}

async fn lines_of_the_log(rig: &Rig) -> usize {
    let log: api::Page<api::AuditEntry> =
        rig.http.get("/audit?limit=1000").await.expect_status(200);
    log.items
        .iter()
        .filter(|line| line.actor.starts_with("token"))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_come_first_and_members_as_they_move() {
    let rig = Rig::start().await;
    let directory = tempfile::tempdir().expect("a directory");
    a_directory(directory.path());
    let dir = directory.path().to_str().expect("a text").to_owned();
    let logged = lines_of_the_log(&rig).await;

    let planned = import(&rig, &[&dir, "--dry-run"]).await;
    let none: api::Page<api::Network> = rig.http.get("/networks").await.expect_status(200);
    assert_eq!(none.items.len(), 0, "a dry run changes nothing");
    let done = import(&rig, &[&dir]).await;
    assert_eq!(planned, done, "a dry run says what a run does");
    assert_eq!(
        done,
        [
            "network home-lab: create",
            "network home-lab: pool 10.9.0.1-10.9.0.9: leave",
            "network home-lab: IPv6 addresses: leave",
            "network home-lab: rules: leave",
            "member 0123456789: leave",
            "member 3b1b2c3d4e (nas): wait",
            "member a1b2c3d4e5: wait",
            "route 192.168.7.0/24 via 10.147.17.20: wait",
            "route 192.168.8.0/24 via 10.147.17.200: leave",
            "network zerotier-ffffff: create",
        ]
    );
    assert_eq!(
        lines_of_the_log(&rig).await,
        logged + 2,
        "one line for each network"
    );
    let networks: api::Page<api::Network> = rig.http.get("/networks").await.expect_status(200);
    let home = networks
        .items
        .iter()
        .find(|network| network.name == "home-lab");
    let home = home.expect("it was made").clone();
    assert_eq!(home.on_link[0].to_string(), "10.147.17.0/24");
    assert_eq!(
        (home.v4_pools.len(), home.mtu, home.private),
        (1, 1400, true)
    );

    // One server has moved.
    let mut nas = rig.node().await;
    let moved = format!("--member={NAS}={}", nas.address);
    let early = import(&rig, &[&dir, "--network", HOME, &moved]).await;
    assert!(
        early.contains(&"member 3b1b2c3d4e (nas): wait".to_owned()),
        "{early:?}"
    );
    nas.join(home.id, None).await;
    nas.expect_pending(home.id).await;
    let logged = lines_of_the_log(&rig).await;
    let later = import(&rig, &[&dir, "--network", HOME, &moved]).await;
    nas.expect_member(home.id).await;
    assert_eq!(later[0], "network home-lab: keep");
    let became = format!("member 3b1b2c3d4e (nas) as {}", nas.address);
    assert!(later.contains(&format!("{became}: change")), "{later:?}");
    let member: api::Member = rig
        .http
        .get(&format!("/networks/{}/members/{}", home.id, nas.address))
        .await
        .expect_status(200);
    assert_eq!(member.name, "nas");
    assert_eq!(member.addresses[0].to_string(), "10.147.17.20");
    assert_eq!(member.routes.len(), 1);
    assert_eq!(member.routes[0].target.to_string(), "192.168.7.0/24");
    assert_eq!(
        lines_of_the_log(&rig).await,
        logged + 2,
        "one for the member, one for its route"
    );

    let again = import(&rig, &[&dir, "--network", HOME, &moved]).await;
    assert!(
        !again
            .iter()
            .any(|item| item.ends_with("change") || item.ends_with("create")),
        "{again:?}"
    );
    assert_eq!(
        lines_of_the_log(&rig).await,
        logged + 2,
        "the same again changes nothing"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_read_is_named_and_nothing_is_done() {
    let rig = Rig::start().await;
    let directory = tempfile::tempdir().expect("a directory");
    let dir = directory.path().to_str().expect("a text").to_owned();
    let refused = async |words: &[&str], texts: &[&str]| {
        let (code, said) = rig
            .verb(&[&["import", "zerotier", &dir], words].concat())
            .await;
        assert_eq!(
            (code, said.trim_end().lines().count()),
            (Some(2), 1),
            "{said}"
        );
        for text in texts {
            assert!(said.contains(text), "{said:?} does not hold {text:?}");
        }
    };

    refused(&[], &["controller.d"]).await;
    a_directory(directory.path());
    refused(
        &["--network", "8056c2e21c000001"],
        &["has no network 8056c2e21c000001"],
    )
    .await;
    refused(&["--member", "ffffffffaa=89e92ceee5"], &["--member"]).await;
    refused(
        &["--member", "1111111111=89e92ceee5"],
        &["1111111111 is a member of none"],
    )
    .await;
    let broken = directory
        .path()
        .join(format!("controller.d/network/{HOME}/member/{NAS}.json"));
    for text in ["", "{\"authorized\": tr", "[]", "\u{0}"] {
        fs::write(&broken, text).expect("a file");
        refused(&[], &[&format!("{NAS}.json")]).await;
    }
    let networks: api::Page<api::Network> = rig.http.get("/networks").await.expect_status(200);
    assert_eq!(networks.items.len(), 0);
}
