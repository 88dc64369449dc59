//! A laboratory of network namespaces: an underlay, hosts on it, containers behind the hosts.
//!
//! ```text
//!              underlay namespace: bridge br0, 203.0.113.1 and 2001:db8::1, forwards nothing
//!                 |                    |                    |
//!            host (eth0 .11, ::11)  host (.12, ::12)     …          each a namespace
//!                 |
//!            bridge with a v4 subnet and a v6 prefix, `.1` and `::1`
//!              |        |
//!          container  container                                     each a namespace
//! ```
//!
//! Namespaces start with a prefix made of the process id and a counter, so labs run beside each other, and a lab whose
//! process died without cleaning up is swept away by the next one. Tests that judge time or loss take the machine for
//! themselves: [`Claim::Alone`].

use std::{
    fs::{self, File},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use ipnet::{Ipv4Net, Ipv6Net};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tombolo_proto::frame::RELAY;

use crate::{
    machine::{self, Machine},
    process::{Process, Said, announce, wait_for},
    wan::Wan,
};

const NAMESPACES: &str = "/run/netns";
const PREFIX: &str = "tmblab";
/// The underlay's own addresses: where hosts send what they have no route for.
const GATEWAY_V4: &str = "203.0.113.1";
const GATEWAY_V6: &str = "2001:db8::1";

static LABS: AtomicU32 = AtomicU32::new(0);

/// How much of the machine a test needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Runs beside other labs.
    Shared,
    /// Judges time or loss: no other lab runs meanwhile, in this process or another.
    Alone,
}

/// One test's network. Everything in it goes away with it.
#[derive(Debug)]
pub struct Lab {
    prefix: String,
    dir: PathBuf,
    underlay: Namespace,
    next_host: Mutex<u8>,
    // Declared last, so that the machine is given back only once the rest is gone.
    _turn: Turn,
}

impl Lab {
    /// Builds an empty lab, or says loudly that this needs root and gives `None`. `TOMBOLO_SKIP_NETNS` asks for `None`.
    ///
    /// # Panics
    /// Without root when `CI` is set: there, a skipped test is a failed one.
    #[must_use]
    #[track_caller]
    pub fn new(claim: Claim) -> Option<Self> {
        if std::env::var_os("TOMBOLO_SKIP_NETNS").is_some() {
            return None;
        }
        if !rustix::process::geteuid().is_root() {
            let test = std::thread::current().name().unwrap_or("?").to_owned();
            assert!(
                std::env::var_os("CI").is_none(),
                "{test} needs root: network namespaces"
            );
            announce(&format!(
                "SKIPPED: {test} needs root (network namespaces). Run: make test"
            ));
            return None;
        }
        let turn = Turn::wait(claim);
        sweep_labs_of_dead_processes();
        let pid = std::process::id();
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("{PREFIX}{pid}x{number}");
        let dir = std::env::temp_dir().join(&prefix);
        fs::create_dir_all(&dir).expect("the temporary directory is writable");
        let underlay = Namespace::new(&format!("{prefix}-net"));
        underlay.run("ip link add br0 type bridge");
        underlay.run("ip link set br0 up");
        underlay.run(&format!("ip addr add {GATEWAY_V4}/24 dev br0"));
        underlay.run(&format!("ip addr add {GATEWAY_V6}/64 dev br0 nodad"));
        underlay.sysctl("net.ipv4.ip_forward", 0);
        underlay.sysctl("net.ipv6.conf.all.forwarding", 0);
        Some(Self {
            prefix,
            dir,
            underlay,
            next_host: Mutex::new(11),
            _turn: turn,
        })
    }

    /// Adds a host: a server as its owner rents it, with forwarding on and strict reverse-path filtering.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[track_caller]
    pub fn host(&self, name: &str) -> Host {
        let namespace = Namespace::new(&format!("{}-{name}", self.prefix));
        self.connect(name, namespace)
    }

    /// Adds a host that is a machine of its own (see [`Machine`]): for daemons with fixed paths.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[track_caller]
    pub fn machine(&self, name: &str) -> Host {
        let mut namespace = Namespace::new(&format!("{}-{name}", self.prefix));
        let dir = self.dir.join(name);
        fs::create_dir_all(&dir).expect("the temporary directory is writable");
        namespace.life = Life::Machine(Machine::boot(&namespace.name, name, &dir));
        self.connect(name, namespace)
    }

