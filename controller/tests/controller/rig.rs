//! A controller on free ports, with keys that were found beforehand, so that no test waits for the search.

use std::{
    net::Ipv4Addr,
    path::Path,
    process::Command,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tombolo_controller::{Controller, StartError, config::Config};
use tombolo_proto::{
    address::{self, Cost},
    api,
    id::NetworkId,
    key::{IdentityKey, Seed},
};
use tombolo_tests::postgres::Postgres;

use crate::{http::Http, node::Node};

/// A seed whose identity has an authority address.
pub(crate) const AUTHORITY_SEED: [u8; 32] = [AUTHORITY_BYTE; 32];
const AUTHORITY_BYTE: u8 = 31;

pub(crate) struct Rig {
    pub(crate) controller: Controller,
    pub(crate) http: Http,
    pub(crate) state: State,
}

impl Rig {
    pub(crate) async fn start() -> Self {
        Self::start_on(crate::STORE).await
    }

    pub(crate) async fn start_on(store: Store) -> Self {
        Self::start_in(a_state_dir_on(store), |config| config).await
    }

    /// With another configuration.
    pub(crate) async fn start_with(change: impl FnOnce(Config) -> Config) -> Self {
        Self::start_in(a_state_dir(), change).await
    }

    async fn start_in(state: State, change: impl FnOnce(Config) -> Config) -> Self {
        let controller = Controller::start(change(a_config(state.path())))
            .await
            .expect("the controller starts");
        let http = Http::admin(controller.http(), state.path());
        Self {
            controller,
            http,
            state,
        }
    }

    /// The same state, another process as far as anybody can tell.
    pub(crate) async fn restart(self) -> Self {
        self.restart_with(|config| config).await
    }

    pub(crate) async fn restart_with(self, change: impl FnOnce(Config) -> Config) -> Self {
        let Self {
            controller, state, ..
        } = self;
        let control = controller.control();
        controller.shutdown().await;
        let config = Config {
            control,
            ..a_config(state.path())
        };
        let controller = start_again(change(config)).await;
        let http = Http::admin(controller.http(), state.path());
        Self {
            controller,
            http,
            state,
        }
    }

    pub(crate) async fn network(&self, body: serde_json::Value) -> api::Network {
        self.http.post("/networks", body).await.expect_status(201)
    }

    pub(crate) async fn home(&self) -> api::Network {
        self.network(serde_json::json!({"name": "home", "v4": "172.27.0.0/16"}))
            .await
    }

    pub(crate) async fn node(&self) -> Node {
        Node::connect(self.controller.control(), a_seed(), self.replica()).await
    }

    pub(crate) async fn node_with(&self, seed: Seed) -> Node {
        Node::connect(self.controller.control(), seed, self.replica()).await
    }

    /// Where the controller keeps what it knows.
    pub(crate) fn store_url(&self) -> String {
        let file = self.state.path().join("store.sqlite");
        std::fs::read_to_string(self.state.path().join(DATABASE))
            .unwrap_or_else(|_| format!("sqlite:{}", file.display()))
    }

    /// Runs a verb of the program against this controller: its exit code, and what it said.
    pub(crate) async fn verb(&self, words: &[&str]) -> (Option<i32>, String) {
        let mut program = Command::new(env!("CARGO_BIN_EXE_controller"));
        program
            .args(words)
            .arg("--url")
            .arg(format!("http://{}", self.controller.http()))
            .env("TOMBOLO_STATE_DIR", self.state.path());
        let output = tokio::task::spawn_blocking(move || program.output())
            .await
            .expect("it ends")
            .expect("the program runs");
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8(said).expect("a text"),
        )
    }

    pub(crate) fn replica(&self) -> IdentityKey {
        let path = self.state.path().join("replica.key");
        let bytes = std::fs::read(path).expect("the replica key is there");
        Seed::from_bytes(bytes.try_into().expect("32 bytes"))
            .identity()
            .public()
    }

    /// A node that asked to join and was authorised.
    pub(crate) async fn member(&self, network: NetworkId) -> Node {
        let mut node = self.node().await;
        node.join(network, None).await;
        node.expect_pending(network).await;
        self.authorize(network, &node).await;
        node.expect_member(network).await;
        node
    }

    pub(crate) async fn authorize(&self, network: NetworkId, node: &Node) -> api::Member {
        self.set_member(network, node, serde_json::json!({"authorized": true}))
            .await
    }

    pub(crate) async fn set_member(
        &self,
        network: NetworkId,
        node: &Node,
        body: serde_json::Value,
    ) -> api::Member {
        self.http
            .patch(&member_path(network, node), body)
            .await
            .expect_status(200)
    }
}

/// Within one process a QUIC endpoint gives its port back when its last connection is forgotten, which takes longer than
/// the controller waits for that on a busy machine.
async fn start_again(config: Config) -> Controller {
    const AT_MOST: Duration = Duration::from_secs(20);
    let since = Instant::now();
    loop {
        match Controller::start(config.clone()).await {
            Err(StartError::Listen(error)) if since.elapsed() < AT_MOST => {
                tokio::task::yield_now().await;
                drop(error);
            }
            started => return started.expect("the controller starts again"),
        }
    }
}

pub(crate) fn member_path(network: NetworkId, node: &Node) -> String {
    format!("/networks/{network}/members/{}", node.address)
}

/// A state directory, and the database that belongs to it.
pub(crate) struct State {
    directory: TempDir,
    _postgres: Option<Arc<Postgres>>,
}

impl State {
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// Where the controllers of a test program keep what they know.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    Sqlite,
    Postgres,
}

/// The file in a state directory that names the database of the test.
const DATABASE: &str = "test-database";

/// A state directory that holds an authority key already.
pub(crate) fn a_state_dir() -> State {
    a_state_dir_on(crate::STORE)
}

fn a_state_dir_on(store: Store) -> State {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let write = |name: &str, content: &[u8]| {
        std::fs::write(directory.path().join(name), content).expect("a file can be written");
    };
    write("authority.key", &authority_seed());
    // Where there is no PostgreSQL, which has been said, the tests still run.
    let postgres = (store == Store::Postgres).then(Postgres::shared).flatten();
    if let Some(postgres) = &postgres {
        write(DATABASE, postgres.database().as_bytes());
    }
    State {
        directory,
        _postgres: postgres,
    }
}

pub(crate) fn a_config(state: &Path) -> Config {
    let any = |text: &str| text.parse().expect("an address");
    let database = std::fs::read_to_string(state.join(DATABASE)).ok();
    Config {
        store: database.map(|url| url.parse().expect("the URL of a store")),
        http: any("127.0.0.1:0"),
        control: (an_own_address(), 0).into(),
        relay: any("127.0.0.1:0"),
        ..Config::new(state)
    }
}

/// An address that no other test listens on, so that a controller that starts again finds its port free.
fn an_own_address() -> Ipv4Addr {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = std::process::id() << 8 | COUNT.fetch_add(1, Relaxed) & 0xff;
    // Of 127.64.0.0/10.
    Ipv4Addr::from_bits(0x7f40_0000 | number & 0x3f_ffff)
}

/// A new node's seed.
pub(crate) fn a_seed() -> Seed {
    address::mine(Cost::Node, rand::random).0
}

fn authority_seed() -> [u8; 32] {
    static CHECKED: OnceLock<()> = OnceLock::new();
    CHECKED.get_or_init(|| {
        let key = Seed::from_bytes(AUTHORITY_SEED).identity().public();
        assert!(
            address::of(&key, Cost::Authority).is_some(),
            "the seed in this file has an address"
        );
    });
    AUTHORITY_SEED
}
