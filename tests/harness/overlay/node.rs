//! The `node` binary on a host of the lab.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    process::Command,
    time::Instant,
};

use serde_json::Value;

use super::{Controller, SOON, binary, files_under, text, verbs::verbs};
use crate::{
    netns::Host,
    process::{Process, Said, wait_for},
};

/// The `node` binary on a host.
#[derive(Debug)]
pub struct Node {
    daemon: Option<Process>,
    /// Where it runs.
    pub host: Host,
}

verbs!(Node);

impl Node {
    /// A node that is not running yet.
    #[must_use]
    pub const fn new(host: Host) -> Self {
        Self { daemon: None, host }
    }

    /// Writes the configuration file.
    ///
    /// # Panics
    /// When the disk refuses.
    pub fn configure(&self, config: &str) {
        fs::write(self.config(), config).expect("the lab's directory is writable");
    }

    /// Starts `node up` and waits until it answers.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn up(&mut self) {
        self.up_with(&[]);
    }

    /// The same with flags.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn up_with(&mut self, flags: &[&str]) {
        self.daemon = Some(Process::spawn(
            &format!("node on {}", self.host.name),
            &mut self.command(&[&["up"], flags].concat()),
            &self.host.dir.join("node.log"),
        ));
        wait_for("the daemon to answer", SOON, || {
            (self.verb(&["status", "--json"]).code == 0).then_some(())
        });
    }

    /// The daemon's process id.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn pid(&self) -> rustix::process::Pid {
        self.daemon.as_ref().expect("the daemon runs").pid()
    }

    /// SIGKILL.
    ///
    /// # Panics
    /// When it does not run.
    #[track_caller]
    pub fn kill(&mut self) {
        self.daemon.take().expect("the daemon runs").kill();
    }

    /// SIGTERM, and waits for a clean end.
    ///
    /// # Panics
    /// When it does not run, or ends with an error.
    #[track_caller]
    pub fn stop(&mut self) {
        self.daemon.take().expect("the daemon runs").terminate();
    }

    /// Everything the daemon printed.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.host.dir.join("node.log")).unwrap_or_default()
    }

    /// The node address.
    #[track_caller]
    #[must_use]
    pub fn id(&self) -> String {
        text(&self.json(&["id"]), "/node")
    }

    /// Asks to join.
    #[track_caller]
    #[must_use]
    pub fn join(&self, network: &str, controller: &Controller) -> Said {
        self.verb(&[
            "join",
            network,
            "--controller",
            &controller.control_address(),
        ])
    }

    /// `/networks/…/status` of one network, if the node is in it.
    #[track_caller]
    #[must_use]
    pub fn standing(&self, network: &str) -> Option<String> {
        let status = self.network(network)?;
        Some(text(&status, "/status"))
    }

    /// The address of the controller that it is connected to for a network.
    #[track_caller]
    #[must_use]
    pub fn controller(&self, network: &str) -> Option<String> {
        let status = self.network(network)?;
        status["controller"].as_str().map(str::to_owned)
    }

    /// What `status` says of one network, if the node is in it.
    #[track_caller]
    #[must_use]
    pub fn network(&self, network: &str) -> Option<Value> {
        let status = self.json(&["status"]);
        let mut networks = status["networks"].as_array()?.iter();
        networks.find(|entry| entry["id"] == network).cloned()
    }

    /// Whether it counts another node among its peers.
    #[track_caller]
    #[must_use]
    pub fn knows(&self, other: &str) -> bool {
        let peers = self.json(&["peers"]);
        let mut peers = peers.as_array().into_iter().flatten();
        peers.any(|peer| peer["node"] == other)
    }

    /// Which interface a network has, once it has one.
    ///
    /// # Panics
    /// When it gets none.
    #[track_caller]
    #[must_use]
    pub fn interface_of(&self, network: &str) -> String {
        wait_for("the network's interface", SOON, || {
            self.json(&["status"])["networks"]
                .as_array()?
                .iter()
                .find(|entry| entry["id"] == network)
                .and_then(|entry| entry["interface"].as_str().map(str::to_owned))
        })
    }

    /// What the kernel says are the addresses of an interface, link-local ones left out.
    #[must_use]
    pub fn kernel_addresses(&self, interface: &str) -> Vec<IpAddr> {
        let said = self
            .host
            .namespace
            .try_run(&format!("ip -j addr show dev {interface} scope global"));
        let links: Value = serde_json::from_str(&said.stdout).unwrap_or(Value::Null);
        links
            .pointer("/0/addr_info")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|address| address["local"].as_str()?.parse().ok())
            .collect()
    }

    /// Waits until an interface has an address of each family.
    ///
    /// # Panics
    /// When it does not get them.
    #[track_caller]
    pub fn wait_for_addresses(&self, interface: &str) -> Instant {
        let what = format!("addresses on {interface} of {}", self.host.name);
        wait_for(&what, SOON, || {
            let addresses = self.kernel_addresses(interface);
            let both =
                addresses.iter().any(IpAddr::is_ipv4) && addresses.iter().any(IpAddr::is_ipv6);
            both.then(Instant::now)
        })
    }

    /// The overlay address on `tmb0`.
    #[track_caller]
    #[must_use]
    pub fn v4(&self) -> Ipv4Addr {
        self.v4_on("tmb0")
    }

    /// The overlay address on an interface.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    #[must_use]
    pub fn v4_on(&self, interface: &str) -> Ipv4Addr {
        self.kernel_addresses(interface)
            .into_iter()
            .find_map(|address| match address {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            })
            .unwrap_or_else(|| panic!("no IPv4 address on {interface}"))
    }

    /// The overlay address on `tmb0`.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    #[must_use]
    pub fn v6(&self) -> Ipv6Addr {
        self.kernel_addresses("tmb0")
            .into_iter()
            .find_map(|address| match address {
                IpAddr::V6(address) => Some(address),
                IpAddr::V4(_) => None,
            })
            .expect("an IPv6 address on tmb0")
    }

    /// The /96 for container network `number` in this node's /80.
    #[track_caller]
    #[must_use]
    pub fn container_prefix(&self, number: u8) -> String {
        let node = u128::from(self.v6());
        let prefix = Ipv6Addr::from((node & !0xffff_ffff_ffff) | u128::from(number) << 32);
        format!("{prefix}/96")
    }

    /// A command line of the binary, for what the verbs above do not cover.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.host.namespace.command(binary("node"));
        self.environment(&mut command);
        command.args(arguments);
        command
    }

    /// Sets where this node keeps its state, socket and configuration.
    pub fn environment(&self, command: &mut Command) {
        if !self.config().exists() {
            self.configure("");
        }
        command
            .env("TOMBOLO_STATE_DIR", self.state_dir())
            .env("TOMBOLO_SOCKET", self.host.dir.join("node.sock"))
            .env("TOMBOLO_CONFIG", self.config());
    }

    /// Whether its state on disk names the underlay address of a peer.
    #[must_use]
    pub fn remembers(&self, peer: &Host) -> bool {
        let address = format!("{}:", peer.v4);
        files_under(&self.state_dir())
            .into_iter()
            .filter_map(|file| fs::read(file).ok())
            .any(|bytes| String::from_utf8_lossy(&bytes).contains(&address))
    }

    /// Where it keeps its state.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.host.dir.join("node")
    }

    fn config(&self) -> PathBuf {
        self.host.dir.join("node.toml")
    }
}