    fn connect(&self, name: &str, namespace: Namespace) -> Host {
        let number = {
            let mut next = self.next_host.lock().expect("no test panics in here");
            *next += 1;
            *next - 1
        };
        let v4 = Ipv4Addr::new(203, 0, 113, number);
        let v6: Ipv6Addr = format!("2001:db8::{number}").parse().expect("an address");
        let port = format!("p-{name}");
        plug(&namespace, "eth0", &port, "br0", &self.underlay);
        namespace.run(&format!("ip addr add {v4}/24 dev eth0"));
        namespace.run(&format!("ip addr add {v6}/64 dev eth0 nodad"));
        namespace.run(&format!("ip route add default via {GATEWAY_V4}"));
        namespace.run(&format!("ip route add default via {GATEWAY_V6}"));
        namespace.sysctl("net.ipv4.ip_forward", 1);
        namespace.sysctl("net.ipv6.conf.all.forwarding", 1);
        namespace.sysctl("net.ipv4.conf.all.rp_filter", 1);
        namespace.sysctl("net.ipv4.conf.default.rp_filter", 1);
        let dir = self.dir.join(name);
        fs::create_dir_all(&dir).expect("the temporary directory is writable");
        Host {
            name: name.to_owned(),
            namespace,
            v4,
            v6,
            dir,
        }
    }

    /// Puts a bridge on `host`, as Docker would: the first address of each subnet is the bridge's own.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[track_caller]
    pub fn bridge(&self, host: &Host, name: &str, v4: Ipv4Net, v6: Ipv6Net) -> Bridge {
        let inside = &host.namespace;
        inside.run(&format!("ip link add {name} type bridge"));
        inside.run(&format!("ip link set {name} up"));
        let bridge = Bridge {
            name: name.to_owned(),
            v4,
            v6,
        };
        inside.run(&format!(
            "ip addr add {}/{} dev {name}",
            bridge.v4_at(1),
            v4.prefix_len()
        ));
        inside.run(&format!(
            "ip addr add {}/{} dev {name} nodad",
            bridge.v6_at(1),
            v6.prefix_len()
        ));
        bridge
    }

    /// Starts a container (a namespace with one interface of MTU 1500) on a bridge of `host`.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[track_caller]
    pub fn container(&self, host: &Host, bridge: &Bridge, number: u8) -> Container {
        let label = format!("{}-{}{number}", host.name, bridge.name);
        let namespace = Namespace::new(&format!("{}-{label}", self.prefix));
        plug(
            &namespace,
            "eth0",
            &format!("{}p{number}", bridge.name),
            &bridge.name,
            &host.namespace,
        );
        let (v4, v6) = (bridge.v4_at(number), bridge.v6_at(number));
        let (bits4, bits6) = (bridge.v4.prefix_len(), bridge.v6.prefix_len());
        namespace.run(&format!("ip addr add {v4}/{bits4} dev eth0"));
        namespace.run(&format!("ip addr add {v6}/{bits6} dev eth0 nodad"));
        namespace.run(&format!("ip route add default via {}", bridge.v4_at(1)));
        namespace.run(&format!("ip route add default via {}", bridge.v6_at(1)));
        Container::new(namespace, v4, v6, &self.dir, &label)
    }

    /// Pulls a host's cable, or puts it back.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[track_caller]
    pub fn cable(&self, host: &Host, is_in: bool) {
        let state = if is_in { "up" } else { "down" };
        self.underlay
            .run(&format!("ip link set p-{} {state}", host.name));
    }

    /// The namespace that carries everything between hosts: the place to listen.
    #[must_use]
    pub const fn underlay(&self) -> &Namespace {
        &self.underlay
    }

    /// A directory for this lab alone.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes a LAN beside the underlay: a switch that connects to nothing else.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[track_caller]
    pub fn lan(&self, name: &str) -> Lan {
        let switch = Namespace::new(&format!("{}-{name}", self.prefix));
        switch.run("ip link add br0 type bridge");
        switch.run("ip link set br0 up");
        Lan {
            switch,
            ports: AtomicU32::new(0),
        }
    }

    /// Makes a namespace that is connected to nothing yet.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[track_caller]
    pub fn namespace(&self, name: &str) -> Namespace {
        Namespace::new(&format!("{}-{name}", self.prefix))
    }

    /// Puts a wide-area network between a host and the underlay, in place of its cable. It begins perfect.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[track_caller]
    pub fn put_behind_wan(&self, host: &Host, seed: u64) -> Wan {
        let inside = &host.namespace;
        self.underlay.run(&format!("ip link del p-{}", host.name));
        let outer = format!("p-{}", host.name);
        let wan = Wan::lay(&self.underlay, &outer, inside, "eth0", seed);
        inside.run(&format!("ip addr add {}/24 dev eth0", host.v4));
        inside.run(&format!("ip addr add {}/64 dev eth0 nodad", host.v6));
        inside.run(&format!("ip route add default via {GATEWAY_V4}"));
        inside.run(&format!("ip route add default via {GATEWAY_V6}"));
        wan
    }

