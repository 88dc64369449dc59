//! What the figures were measured on.

use std::{fs, process::Command};

use serde::{Deserialize, Serialize};

/// The machine and everything on it that figures depend on and that is the same for all peers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Machine {
    /// Model name of the CPU.
    pub cpu: String,
    /// Cores that are online.
    pub cores: usize,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Kernel release.
    pub kernel: String,
    /// Distribution.
    pub system: String,
    /// What iperf3 says it is.
    pub iperf3: String,
    /// What ping says it is.
    pub ping: String,
    /// TCP congestion control of both sides.
    pub congestion_control: String,
    /// Kernel settings that limit socket buffers.
    pub sysctls: Vec<(String, String)>,
    /// Share of the cores that was busy just before the run: figures of a machine with other work are not comparable.
    pub load_before: f64,
}

impl Machine {
    /// Looks at this machine.
    #[must_use]
    pub fn here(congestion_control: &str) -> Self {
        let cpuinfo = read("/proc/cpuinfo");
        let field = |text: &str, name: &str, separator| {
            text.lines()
                .find_map(|line| {
                    line.strip_prefix(name)?
                        .trim_start()
                        .strip_prefix(separator)
                })
                .map(|value| value.trim().trim_matches('"').to_owned())
        };
        Self {
            cpu: field(&cpuinfo, "model name", ":").unwrap_or_else(|| "unknown".to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: field(&read("/proc/meminfo"), "MemTotal", ":")
                .and_then(|text| text.strip_suffix(" kB")?.parse::<u64>().ok())
                .map_or(0, |kib| kib / 1024),
            kernel: read("/proc/sys/kernel/osrelease"),
            system: field(&read("/etc/os-release"), "PRETTY_NAME", "=")
                .unwrap_or_else(|| "Linux".to_owned()),
            iperf3: first_line("iperf3", "--version"),
            ping: first_line("ping", "-V"),
            congestion_control: congestion_control.to_owned(),
            sysctls: [
                "net/core/rmem_max",
                "net/core/wmem_max",
                "net/ipv4/tcp_rmem",
                "net/ipv4/tcp_wmem",
            ]
            .map(|name| (name.replace('/', "."), read(&format!("/proc/sys/{name}"))))
            .to_vec(),
            load_before: busy_share(),
        }
    }
}

/// A congestion control that this kernel has: the wanted one if possible, otherwise the one in use.
#[must_use]
pub fn congestion_control(wanted: &str) -> String {
    let available = read("/proc/sys/net/ipv4/tcp_available_congestion_control");
    if available.split_whitespace().any(|name| name == wanted) {
        wanted.to_owned()
    } else {
        read("/proc/sys/net/ipv4/tcp_congestion_control")
    }
}

/// The time, as `date` prints it in UTC.
#[must_use]
pub fn now() -> String {
    first_line("date", "-u +%Y-%m-%dT%H:%M:%SZ")
}

/// The commit that lies in the current directory, with a mark if files differ from it.
#[must_use]
pub fn revision() -> Option<String> {
    // Root may look into the repository of whoever called sudo.
    let output = Command::new("git")
        .args(["-c", "safe.directory=*", "describe", "--always", "--dirty"])
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !said.is_empty()).then_some(said)
}

fn busy_share() -> f64 {
    let busy = || crate::measure::cpu::machine().unwrap_or_default();
    let second = std::time::Duration::from_secs(1);
    let before = busy();
    std::thread::sleep(second);
    (busy() - before) / std::thread::available_parallelism().map_or(1, usize::from) as f64
}

fn read(path: &str) -> String {
    fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn first_line(program: &str, arguments: &str) -> String {
    Command::new(program)
        .args(arguments.split(' '))
        .output()
        .ok()
        .and_then(|output| {
            String::from_utf8_lossy(&output.stdout)
                .lines()
                .next()
                .map(str::to_owned)
        })
        .unwrap_or_else(|| format!("{program} is missing"))
}
