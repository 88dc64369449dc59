//! Tombolo in a lab: the real binaries on the lab's hosts, driven by their own verbs.

use std::{
    fs::{self, File},
    io::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    netns::{Bridge, Container, Host, Lab, Namespace},
    process::{Process, Said, wait_for},
};

/// For what is promised within a second or two, on a machine that is busy with other tests.
pub const SOON: Duration = Duration::from_secs(15);
/// A controller's first start looks for an authority with an address: sixteen hashes of 0.1 s on average, on an idle
/// machine.
const FIRST_START: Duration = Duration::from_secs(120);
/// The port nodes reach a controller at.
const CONTROL_PORT: u16 = 9791;
/// A seed whose identity has an authority address.
const AUTHORITY_SEED: [u8; 32] = [31; 32];
/// The file that a controller's first start leaves in its state directory.
const ADMIN_TOKEN: &str = "admin.token";

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

/// The `controller` binary on a host.
#[derive(Debug)]
pub struct Controller {
    process: Option<Process>,
    /// Where it runs.
    pub host: Host,
    /// Where it keeps networks and members, if not in a file of its own.
    pub store: Option<String>,
}

impl Controller {
    /// Starts `controller serve` and waits until it answers. Its authority is one that was found before: looking for an
    /// address that satisfies the memory-hard hash takes seconds, and nothing is learnt from doing it in every test.
    ///
    /// # Panics
    /// When it does not become ready.
    #[must_use]
    #[track_caller]
    pub fn start(host: Host) -> Self {
        Self::start_on(host, None)
    }

    /// The same with everything in the store of this URL.
    ///
    /// # Panics
    /// When it does not become ready.
    #[must_use]
    #[track_caller]
    pub fn start_on(host: Host, store: Option<&str>) -> Self {
        let mut controller = Self::new(host, store);
        controller.put("authority.key", &AUTHORITY_SEED);
        controller.serve();
        controller
    }

    /// The same, with an authority of its own.
    ///
    /// # Panics
    /// When it does not become ready.
    #[must_use]
    #[track_caller]
    pub fn start_fresh(host: Host) -> Self {
        let mut controller = Self::new(host, None);
        controller.serve();
        controller
    }

    /// Another replica on the same store. It waits for admission.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    #[track_caller]
    pub fn another(&self, host: Host) -> Self {
        let mut replica = Self::new(host, self.store.as_deref());
        // Any token is good for every replica.
        let token = fs::read(self.state_dir().join(ADMIN_TOKEN)).expect("the first start wrote it");
        replica.put(ADMIN_TOKEN, &token);
        replica.serve();
        replica
    }

    /// One that is not running yet, on a store of its own if none is named.
    #[must_use]
    pub fn new(host: Host, store: Option<&str>) -> Self {
        Self {
            process: None,
            host,
            store: store.map(str::to_owned),
        }
    }

    /// Puts a file into its state directory.
    ///
    /// # Panics
    /// When the disk refuses.
    pub fn put(&self, name: &str, contents: &[u8]) {
        fs::create_dir_all(self.state_dir()).expect("the lab's directory is writable");
        let mut file = File::options()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(self.state_dir().join(name))
            .expect("the lab's directory is writable");
        file.write_all(contents)
            .expect("the lab's directory has room");
    }

    /// Where it keeps its state.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.host.dir.join("controller")
    }

    /// Starts it again after [`Self::kill`], on the state it left.
    ///
    /// # Panics
    /// When it does not become ready.
    #[track_caller]
    pub fn serve(&mut self) {
        let address = self.control_address();
        let mut arguments = vec!["serve", "--advertise", &address];
        arguments.extend(self.store.iter().flat_map(|url| ["--store", url]));
        let process = Process::spawn(
            &format!("controller on {}", self.host.name),
            &mut self.command(&arguments),
            &self.host.dir.join("controller.log"),
        );
        self.process = Some(process);
        wait_for("the controller to answer", FIRST_START, || {
            (self.verb(&["network", "ls", "--json"]).code == 0).then_some(())
        });
    }

    /// SIGTERM, and waits for a clean end.
    ///
    /// # Panics
    /// When it does not run, or ends with an error.
    #[track_caller]
    pub fn stop(&mut self) {
        self.process
            .take()
            .expect("the controller runs")
            .terminate();
    }

    /// SIGKILL.
    ///
    /// # Panics
    /// When it does not run.
    #[track_caller]
    pub fn kill(&mut self) {
        self.process.take().expect("the controller runs").kill();
    }

    /// Where nodes reach it.
    #[must_use]
    pub fn control_address(&self) -> String {
        format!("{}:{CONTROL_PORT}", self.host.v4)
    }

    /// Runs a verb to its end.
    #[track_caller]
    #[must_use]
    pub fn verb(&self, arguments: &[&str]) -> Said {
        Said::by(&mut self.command(arguments))
    }

    /// Runs a verb with `--json` that must succeed.
    ///
    /// # Panics
    /// When it fails or prints something else.
    #[track_caller]
    #[must_use]
    pub fn json(&self, arguments: &[&str]) -> Value {
        json(self.verb(&[arguments, &["--json"]].concat()))
    }

    /// Creates a network and gives its id.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    #[must_use]
    pub fn create_network(&self, name: &str, v4: &str) -> String {
        let network = self.json(&["network", "create", name, "--v4", v4]);
        text(&network, "/id")
    }

    /// Authorises a node.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn authorize(&self, network: &str, node: &str) {
        self.verb(&["member", "authorize", network, node]).ok();
    }

    /// Deauthorises a node.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn deauthorize(&self, network: &str, node: &str) {
        self.verb(&["member", "deauthorize", network, node]).ok();
    }

    /// Routes a prefix to a member and gives the route's id.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn add_route(&self, network: &str, target: &str, via: &str) -> String {
        let route = self.json(&["route", "add", network, target, "--via", via]);
        identifier(&route)
    }

    /// Removes a route.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn remove_route(&self, network: &str, route: &str) {
        self.verb(&["route", "rm", network, route]).ok();
    }

    /// A command line of the binary, for what the verbs above do not cover.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.host.namespace.command(binary("controller"));
        command
            .env("TOMBOLO_STATE_DIR", self.state_dir())
            .env("TOMBOLO_CONFIG", empty_config(&self.host.dir, "controller"))
            .args(arguments);
        command
    }
}