    /// Makes a machine that is on a LAN only, and knows no other network.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[track_caller]
    pub fn machine_on(&self, lan: &Lan, name: &str, address: &str) -> Namespace {
        let namespace = Namespace::new(&format!("{}-{name}", self.prefix));
        lan.connect(&namespace, "eth0", address);
        namespace
    }
}

fn plug(inner: &Namespace, interface: &str, port: &str, bridge: &str, outer: &Namespace) {
    outer.run(&format!(
        "ip link add {port} type veth peer name {interface} netns {}",
        inner.name
    ));
    outer.run(&format!("ip link set {port} master {bridge} up"));
    inner.run(&format!("ip link set {interface} up"));
}

/// A switch.
#[derive(Debug)]
pub struct Lan {
    switch: Namespace,
    ports: AtomicU32,
}

impl Lan {
    /// Plugs in a host, or any other namespace, by a new interface with this address.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[track_caller]
    pub fn connect(&self, namespace: &Namespace, interface: &str, address: &str) {
        let port = self.ports.fetch_add(1, Ordering::Relaxed);
        plug(
            namespace,
            interface,
            &format!("port{port}"),
            "br0",
            &self.switch,
        );
        namespace.run(&format!("ip addr add {address} dev {interface}"));
    }

    /// The same with a wide-area network in place of the cable. It begins perfect.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[track_caller]
    pub fn connect_by_wan(
        &self,
        namespace: &Namespace,
        interface: &str,
        address: &str,
        seed: u64,
    ) -> Wan {
        let port = self.ports.fetch_add(1, Ordering::Relaxed);
        let outer = format!("port{port}");
        let wan = Wan::lay(&self.switch, &outer, namespace, interface, seed);
        namespace.run(&format!("ip addr add {address} dev {interface}"));
        wan
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A network namespace.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    life: Life,
}

/// What goes on in a namespace, and ends with it.
#[derive(Debug)]
enum Life {
    /// Processes, killed when it goes.
    Processes,
    /// A machine.
    Machine(Arc<Machine>),
    /// Somebody else's.
    Borrowed,
}

impl Namespace {
    fn new(name: &str) -> Self {
        Said::by(Command::new("ip").args(["netns", "add", name])).ok();
        let namespace = Self {
            name: name.to_owned(),
            life: Life::Processes,
        };
        namespace.run("ip link set lo up");
        namespace
    }

    /// A name for a network namespace that somebody else made and keeps alive, say a container's.
    ///
    /// # Panics
    /// When there is none at this path, or the name is taken.
    #[must_use]
    #[track_caller]
    pub fn borrow(name: &str, network: &Path) -> Self {
        let entry = Path::new(NAMESPACES).join(name);
        File::create_new(&entry).expect("root may name namespaces");
        Said::by(Command::new("mount").arg("--bind").arg(network).arg(&entry)).ok();
        Self {
            name: name.to_owned(),
            life: Life::Borrowed,
        }
    }

    /// Its name, as `ip netns` knows it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The machine whose network this is.
    #[must_use]
    pub const fn machine(&self) -> Option<&Arc<Machine>> {
        match &self.life {
            Life::Machine(machine) => Some(machine),
            Life::Processes | Life::Borrowed => None,
        }
    }

