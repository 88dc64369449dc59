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

mod capture;
mod host;
mod namespace;
mod turn;

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use ipnet::{Ipv4Net, Ipv6Net};

use crate::{machine, process::announce, wan::Wan};
pub use capture::{Capture, Captured};
pub use host::{Bridge, Container, Host};
pub use namespace::Namespace;
use namespace::remove_namespace;
pub use turn::Claim;
use turn::Turn;

const NAMESPACES: &str = "/run/netns";
const PREFIX: &str = "tmblab";
/// The underlay's own addresses: where hosts send what they have no route for.
const GATEWAY_V4: &str = "203.0.113.1";
const GATEWAY_V6: &str = "2001:db8::1";

static LABS: AtomicU32 = AtomicU32::new(0);

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

    /// Adds a host that is a machine of its own (see [`machine::Machine`]): for daemons with fixed paths.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[track_caller]
    pub fn machine(&self, name: &str) -> Host {
        let mut namespace = Namespace::new(&format!("{}-{name}", self.prefix));
        let dir = self.dir.join(name);
        fs::create_dir_all(&dir).expect("the temporary directory is writable");
        namespace.boot(name, &dir);
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
        inner.name()
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
