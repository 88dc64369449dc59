//! A controller moves: to another store, to another machine by a backup; and a network is declared by a file.

use std::path::Path;

use tempfile::TempDir;
use tombolo_controller::{Controller, config::Config};
use tombolo_proto::{api, id::Version, key::Seed, rules::Action};
use tombolo_tests::postgres::Postgres;

use crate::{cluster::config, http::Http, node::Node};

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_moves_from_a_file_to_a_server_and_its_nodes_do_not_notice() {
    let Some(postgres) = Postgres::shared() else {
        return;
    };
    let lone = Lone::start().await;
    let (network, mut node) = lone.with_a_member().await;
    let before = node.sync(network.id, Version::default()).await;
    let Lone { controller, state } = lone;
    let url = postgres.database();
    let (code, said) = verb(state.path(), &["store", "migrate-to", &url]).await;
    assert_eq!(code, 1, "a running controller holds its directory: {said}");
    let control = controller.control();
    controller.shutdown().await;

    let (code, said) = verb(state.path(), &["store", "migrate-to", &url]).await;

    assert_eq!(code, 0, "{said}");
    let moved = Config {
        control,
        ..config(&state, &url)
    };
    let lone = Lone {
        controller: Controller::start(moved).await.expect("it starts"),
        state,
    };
    let after: api::Network = lone.http().get(&path(&network)).await.expect_status(200);
    assert_eq!(after, network_like(&network, &after));
    audit_log_holds(lone.state.path(), &lone.controller).await;
    let mut node = lone.node(node.seed.clone()).await;
    node.join(network.id, None).await;
    node.expect_member(network.id).await;
    let nothing = node.sync(network.id, before.upto).await;
    assert_eq!((nothing.certs.len(), nothing.upto), (0, before.upto));
    let all = node.sync(network.id, Version::default()).await;
    assert_eq!(all.certs, before.certs);
    // Into a store that holds something nothing is put.
    let again = Lone::start().await;
    let Lone { controller, state } = again;
    controller.shutdown().await;
    let (code, said) = verb(state.path(), &["store", "migrate-to", &url]).await;
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("not empty"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_goes_on_on_an_empty_machine_and_nodes_believe_it() {
    for passphrase in [None, Some("a long one\n")] {
        let lone = Lone::start().await;
        let (network, mut node) = lone.with_a_member().await;
        let before = node.sync(network.id, Version::default()).await;
        let place = tempfile::tempdir().expect("a directory");
        let file = place.path().join("backup");
        let file = file.to_str().expect("a text");
        let secret = place.path().join("passphrase");
        let secret_path = secret.to_str().expect("a text").to_owned();
        let mut flags = Vec::new();
        if let Some(text) = passphrase {
            std::fs::write(&secret, text).expect("a file");
            flags = vec!["--passphrase-file", &secret_path];
        }

        // The controller runs.
        let (code, said) = verb(lone.state.path(), &[&["backup", file], &flags[..]].concat()).await;
        assert_eq!(code, 0, "{said}");
        let holds_key = |bytes: &[u8]| {
            let key = std::fs::read(lone.state.path().join("replica.key")).expect("a key");
            bytes.windows(32).any(|window| window == key)
        };
        let bytes = std::fs::read(file).expect("the backup");
        assert_eq!(holds_key(&bytes), passphrase.is_none());
        lone.controller.shutdown().await;

        let fresh = tempfile::tempdir().expect("a directory");
        let target = fresh.path().join("state");
        let mut damaged = bytes.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 1;
        let bad = place.path().join("damaged");
        std::fs::write(&bad, damaged).expect("a file");
        let bad = bad.to_str().expect("a text");
        let (code, said) = verb(&target, &[&["restore", bad], &flags[..]].concat()).await;
        assert_ne!(code, 0, "{said}");
        if passphrase.is_some() {
            let (code, said) = verb(&target, &["restore", file]).await;
            assert_eq!(code, 2, "{said}");
        }
        let (code, said) = verb(&target, &[&["restore", file], &flags[..]].concat()).await;
        assert_eq!(code, 0, "{said}");
        let (code, said) = verb(&target, &[&["restore", file], &flags[..]].concat()).await;
        assert_eq!(code, 4, "never over something: {said}");

        let token = std::fs::read_to_string(lone.state.path().join("admin.token")).expect("it");
        let again = Controller::start(local(&target)).await.expect("it starts");
        let http = Http::with_token(again.http(), Some(token.trim()));
        let key = replica_seed(&target).identity().public();
        let mut node = Node::connect(again.control(), node.seed.clone(), key).await;
        node.join(network.id, None).await;
        node.expect_member(network.id).await;
        let nothing = node.sync(network.id, before.upto).await;
        assert_eq!(nothing.certs.len(), 0, "nodes notice nothing");
        let status: api::Status = http.get("/status").await.expect_status(200);
        let last = status.last_backup.expect("what it was restored from");
        assert_eq!(
            (last.bytes, last.encrypted),
            (bytes.len() as u64, passphrase.is_some())
        );
        let told: api::Page<api::AuditEntry> = http
            .get("/audit?action=backup.restore")
            .await
            .expect_status(200);
        assert_eq!(told.items[0].actor, last.made_by);
        let rules_path = format!("{}/rules", path(&network));
        let rules: api::AccessRules = http.get(&rules_path).await.expect_status(200);
        assert_eq!(rules.rules[0].protocol, "47", "rules are in the backup");
        // What is signed from now on is newer than anything that was signed after the backup.
        let _: api::Member = http
            .patch(
                &format!("{}/members/{}", path(&network), node.address),
                serde_json::json!({"name": "renamed"}),
            )
            .await
            .expect_status(200);
        audit_log_holds(lone.state.path(), &again).await;
        let pushed = node.directory(network.id).await;
        let cert = pushed.cert(node.identity());
        assert_eq!(cert.name, "renamed");
        assert!(cert.version.revision.0 > before.upto.revision.0 + 1_000_000);
        again.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_is_what_its_file_says_and_applying_it_again_changes_nothing() {
    let lone = Lone::start().await;
    let file = lone.state.path().join("home.toml");
    let name = file.to_str().expect("a text").to_owned();
    let write = |text: &str| std::fs::write(&file, text).expect("a file");
    write("name = \"home\"\nv4 = \"172.27.0.0/16\"\nmtu = 1380\n");

    let planned = lone.apply(&[&name, "--dry-run"]).await;
    assert_eq!(planned.len(), 1, "{planned:?}");
    let page: api::Page<api::Network> = lone.http().get("/networks").await.expect_status(200);
    assert_eq!(page.items.len(), 0, "a dry run changes nothing");
    assert_eq!(lone.apply(&[&name]).await, planned);
    assert_eq!(lone.apply(&[&name]).await.len(), 0);

    let page: api::Page<api::Network> = lone.http().get("/networks").await.expect_status(200);
    let network = &page.items[0];
    let mut node = lone.node(a_seed()).await;
    node.join(network.id, None).await;
    node.expect_pending(network.id).await;
    write(&format!(
        "name = \"home\"\nv4 = \"172.27.0.1/16\"\nsubnet_pools = [\"10.240.0.1/12\"]\nmtu = 1300\nmember_routes = \"auto\"\nv6_modes = [\"rfc4193\", \"6plane\"]\n\
         [[members]]\nnode = \"{}\"\nname = \"nas\"\nauthorized = true\naddresses = [\"172.27.0.9\"]\ntags = [\"b\", \"a\"]\n\
         [[routes]]\ntarget = \"10.9.0.1/24\"\nvia = \"nas\"\n\
         [rules]\ndefault = \"deny\"\nlist = [\"allow tcp 22 from tag:a to member:nas\"]\n",
        node.address
    ));

    let changed = lone.apply(&[&name]).await;

    assert_eq!(changed.len(), 10, "{changed:?}");
    assert_eq!(lone.apply(&[&name]).await.len(), 0);
    let member: api::Member = lone
        .http()
        .get(&format!("{}/members/{}", path(network), node.address))
        .await
        .expect_status(200);
    assert_eq!(member.name, "nas");
    let rules: api::AccessRules = lone
        .http()
        .get(&format!("{}/rules", path(network)))
        .await
        .expect_status(200);
    assert_eq!((rules.default, rules.rules.len()), (Action::Deny, 1));
    assert!(
        member
            .addresses
            .contains(&"172.27.0.9".parse().expect("an address"))
    );
    assert_eq!(member.routes[0].target.to_string(), "10.9.0.0/24");
    let url = format!("http://{}", lone.controller.http());
    write("name = \"home\"\nmut = 3\n");
    let (code, said) = verb(lone.state.path(), &["apply", &name, "--url", &url]).await;
    assert_eq!((code, said.lines().count()), (2, 1), "{said}");
    assert!(said.contains("line 2"), "{said}");
}

/// One controller on a file.
struct Lone {
    controller: Controller,
    state: TempDir,
}

impl Lone {
    async fn start() -> Self {
        let state = tempfile::tempdir().expect("a directory");
        std::fs::write(state.path().join("authority.key"), [31; 32]).expect("a file");
        let controller = Controller::start(local(state.path()))
            .await
            .expect("it starts");
        Self { controller, state }
    }

    fn http(&self) -> Http {
        Http::admin(self.controller.http(), self.state.path())
    }

    async fn node(&self, seed: Seed) -> Node {
        let key = replica_seed(self.state.path()).identity().public();
        Node::connect(self.controller.control(), seed, key).await
    }

    async fn with_a_member(&self) -> (api::Network, Node) {
        let network: api::Network = self
            .http()
            .post(
                "/networks",
                serde_json::json!({"name": "home", "v4": "172.27.0.0/16"}),
            )
            .await
            .expect_status(201);
        let mut node = self.node(a_seed()).await;
        node.join(network.id, None).await;
        node.expect_pending(network.id).await;
        let _: api::Member = self
            .http()
            .patch(
                &format!("{}/members/{}", path(&network), node.address),
                serde_json::json!({"authorized": true}),
            )
            .await
            .expect_status(200);
        node.expect_member(network.id).await;
        let rules = serde_json::json!({"default": "allow", "rules": [{"action": "deny", "protocol": "47"}]});
        let rules_path = format!("{}/rules", path(&network));
        let _: api::AccessRules = self.http().put(&rules_path, rules).await.expect_status(200);
        (network, node)
    }

    async fn apply(&self, arguments: &[&str]) -> Vec<serde_json::Value> {
        let url = format!("http://{}", self.controller.http());
        let arguments = [&["apply", "--json", "--url", &url], arguments].concat();
        let (code, said) = verb(self.state.path(), &arguments).await;
        assert_eq!(code, 0, "{said}");
        serde_json::from_str(&said).expect("a list")
    }
}

fn local(state: &Path) -> Config {
    let any = |text: &str| text.parse().expect("an address");
    Config {
        http: any("127.0.0.1:0"),
        control: any("127.0.0.1:0"),
        relay: any("127.0.0.1:0"),
        ..Config::new(state)
    }
}

fn replica_seed(state: &Path) -> Seed {
    let bytes = std::fs::read(state.join("replica.key")).expect("its key");
    Seed::from_bytes(bytes.try_into().expect("32 bytes"))
}

fn a_seed() -> Seed {
    tombolo_proto::address::mine(tombolo_proto::address::Cost::Node, rand::random).0
}

fn path(network: &api::Network) -> String {
    format!("/networks/{}", network.id)
}

/// What authorising one member does not change.
fn network_like(before: &api::Network, after: &api::Network) -> api::Network {
    api::Network {
        revision: after.revision,
        ..before.clone()
    }
}

async fn audit_log_holds(state: &Path, controller: &Controller) {
    let url = format!("http://{}", controller.http());
    let (code, said) = verb(state, &["audit", "verify", "--url", &url]).await;
    assert_eq!(code, 0, "{said}");
    assert!(!said.starts_with("0 lines"), "{said}");
}

async fn verb(state: &Path, arguments: &[&str]) -> (i32, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_controller"));
    command.args(arguments).arg("--state-dir").arg(state);
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .expect("the thread ends")
        .expect("the verb runs");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&said).into_owned(),
    )
}