    /// A command that will run in here and die with the thread that starts it.
    #[must_use]
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        if let Life::Machine(machine) = &self.life {
            return machine.command(program);
        }
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.name])
            .args(["setpriv", "--pdeathsig", "KILL"])
            .arg(program.as_ref());
        command
    }

    /// Runs a command line (words split at blanks) in here and gives what it printed.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn run(&self, line: &str) -> String {
        let said = self.try_run(line);
        assert!(said.code == 0, "in {}: {line}: {said:?}", self.name);
        said.stdout
    }

    /// Runs a command line that may fail.
    #[track_caller]
    pub fn try_run(&self, line: &str) -> Said {
        let mut words = line.split_whitespace();
        let program = words.next().expect("a command line has a first word");
        // `ip` itself needs no process in the namespace, and there are many of these.
        if program == "ip" {
            return Said::by(Command::new("ip").args(["-n", &self.name]).args(words));
        }
        Said::by(self.command(program).args(words))
    }

    /// Runs a shell script in here.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn shell(&self, script: &str) -> String {
        Said::by(self.command("sh").args(["-ec", script])).ok()
    }

    /// Lets no relayed frame pass through or leave to a controller: what happens then happens without its relay.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[track_caller]
    pub fn drop_relayed_by_controllers(&self) {
        // The first byte behind the header of UDP.
        let relayed = format!("udp dport 9793 @th,64,8 {RELAY:#x} drop");
        self.shell(&format!(
            "nft add table inet relayed
             nft add chain inet relayed through '{{ type filter hook forward priority 0; }}'
             nft add chain inet relayed out '{{ type filter hook output priority 0; }}'
             nft add rule inet relayed through {relayed}
             nft add rule inet relayed out {relayed}
             nft add rule inet relayed through tcp dport 9791 drop
             nft add rule inet relayed out tcp dport 9791 drop",
        ));
    }

    /// Lets no UDP in or out, until [`Self::let_udp_through`].
    pub fn drop_udp(&self) {
        self.shell(
            "nft add table inet noudp
             nft add chain inet noudp in '{ type filter hook input priority 0; }'
             nft add chain inet noudp out '{ type filter hook output priority 0; }'
             nft add rule inet noudp in iifname != lo meta l4proto udp drop
             nft add rule inet noudp out oifname != lo meta l4proto udp drop",
        );
    }

    /// After [`Self::drop_udp`].
    pub fn let_udp_through(&self) {
        self.run("nft delete table inet noudp");
    }

    /// Runs a piece of the test in here, on a thread of its own: the sockets it makes belong to this namespace for ever.
    ///
    /// # Panics
    /// When `work` does.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let entrance = File::open(Path::new(NAMESPACES).join(&self.name)).expect("it exists");
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_link_name_space(entrance.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("root may enter");
                work()
            });
            inside.join().expect("the work does not panic")
        })
    }

    /// Sets a kernel variable of this namespace.
    ///
    /// # Panics
    /// When there is no such variable.
    #[track_caller]
    pub fn sysctl(&self, key: &str, value: u32) {
        self.run(&format!("sysctl -qw {key}={value}"));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        match self.life {
            Life::Processes | Life::Machine(_) => remove_namespace(&self.name),
            Life::Borrowed => {
                let _ = Said::by(Command::new("ip").args(["netns", "del", &self.name]));
            }
        }
    }
}

/// A server on the underlay.
#[derive(Debug)]
pub struct Host {
    /// Short name.
    pub name: String,
    /// Its network.
    pub namespace: Namespace,
    /// Underlay address.
    pub v4: Ipv4Addr,
    /// Underlay address.
    pub v6: Ipv6Addr,
    /// A directory of its own.
    pub dir: PathBuf,
}

impl Host {
    /// Lets nothing through between this host and an address, until [`Self::let_through`]. More addresses may follow.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[track_caller]
    pub fn cut_off(&self, from: impl Into<IpAddr>) {
        let from = from.into();
        let family = if from.is_ipv4() { "ip" } else { "ip6" };
        self.namespace.shell(&format!(
            "nft add table inet cut
             nft add chain inet cut in '{{ type filter hook input priority 0; }}'
             nft add chain inet cut out '{{ type filter hook output priority 0; }}'
             nft add rule inet cut in {family} saddr {from} drop
             nft add rule inet cut out {family} daddr {from} drop"
        ));
    }

    /// Takes the host's underlay addresses away and gives it others, as a provider does that moves a server. The fields of
    /// this value stay what they were.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[track_caller]
    pub fn move_to_another_address(&self) {
        self.namespace.shell(
            "ip addr flush dev eth0 scope global
             ip addr add 203.0.113.200/24 dev eth0
             ip addr add 2001:db8::200/64 dev eth0 nodad",
        );
    }

    /// Undoes [`Self::cut_off`].
    ///
    /// # Panics
    /// When nothing is cut off.
    #[track_caller]
    pub fn let_through(&self) {
        self.namespace.run("nft delete table inet cut");
    }
}

/// A container network on a host.
#[derive(Debug, Clone)]
pub struct Bridge {
    /// Interface name.
    pub name: String,
    /// IPv4 subnet.
    pub v4: Ipv4Net,
    /// IPv6 prefix.
    pub v6: Ipv6Net,
}

impl Bridge {
    /// The IPv4 address with this last number.
    #[must_use]
    pub fn v4_at(&self, number: u8) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.v4.network()) + u32::from(number))
    }

    /// The IPv6 address with this last number.
    #[must_use]
    pub fn v6_at(&self, number: u8) -> Ipv6Addr {
        Ipv6Addr::from(u128::from(self.v6.network()) + u128::from(number))
    }
}

/// A container.
#[derive(Debug)]
pub struct Container {
    /// Its network.
    pub namespace: Namespace,
    /// Its address.
    pub v4: Ipv4Addr,
    /// Its address.
    pub v6: Ipv6Addr,
    dir: PathBuf,
    label: String,
}

