//! Tombolo in a lab: the real binaries on the lab's hosts, driven by their own verbs.

mod controller;
mod node;
mod pings;
mod verbs;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

use serde_json::Value;

use crate::netns::{Bridge, Container, Host, Lab};
pub use controller::Controller;
pub use node::Node;
pub use pings::{Pings, answers, wait_for_mesh, wait_for_ping};

/// For what is promised within a second or two, on a machine that is busy with other tests.
pub const SOON: Duration = Duration::from_secs(15);

/// A controller and nodes that are members of its one network.
///
/// Fields are dropped in order: daemons first, the lab last.
#[derive(Debug)]
pub struct Overlay {
    /// The controller, on a host of its own.
    pub controller: Controller,
    /// The network id.
    pub network: String,
    /// The members.
    pub nodes: Vec<Node>,
    /// What all of it runs in.
    pub lab: Lab,
}

impl Overlay {
    /// A network 172.27.0.0/16 with these members, every one up and with addresses.
    #[must_use]
    #[track_caller]
    pub fn new(lab: Lab, names: &[&str]) -> Self {
        Self::with_config(lab, names, "")
    }

    /// The same with a configuration file for the nodes.
    ///
    /// # Panics
    /// When any of it does not come up.
    #[must_use]
    #[track_caller]
    pub fn with_config(lab: Lab, names: &[&str], config: &str) -> Self {
        let hosts = names.iter().map(|name| lab.host(name)).collect();
        Self::on_hosts(lab, hosts, config)
    }

    /// The same on hosts that have IPv4 alone, for tests that look at the underlay.
    ///
    /// # Panics
    /// When any of it does not come up.
    #[must_use]
    #[track_caller]
    pub fn on_ipv4(lab: Lab, names: &[&str]) -> Self {
        let hosts: Vec<Host> = names.iter().map(|name| lab.host(name)).collect();
        for host in &hosts {
            let flush = "ip -6 address flush dev eth0 scope global";
            host.namespace.run(flush);
        }
        Self::on_hosts(lab, hosts, "")
    }

    /// The same on hosts that are there already.
    ///
    /// # Panics
    /// When any of it does not come up.
    #[must_use]
    #[track_caller]
    pub fn on_hosts(lab: Lab, hosts: Vec<Host>, config: &str) -> Self {
        let controller = Controller::start(lab.host("ctl"));
        Self::around(controller, lab, hosts, config)
    }

    /// The same around a controller that runs.
    ///
    /// # Panics
    /// When any of it does not come up.
    #[must_use]
    #[track_caller]
    pub fn around(controller: Controller, lab: Lab, hosts: Vec<Host>, config: &str) -> Self {
        let network = controller.create_network("home", "172.27.0.0/16");
        let mut overlay = Self {
            controller,
            network,
            nodes: Vec::new(),
            lab,
        };
        for host in hosts {
            let mut node = Node::new(host);
            node.configure(config);
            node.up();
            overlay.nodes.push(node);
        }
        for node in &overlay.nodes {
            node.join(&overlay.network, &overlay.controller).ok();
            overlay.controller.authorize(&overlay.network, &node.id());
        }
        for node in &overlay.nodes {
            node.wait_for_addresses("tmb0");
        }
        overlay
    }

    /// Puts container subnet `172.28.<number>.0/24` and /96 number `number` of the node's /80 behind a node, with one
    /// container, and routes the IPv4 subnet to the node.
    ///
    /// # Panics
    /// When any of it is refused.
    #[must_use]
    #[track_caller]
    pub fn containers_behind(&self, node: &Node, number: u8) -> (Bridge, Container) {
        let v4 = format!("172.28.{number}.0/24");
        let prefix = node.container_prefix(number);
        let bridge = self.lab.bridge(
            &node.host,
            &format!("br{number}"),
            v4.parse().expect("a subnet"),
            prefix.parse().expect("a prefix"),
        );
        let container = self.lab.container(&node.host, &bridge, 2);
        self.controller.add_route(&self.network, &v4, &node.id());
        (bridge, container)
    }
}

/// All files below a directory, in order.
#[must_use]
pub fn files_under(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_under(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// How often to repeat what is measured: `few`, or `full` times with `TOMBOLO_TEST_FULL` set.
#[must_use]
pub fn repetitions(few: usize, full: usize) -> usize {
    if std::env::var_os("TOMBOLO_TEST_FULL").is_some() {
        full
    } else {
        few
    }
}

/// Where the binaries are: beside the test program, or in `TOMBOLO_BIN_DIR`.
///
/// # Panics
/// When they have not been built.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    let dir = DIR.get_or_init(|| {
        std::env::var_os("TOMBOLO_BIN_DIR").map_or_else(beside_the_test_program, PathBuf::from)
    });
    let path = dir.join(name);
    assert!(
        path.exists(),
        "{} is not built. Run: cargo build --workspace --all-targets",
        path.display()
    );
    path
}

pub(crate) fn beside_the_test_program() -> PathBuf {
    let program = std::env::current_exe().expect("Linux tells");
    program
        .ancestors()
        .nth(2)
        .expect("a test program lies in <target>/<profile>/deps")
        .to_owned()
}

fn empty_config(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(format!("{name}.toml"));
    if !path.exists() {
        fs::write(&path, "").expect("the lab's directory is writable");
    }
    path
}

/// The string at a JSON pointer.
///
/// # Panics
/// When there is none.
#[track_caller]
#[must_use]
pub fn text(value: &Value, pointer: &str) -> String {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("no text at {pointer} in {value}"))
        .to_owned()
}

/// The `id` of a JSON object, number or text.
///
/// # Panics
/// When it has none.
#[track_caller]
#[must_use]
pub fn identifier(object: &Value) -> String {
    let id = object
        .get("id")
        .unwrap_or_else(|| panic!("no id in {object}"));
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}
