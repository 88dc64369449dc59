//! The configuration file, `/etc/tombolo/node.toml`. It may be missing; every key may be left out.
//!
//! ```toml
//! port = 9790
//! advertise = ["node.example.org:9790"]     # besides what controllers see
//! relay = true            # forward sealed packets between members that cannot reach each other, where this host can be reached
//! metrics = "127.0.0.1:9794"
//! controllers = ["ctl.example.org:9791"]    # for `node join <network-id>` without --controller
//!
//! [host]
//! forwarding = true       # turn on IP forwarding where this member carries prefixes for others
//! firewall = true         # let packets for this member's prefixes pass a firewall that would drop them (needs iptables, nft)
//! weak_host_rule = true   # drop overlay sources that arrive on other interfaces (needs nft)
//! port_mapping = true     # behind a NAT, ask the router for a port (PCP, NAT-PMP)
//!
//! [docker]
//! enabled = true          # look after container networks where Docker runs
//! socket = "/run/docker.sock"
//!
//! [names]
//! enabled = false         # true: answer DNS for <host>.<network> and <container>.<host>.<network>, on port 53 of this
//!                         # member's addresses and of the bridges behind it
//!
//! [session]
//! rekey_after_seconds = 120
//! reject_after_seconds = 180
//!
//! [bench]
//! respond = true          # let members measure the way here with `node bench`
//!
//! [crypto]
//! aes = true              # false: ChaCha20-Poly1305 even where the CPU has AES
//! post_quantum = true     # false: keys of sessions are made with X25519 alone
//!
//! [forwarding]
//! queues = 1              # forwarding threads per direction; without it one for every two cores
//! tun_offload = "tcp-and-udp"   # or "tcp" or "none": super-packets exchanged with the kernel
//! udp_gso = true          # send trains of datagrams in one call
//! ```

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use tombolo_proto::link::HostPort;

use crate::{cli::CONFIG, io::tun_offload::TunOffload};

/// What the file may say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConfigFile {
    /// UDP port of the data sockets.
    pub port: Option<u16>,
    /// Where others reach this node.
    pub advertise: Vec<HostPort>,
    /// Whether to relay for other members; yes if it does not say.
    pub relay: Option<bool>,
    /// Where to serve metrics.
    pub metrics: Option<SocketAddr>,
    /// For joins that name no controller.
    pub controllers: Vec<HostPort>,
    /// Measurements by other members.
    pub bench: BenchSection,
    /// What may be changed on this host.
    pub host: HostSection,
    /// Containers.
    pub docker: DockerSection,
    /// Names of members and containers.
    pub names: NamesSection,
    /// Life of session keys.
    pub session: SessionSection,
    /// Choice of ciphers.
    pub crypto: CryptoSection,
    /// How packets are moved.
    pub forwarding: ForwardingSection,
}

/// `[host]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostSection {
    /// Turn on IP forwarding where needed.
    pub forwarding: bool,
    /// Make exceptions in the firewall for the prefixes that this member carries.
    pub firewall: bool,
    /// Install the rule against overlay sources on other interfaces.
    pub weak_host_rule: bool,
    /// Ask the router for a port that leads here.
    pub port_mapping: bool,
}

impl Default for HostSection {
    fn default() -> Self {
        Self {
            forwarding: true,
            firewall: true,
            weak_host_rule: true,
            port_mapping: true,
        }
    }
}

/// `[docker]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DockerSection {
    /// Look after container networks.
    pub enabled: bool,
    /// Where Docker listens.
    pub socket: PathBuf,
}

impl Default for DockerSection {
    fn default() -> Self {
        Self {
            enabled: true,
            socket: "/run/docker.sock".into(),
        }
    }
}

/// `[names]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NamesSection {
    /// Answer for them.
    pub enabled: bool,
}

/// `[session]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionSection {
    /// Age at which keys are replaced.
    pub rekey_after_seconds: Option<u64>,
    /// Age at which keys are erased.
    pub reject_after_seconds: Option<u64>,
}

/// `[crypto]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CryptoSection {
    /// Use AES where the CPU has it.
    pub aes: bool,
    /// Mix ML-KEM-768 into the keys of sessions with peers that do so too.
    pub post_quantum: bool,
}

/// `[bench]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BenchSection {
    /// Be the far end of other members' `node bench`.
    pub respond: bool,
}

impl Default for BenchSection {
    fn default() -> Self {
        Self { respond: true }
    }
}

impl Default for CryptoSection {
    fn default() -> Self {
        Self {
            aes: true,
            post_quantum: true,
        }
    }
}

