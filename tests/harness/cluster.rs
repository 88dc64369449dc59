//! Several controllers on one PostgreSQL in a laboratory, each on a host of its own.

use serde_json::Value;

use crate::{
    netns::Lab,
    overlay::{Controller, Node, Overlay, SOON},
    postgres::Postgres,
    process::wait_for,
};

/// Replicas, their store, and nodes that are members of one network.
///
/// Fields are dropped in order: the lab is part of the overlay.
#[derive(Debug)]
pub struct Cluster {
    /// The replicas beside the overlay's controller, which holds the root key.
    pub others: Vec<Controller>,
    /// Their store.
    pub store: Postgres,
    /// The first replica, the network, the members and the lab.
    pub overlay: Overlay,
}

impl Cluster {
    /// So many replicas, and members with these names. None, and said loudly, without PostgreSQL.
    ///
    /// # Panics
    /// When any of it does not come up.
    #[must_use]
    #[track_caller]
    pub fn new(lab: Lab, replicas: usize, names: &[&str]) -> Option<Self> {
        let store = Postgres::start_on(lab.host("db"))?;
        let first = Controller::start_on(lab.host("ctl1"), Some(&store.database()));
        let others: Vec<_> = (2..=replicas)
            .map(|number| first.another(lab.host(&format!("ctl{number}"))))
            .collect();
        let admitted = first.verb(&["keyring", "add", "--all-pending"]);
        admitted.ok();
        for replica in &others {
            replica.wait_until_ready();
        }
        let hosts = names.iter().map(|name| lab.host(name)).collect();
        let overlay = Overlay::around(first, lab, hosts, "");
        let cluster = Self {
            others,
            store,
            overlay,
        };
        for node in &cluster.overlay.nodes {
            cluster.wait_for_home(node, |_| true);
        }
        Some(cluster)
    }

    /// Every replica, in order.
    pub fn replicas(&self) -> impl Iterator<Item = &Controller> {
        std::iter::once(&self.overlay.controller).chain(&self.others)
    }

    /// One of them, counted from 0.
    ///
    /// # Panics
    /// When there are fewer.
    #[must_use]
    pub fn replica(&mut self, number: usize) -> &mut Controller {
        match number.checked_sub(1) {
            None => &mut self.overlay.controller,
            Some(other) => &mut self.others[other],
        }
    }

    /// The number of the replica that a node is connected to.
    #[must_use]
    pub fn home(&self, node: &Node) -> Option<usize> {
        let controller = node.controller(&self.overlay.network)?;
        self.replicas()
            .position(|replica| replica.control_address() == controller)
    }

    /// The number of every node's replica.
    #[must_use]
    pub fn homes(&self) -> Vec<Option<usize>> {
        let nodes = self.overlay.nodes.iter();
        nodes.map(|node| self.home(node)).collect()
    }

    /// Waits until a node is connected to a replica that will do.
    ///
    /// # Panics
    /// When that does not happen.
    #[track_caller]
    pub fn wait_for_home(&self, node: &Node, will_do: impl Fn(usize) -> bool) -> usize {
        wait_for("a node to be served by another replica", SOON * 2, || {
            self.home(node).filter(|home| will_do(*home))
        })
    }
}

/// What a replica answered over HTTP.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status; 0 if there was no answer.
    pub status: u16,
    /// For how many seconds the store had not answered, if the replica said so.
    pub stale: Option<u64>,
    /// The body, if it is JSON.
    pub body: Value,
}

impl Controller {
    /// Asks the API with the admin token, or with another one.
    #[track_caller]
    #[must_use]
    pub fn ask(&self, method: &str, path: &str, body: Option<&str>, token: Option<&str>) -> Answer {
        let admin = std::fs::read_to_string(self.state_dir().join("admin.token"));
        let admin = admin.unwrap_or_default();
        let bearer = token.unwrap_or(admin.trim());
        let mut curl = self.host.namespace.command("curl");
        curl.args(["-s", "-i", "-m", "20", "-X", method])
            .args(["-H", &format!("authorization: Bearer {bearer}")])
            .args(["-H", "content-type: application/json"])
            .args(body.iter().flat_map(|body| ["-d", body]))
            .arg(format!("http://127.0.0.1:9792{path}"));
        let said = crate::process::Said::by(&mut curl).stdout;
        let (head, body) = said.split_once("\r\n\r\n").unwrap_or_default();
        let header = |name: &str| {
            head.lines()
                .find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
        };
        Answer {
            status: head
                .split(' ')
                .nth(1)
                .and_then(|status| status.parse().ok())
                .unwrap_or(0),
            stale: header("tombolo-stale-seconds").and_then(|seconds| seconds.parse().ok()),
            body: serde_json::from_str(body).unwrap_or_default(),
        }
    }

    /// Whether it may sign and reaches its store.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ask("GET", "/readyz", None, None).status == 200
    }

    /// Waits for that.
    ///
    /// # Panics
    /// When it does not become ready.
    #[track_caller]
    pub fn wait_until_ready(&self) {
        wait_for("a replica to be ready", SOON * 2, || {
            self.is_ready().then_some(())
        });
    }
}