impl Container {
    pub(crate) fn new(
        namespace: Namespace,
        v4: Ipv4Addr,
        v6: Ipv6Addr,
        dir: &Path,
        label: &str,
    ) -> Self {
        Self {
            namespace,
            v4,
            v6,
            dir: dir.to_owned(),
            label: label.to_owned(),
        }
    }

    /// Where a process in the container may write its log.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{}-{name}.log", self.label))
    }
}

/// A running packet capture.
#[derive(Debug)]
pub struct Capture {
    process: Process,
    file: PathBuf,
}

impl Capture {
    /// Starts to capture on an interface (`any` for all); returns once the kernel hands packets over.
    ///
    /// # Panics
    /// When tcpdump does not start.
    #[track_caller]
    pub fn start(namespace: &Namespace, interface: &str, filter: &str, dir: &Path) -> Self {
        static CAPTURES: AtomicU32 = AtomicU32::new(0);
        let number = CAPTURES.fetch_add(1, Ordering::Relaxed);
        let file = dir.join(format!("capture{number}.pcap"));
        let process = Process::spawn(
            "tcpdump",
            namespace
                .command("tcpdump")
                .args(["-Z", "root", "-n", "-U", "--immediate-mode", "-s", "0"])
                .args(["-i", interface, "-w"])
                .arg(&file)
                .args(filter.split_whitespace()),
            &dir.join(format!("capture{number}.log")),
        );
        wait_for(
            "tcpdump to listen",
            std::time::Duration::from_secs(10),
            || process.log().contains("listening on").then_some(()),
        );
        Self { process, file }
    }

    /// Ends the capture and gives its raw bytes and its packets as tcpdump prints them, one a line.
    ///
    /// # Panics
    /// When tcpdump does not end.
    #[track_caller]
    #[must_use]
    pub fn stop(mut self) -> Captured {
        self.process.signal(rustix::process::Signal::INT);
        self.process.wait(std::time::Duration::from_secs(10));
        let listing = Said::by(
            Command::new("tcpdump")
                .args(["-Z", "root", "-nn", "-q", "-t", "-r"])
                .arg(&self.file),
        )
        .ok();
        Captured {
            bytes: fs::read(&self.file).expect("tcpdump wrote its file"),
            lines: listing.lines().map(str::to_owned).collect(),
        }
    }
}

/// What was captured.
#[derive(Debug)]
pub struct Captured {
    /// The file as it is.
    pub bytes: Vec<u8>,
    /// One line per packet.
    pub lines: Vec<String>,
}

impl Captured {
    /// Whether these bytes stand anywhere in any packet.
    #[must_use]
    pub fn shows(&self, marker: &[u8]) -> bool {
        self.bytes
            .windows(marker.len())
            .any(|window| window == marker)
    }
}

/// The right to run a lab now. Two files: whoever wants the machine alone holds the gate while waiting, so that a
/// stream of shared labs cannot starve it.
#[derive(Debug)]
struct Turn {
    _machine: File,
}

impl Turn {
    fn wait(claim: Claim) -> Self {
        let open = |name: &str| {
            let path = std::env::temp_dir().join(name);
            File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)
                .unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display()))
        };
        let gate = open("tombolo-lab-gate.lock");
        let machine = open("tombolo-lab.lock");
        let taken = gate.lock().and_then(|()| match claim {
            Claim::Alone => machine.lock(),
            Claim::Shared => machine.lock_shared(),
        });
        taken.expect("locks work on the temporary directory");
        Self { _machine: machine }
    }
}

fn sweep_labs_of_dead_processes() {
    static SWEEPING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = SWEEPING.lock();
    for directory in [Path::new(NAMESPACES), &std::env::temp_dir()] {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let owner = name
                .strip_prefix(PREFIX)
                .and_then(|rest| rest.split_once('x'))
                .and_then(|(pid, _)| pid.parse::<u32>().ok());
            let Some(owner) = owner else { continue };
            if Path::new(&format!("/proc/{owner}")).exists() {
                continue;
            }
            if directory == Path::new(NAMESPACES) {
                remove_namespace(&name);
                machine::remove_cgroups(&name);
            } else {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

fn remove_namespace(name: &str) {
    let pids = Said::by(Command::new("ip").args(["netns", "pids", name])).stdout;
    for pid in pids.split_whitespace() {
        let _ = Said::by(Command::new("kill").args(["-KILL", pid]));
    }
    let _ = Said::by(Command::new("ip").args(["netns", "del", name]));
}