/// `[forwarding]`. What the kernel lacks is done without, whatever stands here.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ForwardingSection {
    /// Threads per direction, at most [`MAX_QUEUES`]; chosen by the number of cores if left out.
    pub queues: Option<usize>,
    /// Super-packets exchanged with the kernel over the TUN.
    pub tun_offload: TunOffload,
    /// Send trains of datagrams in one call.
    pub udp_gso: bool,
}

/// Most queues that can be asked for. The kernel allows 256 per TUN; a packet's share of a core is spent long before.
pub const MAX_QUEUES: usize = 16;

impl Default for ForwardingSection {
    fn default() -> Self {
        Self {
            queues: None,
            tun_offload: TunOffload::default(),
            udp_gso: true,
        }
    }
}

impl ForwardingSection {
    /// One queue for every two cores: each has a thread per direction.
    #[must_use]
    pub fn queues(&self) -> usize {
        self.queues.unwrap_or_else(|| {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            (cores / 2).clamp(1, MAX_QUEUES)
        })
    }
}

impl ConfigFile {
    /// Reads the file. The default one may be missing; one that was asked for may not.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text)
                .with_context(|| format!("The configuration file {} is wrong", path.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound && path == Path::new(CONFIG) => {
                Ok(Self::default())
            }
            Err(error) => Err(error).with_context(|| {
                format!("Failed to read the configuration file {}", path.display())
            }),
        }
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let config: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| {
                1 + text
                    .get(..span.start)
                    .map_or(0, |before| before.matches('\n').count())
            });
            anyhow::anyhow!("line {line}: {}", error.message())
        })?;
        let session = &config.session;
        if let (Some(rekey), Some(reject)) =
            (session.rekey_after_seconds, session.reject_after_seconds)
        {
            ensure!(
                rekey < reject,
                "session.rekey_after_seconds must be below session.reject_after_seconds"
            );
        }
        ensure!(
            session.rekey_after_seconds != Some(0),
            "session.rekey_after_seconds must not be 0"
        );
        ensure!(
            (1..=MAX_QUEUES).contains(&config.forwarding.queues.unwrap_or(1)),
            "forwarding.queues must be between 1 and {MAX_QUEUES}"
        );
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_all_defaults() {
        let config = ConfigFile::parse("").expect("valid");
        assert_eq!(config, ConfigFile::default());
        assert!(config.crypto.aes && config.crypto.post_quantum && config.host.forwarding);
        assert!(config.bench.respond && !config.names.enabled);
    }

    #[test]
    fn measurements_can_be_switched_off() {
        let config = ConfigFile::parse("[bench]\nrespond = false\n").expect("valid");
        assert!(!config.bench.respond);
    }

    #[test]
    fn every_key_is_understood() {
        let text = "port = 1\nadvertise = [\"a:2\"]\nmetrics = \"127.0.0.1:3\"\ncontrollers = [\"b:4\"]\n\
                    [host]\nforwarding = false\nfirewall = false\nweak_host_rule = false\nport_mapping = false\n\
                    [session]\nrekey_after_seconds = 5\nreject_after_seconds = 8\n[crypto]\naes = false\npost_quantum = false\n\
                    [names]\nenabled = true\n[forwarding]\nqueues = 2\ntun_offload = \"tcp\"\nudp_gso = false\n";

        let config = ConfigFile::parse(text).expect("valid");

        assert_eq!(
            (config.port, config.session.rekey_after_seconds),
            (Some(1), Some(5))
        );
        assert!(!config.crypto.aes && !config.crypto.post_quantum);
        assert!(config.names.enabled);
        assert_eq!(config.forwarding.queues(), 2);
        assert_eq!(config.forwarding.tun_offload, TunOffload::Tcp);
        assert!(!config.forwarding.udp_gso);
        assert_eq!(
            config.host,
            HostSection {
                forwarding: false,
                firewall: false,
                weak_host_rule: false,
                port_mapping: false
            }
        );
    }

    #[test]
    fn queues_are_at_least_one_and_not_too_many() {
        assert!(ConfigFile::default().forwarding.queues() >= 1);
        for queues in [0, MAX_QUEUES + 1] {
            assert!(ConfigFile::parse(&format!("[forwarding]\nqueues = {queues}\n")).is_err());
        }
    }

    #[test]
    fn a_wrong_key_is_named_with_its_line() {
        let error = ConfigFile::parse("port = 1\nprot = 2\n")
            .expect_err("an unknown key")
            .to_string();
        assert!(
            error.starts_with("line 2:") && error.contains("prot"),
            "{error}"
        );
    }

    #[test]
    fn keys_must_be_replaced_before_they_are_erased() {
        let text = "[session]\nrekey_after_seconds = 9\nreject_after_seconds = 8\n";
        assert!(ConfigFile::parse(text).is_err());
    }
}
