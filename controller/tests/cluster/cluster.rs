//! Replicas of one authority.

use std::{path::PathBuf, sync::Arc, time::Duration};

use serde_json::Value;
use tempfile::TempDir;
use tombolo_controller::{Controller, config::Config};
use tombolo_proto::{
    address::{self, Cost},
    api,
    key::{IdentityKey, Seed},
};
use tombolo_tests::postgres::Postgres;

use crate::{http::Http, node::Node};

/// A seed whose identity has an authority address.
const AUTHORITY_SEED: [u8; 32] = [31; 32];
/// Longer than anything here takes.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) struct Replica {
    pub(crate) controller: Controller,
    pub(crate) http: Http,
    pub(crate) state: TempDir,
}

impl Replica {
    /// A replica with nothing of its own, and with `token` for its API.
    pub(crate) async fn start(url: &str, token: &str) -> Self {
        Self::start_in(tempfile::tempdir().expect("a directory"), url, token).await
    }

    async fn start_in(state: TempDir, url: &str, token: &str) -> Self {
        let controller = Controller::start(config(&state, url))
            .await
            .expect("the replica starts");
        Self {
            http: Http::with_token(controller.http(), Some(token)),
            controller,
            state,
        }
    }

    pub(crate) fn key(&self) -> IdentityKey {
        let bytes = std::fs::read(self.state.path().join("replica.key")).expect("its key");
        Seed::from_bytes(bytes.try_into().expect("32 bytes"))
            .identity()
            .public()
    }

    pub(crate) fn seed(&self) -> Seed {
        let bytes = std::fs::read(self.state.path().join("replica.key")).expect("its key");
        Seed::from_bytes(bytes.try_into().expect("32 bytes"))
    }

    pub(crate) async fn node(&self) -> Node {
        self.node_with(address::mine(Cost::Node, rand::random).0)
            .await
    }

    pub(crate) async fn node_with(&self, seed: Seed) -> Node {
        Node::connect(self.controller.control(), seed, self.key()).await
    }

    pub(crate) async fn home(&self) -> api::Network {
        self.http
            .post(
                "/networks",
                serde_json::json!({"name": "home", "v4": "172.27.0.0/16"}),
            )
            .await
            .expect_status(201)
    }

    pub(crate) async fn keyring(&self) -> api::Keyring {
        self.http.get("/keyring").await.expect_status(200)
    }

    /// Waits until the answer of a path satisfies `is_it`.
    pub(crate) async fn until(&self, path: &str, is_it: impl Fn(u16, &Value) -> bool) {
        let wait = async {
            loop {
                let answer = self.http.get(path).await;
                let value = serde_json::from_str(&answer.body).unwrap_or(Value::Null);
                if is_it(answer.status, &value) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, wait)
            .await
            .unwrap_or_else(|_| panic!("{path} never answered as expected"));
    }

    pub(crate) async fn until_ready(&self) {
        self.until("//readyz", |status, _| status == 200).await;
    }

    /// Runs a verb against this replica.
    pub(crate) async fn verb(&self, cluster: &Cluster, arguments: &[&str]) -> (i32, String) {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_controller"));
        command
            .args(arguments)
            .args(["--url", &format!("http://{}", self.controller.http())])
            .arg("--state-dir")
            .arg(cluster.first.state.path());
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
}

/// The replica that made the authority, and where others find the store.
pub(crate) struct Cluster {
    pub(crate) first: Replica,
    pub(crate) url: String,
    pub(crate) token: String,
    pub(crate) postgres: Arc<Postgres>,
}

impl Cluster {
    /// None if there is no PostgreSQL here.
    pub(crate) async fn start() -> Option<Self> {
        Some(Self::on(Postgres::shared()?).await)
    }

    pub(crate) async fn on(postgres: Arc<Postgres>) -> Self {
        let url = postgres.database();
        let state = tempfile::tempdir().expect("a directory");
        std::fs::write(state.path().join("authority.key"), AUTHORITY_SEED).expect("a file");
        let controller = Controller::start(config(&state, &url))
            .await
            .expect("the first replica starts");
        let token: String = std::fs::read_to_string(state.path().join("admin.token"))
            .expect("the first start writes a token")
            .trim()
            .to_owned();
        Self {
            first: Replica {
                http: Http::with_token(controller.http(), Some(&token)),
                controller,
                state,
            },
            url,
            token,
            postgres,
        }
    }

    /// Another replica, which waits.
    pub(crate) async fn another(&self) -> Replica {
        Replica::start(&self.url, &self.token).await
    }

    /// Another replica that may sign.
    pub(crate) async fn admitted(&self) -> Replica {
        let replica = self.another().await;
        let (code, said) = self
            .first
            .verb(self, &["keyring", "add", &replica.key().to_string()])
            .await;
        assert_eq!(code, 0, "{said}");
        replica.until_ready().await;
        replica
    }

    pub(crate) fn root_key(&self) -> PathBuf {
        self.first.state.path().join("authority.key")
    }
}

pub(crate) fn config(state: &TempDir, url: &str) -> Config {
    let any = |text: &str| text.parse().expect("an address");
    Config {
        store: Some(url.parse().expect("the URL of a store")),
        http: any("127.0.0.1:0"),
        control: any("127.0.0.1:0"),
        relay: any("127.0.0.1:0"),
        ..Config::new(state.path())
    }
}

/// How often something is done: the published number if asked for, less otherwise.
pub(crate) fn count(usual: usize, full: usize) -> usize {
    if std::env::var_os("TOMBOLO_TEST_FULL").is_some() {
        full
    } else {
        usual
    }
}
