//! Docker on the hosts of a lab: each has a dockerd of its own, on its default paths, and containers made of [`IMAGE`].

use std::{
    fs::{self, File},
    net::{Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use serde_json::Value;

use crate::{
    docker_image::{self, IMAGE},
    machine::Machine,
    netns::{Claim, Container, Host, Lab, Namespace},
    process::{Process, Said, announce, wait_for},
};

/// A dockerd starts in a second or two on an idle machine.
const STARTS: Duration = Duration::from_secs(60);

const DO_NOTHING: &str = "CMD [\"sleep\", \"1000000\"]";

static FOUND: AtomicU32 = AtomicU32::new(0);

/// What Docker finds when it starts for the first time, and with it what it does to packets that are only passing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardPolicy {
    /// Forwarding is off: Docker turns it on and sets the policy of the FORWARD chain to DROP, as on most servers.
    Drop,
    /// Forwarding is on already: Docker leaves the policy at ACCEPT.
    Accept,
}

/// A lab whose hosts can run Docker, or `None`, said loudly, where it is not installed (see also [`Lab::new`]).
///
/// # Panics
/// Without Docker when `CI` is set: there, a skipped test is a failed one.
#[must_use]
#[track_caller]
pub fn lab(claim: Claim) -> Option<Lab> {
    let lab = Lab::new(claim)?;
    let missing: Vec<_> = ["dockerd", "docker", "containerd", "docker-init", "iptables"]
        .into_iter()
        .filter(|tool| {
            let search = format!("PATH=$PATH:/usr/sbin:/sbin command -v {tool}");
            Said::by(Command::new("sh").args(["-c", &search])).code != 0
        })
        .collect();
    if missing.is_empty() {
        return Some(lab);
    }
    let test = std::thread::current().name().unwrap_or("?").to_owned();
    let missing = missing.join(", ");
    assert!(
        std::env::var_os("CI").is_none(),
        "{test} needs Docker; missing: {missing}"
    );
    announce(&format!(
        "SKIPPED: {test} needs Docker; missing: {missing}. Run: make docker-tools"
    ));
    None
}

/// Docker on one host.
#[derive(Debug)]
pub struct Docker {
    daemon: Option<Process>,
    machine: Arc<Machine>,
    dir: PathBuf,
    prefix: String,
}

impl Docker {
    /// A host with Docker installed and not started yet.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[must_use]
    #[track_caller]
    pub fn installed(lab: &Lab, name: &str, policy: ForwardPolicy) -> (Host, Self) {
        let host = lab.machine(name);
        let forwarding = u32::from(policy == ForwardPolicy::Accept);
        host.namespace.sysctl("net.ipv4.ip_forward", forwarding);
        host.namespace
            .sysctl("net.ipv6.conf.all.forwarding", forwarding);
        let machine = host.namespace.machine().expect("it was made as one");
        let docker = Self {
            daemon: None,
            machine: Arc::clone(machine),
            dir: host.dir.clone(),
            prefix: host.namespace.name().to_owned(),
        };
        (host, docker)
    }

    /// A host with Docker running and the test image loaded.
    ///
    /// # Panics
    /// When dockerd does not start.
    #[must_use]
    #[track_caller]
    pub fn host(lab: &Lab, name: &str, policy: ForwardPolicy) -> (Host, Self) {
        let (host, mut docker) = Self::installed(lab, name, policy);
        docker.start(&[]);
        docker.load_image();
        (host, docker)
    }

    /// Writes `/etc/docker/daemon.json`, for the next start.
    ///
    /// # Panics
    /// When the disk refuses.
    pub fn configure(&self, daemon_json: &Value) {
        let path = self.machine.root().join("etc/docker/daemon.json");
        fs::write(path, daemon_json.to_string()).expect("a machine's /etc is writable");
    }

    /// Starts dockerd and waits until it answers.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn start(&mut self, options: &[&str]) {
        let mut command = self.machine.command("dockerd");
        command
            .args(["--cgroup-parent", &self.machine.cgroup()])
            .args(options);
        let log = self.dir.join("dockerd.log");
        let mut daemon = Process::spawn("dockerd", &mut command, &log);
        wait_for("dockerd to answer", STARTS, || {
            if let Some(status) = daemon.ended() {
                panic!("dockerd ended: {status}:\n{}", daemon.log());
            }
            (self.verb("version").code == 0).then_some(())
        });
        self.daemon = Some(daemon);
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Panics
    /// When it does not run, or ends with an error.
    #[track_caller]
    pub fn stop(&mut self) {
        self.daemon.take().expect("dockerd runs").terminate();
    }

    /// `service docker restart`.
    ///
    /// # Panics
    /// When it does not run, or does not come back.
    #[track_caller]
    pub fn restart(&mut self, options: &[&str]) {
        self.stop();
        self.start(options);
    }

    /// SIGKILL. What the dead one left in `/run` is removed, as a service manager would.
    ///
    /// # Panics
    /// When it does not run.
    #[track_caller]
    pub fn kill(&mut self) {
        self.daemon.take().expect("dockerd runs").kill();
        let _ = fs::remove_file(self.machine.root().join("run/docker.pid"));
    }

    /// Imports the test image.
    ///
    /// # Panics
    /// When Docker refuses.
    #[track_caller]
    pub fn load_image(&self) {
        self.load(docker_image::tar(), IMAGE);
    }

    /// Imports a root file system as an image whose containers do nothing unless told.
    ///
    /// # Panics
    /// When Docker refuses.
    #[track_caller]
    pub fn load(&self, tar: &std::path::Path, image: &str) {
        let file = File::open(tar).expect("it was just made");
        let status = self
            .machine
            .command("docker")
            .args(["import", "--change", DO_NOTHING, "-", image])
            .stdin(file)
            .stdout(Stdio::null())
            .status()
            .expect("docker starts");
        assert!(status.success(), "docker import: {status}");
    }

    /// A command line of `docker`.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.machine.command("docker");
        command.args(arguments);
        command
    }

    /// Runs `docker` with this line (words split at blanks), which may fail.
    #[track_caller]
    #[must_use]
    pub fn verb(&self, line: &str) -> Said {
        let words: Vec<_> = line.split_whitespace().collect();
        Said::by(&mut self.command(&words))
    }

    /// Runs `docker` with this line and gives what it printed.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn run(&self, line: &str) -> String {
        let said = self.verb(line);
        assert!(said.code == 0, "docker {line}: {said:?}");
        said.stdout
    }

    /// Starts a container of the test image that does nothing, with these options of `docker run`.
    ///
    /// # Panics
    /// When Docker refuses.
    #[track_caller]
    #[must_use]
    pub fn container(&self, name: &str, options: &str) -> Container {
        self.run(&format!(
            "run --detach --name {name} --hostname {name} {options} {IMAGE}"
        ));
        self.find(name)
    }

    /// A container that runs: its network as a namespace to run commands in, and the addresses of its `eth0`. After a
    /// restart of the container this has to be asked for again.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    #[must_use]
    pub fn find(&self, name: &str) -> Container {
        let pid = self.run(&format!("inspect --format {{{{.State.Pid}}}} {name}"));
        let pid: u32 = pid.trim().parse().expect("a process id");
        assert!(pid != 0, "container {name} does not run");
        let network = self.machine.root().join(format!("proc/{pid}/ns/net"));
        let number = FOUND.fetch_add(1, Ordering::Relaxed);
        let namespace = Namespace::borrow(&format!("{}-{name}-{number}", self.prefix), &network);
        let addresses = namespace.run("ip -j addr show dev eth0 scope global");
        let addresses: Value = serde_json::from_str(&addresses).expect("ip -j prints JSON");
        let of = |family: &str| {
            let all = addresses.pointer("/0/addr_info")?.as_array()?;
            let found = all.iter().find(|address| address["family"] == family)?;
            found["local"].as_str()
        };
        let v4 = of("inet").map_or(Ipv4Addr::UNSPECIFIED, |text| {
            text.parse().expect("an IPv4 address")
        });
        let v6 = of("inet6").map_or(Ipv6Addr::UNSPECIFIED, |text| {
            text.parse().expect("an IPv6 address")
        });
        Container::new(namespace, v4, v6, &self.dir, name)
    }
}