/// The `node` binary on a host.
#[derive(Debug)]
pub struct Node {
    daemon: Option<Process>,
    /// Where it runs.
    pub host: Host,
}

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

    /// Runs a verb to its end.
    #[track_caller]
    #[must_use]
    pub fn verb(&self, arguments: &[&str]) -> Said {
        Said::by(&mut self.command(arguments))
    }

    /// Runs a verb with `--json` that must succeed.
    ///
    /// # Panics
    /// When it fails or prints something else.
    #[track_caller]
    #[must_use]
    pub fn json(&self, arguments: &[&str]) -> Value {
        json(self.verb(&[arguments, &["--json"]].concat()))
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

/// Waits until `from` gets an answer from `to`.
///
/// # Panics
/// When none comes.
#[track_caller]
pub fn wait_for_ping(from: &Namespace, to: impl Into<IpAddr>) -> Instant {
    let to = to.into();
    wait_for(&format!("an answer from {to}"), SOON, || {
        answers(from, to).then(Instant::now)
    })
}

/// Waits until everybody has got an answer from everybody.
///
/// # Panics
/// When one never comes.
#[track_caller]
pub fn wait_for_mesh(nodes: &[Node]) {
    for from in nodes {
        for to in nodes {
            if from.host.name != to.host.name {
                wait_for_ping(&from.host.namespace, to.v4());
            }
        }
    }
}

/// Whether one ping is answered within a second.
#[track_caller]
#[must_use]
pub fn answers(from: &Namespace, to: impl Into<IpAddr>) -> bool {
    let to = to.into();
    from.try_run(&format!("ping -n -q -c 1 -W 1 {to}")).code == 0
}

/// Pings that go on in the background.
#[derive(Debug)]
pub struct Pings(Process);

impl Pings {
    /// Starts to ping every 50 ms.
    #[track_caller]
    #[must_use]
    pub fn start(from: &Namespace, to: impl Into<IpAddr>, log: &Path) -> Self {
        Self::start_every(Duration::from_millis(50), from, to, log)
    }

    /// Starts to ping this often.
    #[track_caller]
    #[must_use]
    pub fn start_every(
        interval: Duration,
        from: &Namespace,
        to: impl Into<IpAddr>,
        log: &Path,
    ) -> Self {
        let to = to.into().to_string();
        let interval = interval.as_secs_f64().to_string();
        let mut command = from.command("ping");
        command.args(["-n", "-D", "-i", &interval, "-W", "1", &to]);
        Self(Process::spawn("ping", &mut command, log))
    }

    /// How many answers there were so far.
    #[must_use]
    pub fn answers(&self) -> usize {
        self.times().len()
    }

    /// When the answers came, in seconds since the epoch.
    #[must_use]
    pub fn times(&self) -> Vec<f64> {
        self.0
            .log()
            .lines()
            .filter(|line| line.contains("bytes from"))
            .filter_map(|line| line.strip_prefix('[')?.split_once(']')?.0.parse().ok())
            .collect()
    }

    /// Ends them; gives how many were sent and answered. What is under way at the end is not counted as lost.
    ///
    /// # Panics
    /// When ping prints no summary.
    #[track_caller]
    #[must_use]
    pub fn stop(mut self) -> (usize, usize) {
        self.0.signal(Signal::INT);
        self.0.wait(SOON);
        let log = self.0.log();
        let summary = log
            .lines()
            .find(|line| line.contains("packets transmitted"))
            .unwrap_or_else(|| panic!("no summary from ping:\n{log}"));
        let mut counts = summary
            .split(", ")
            .filter_map(|part| part.split(' ').next()?.parse().ok());
        let sent = counts.next().expect("a count of what was sent");
        let received = counts.next().expect("a count of what was received");
        // The last one may be on its way when the signal comes.
        (if sent == received + 1 { received } else { sent }, received)
    }
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

#[track_caller]
fn json(said: Said) -> Value {
    let text = said.ok();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("not JSON ({error}): {text}"))
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
