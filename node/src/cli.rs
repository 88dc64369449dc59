//! The command line. Completions and man pages are generated from these definitions.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use tombolo_engine::reconcile::LinkName;
use tombolo_proto::{
    id::NetworkId,
    link::{HostPort, JoinLink},
};

use crate::bench::{MAX_FLOWS, MAX_SECONDS};

/// The port of the data sockets.
pub const DATA_PORT: u16 = 9790;

/// The configuration file, unless another is named.
pub const CONFIG: &str = "/etc/tombolo/node.toml";

/// Tombolo node: joins encrypted overlay networks and connects this host and its containers to their members.
#[derive(Debug, Parser)]
#[command(name = "node", version, max_term_width = 100)]
pub struct Cli {
    /// Flags that every verb takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Flags that every verb takes, before it or after it.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Where the daemon keeps its identity and networks
    #[arg(
        long,
        global = true,
        env = "TOMBOLO_STATE_DIR",
        value_name = "DIR",
        default_value = "/var/lib/tombolo/node"
    )]
    pub state_dir: PathBuf,
    /// Socket of the daemon
    #[arg(
        long,
        global = true,
        env = "TOMBOLO_SOCKET",
        value_name = "PATH",
        default_value = "/run/tombolo/node.sock"
    )]
    pub socket: PathBuf,
    /// Configuration file of the daemon
    #[arg(
        long,
        global = true,
        env = "TOMBOLO_CONFIG",
        value_name = "PATH",
        default_value = CONFIG
    )]
    pub config: PathBuf,
    /// Print one JSON object or array
    #[arg(long, global = true)]
    pub json: bool,
    /// What the daemon logs: error, warn, info, debug or trace; RUST_LOG says it in more detail
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log_level: Option<tracing::Level>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run the daemon in the foreground
    Up(Up),
    /// Join a network
    Join(Join),
    /// Leave a network
    Leave {
        /// Which network
        network: NetworkId,
        /// Even if containers are attached to networks that `node docker create` made in it
        #[arg(long)]
        force: bool,
    },
    /// Show this node and its networks
    Status,
    /// List the networks of this node
    Networks,
    /// List the members of the networks, and how they are reached
    Peers,
    /// List the routes of the networks
    Routes,
    /// Ask a member for a sign of life through its session, and show path and round trip
    Ping(Ping),
    /// Explain in words how a member is reached, or what keeps it from being reached
    Why(Why),
    /// Look for what is wrong on this host, and show the command that mends it
    Doctor,
    /// Measure throughput, latency and path to a member, over the overlay
    Bench(Bench),
    /// Change what a network may do on this host
    Set(Set),
    /// Show the address and the public key of this node
    Id,
    /// Publish or withdraw prefixes behind this node
    Route {
        /// Publish or withdraw
        #[command(subcommand)]
        action: RouteVerb,
    },
    /// Put Docker networks into the overlay
    Docker {
        /// What to do
        #[command(subcommand)]
        action: DockerVerb,
    },
    /// Print a shell completion script
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Print a man page, or write all of them into a directory
    Man {
        /// Where to write one page per verb
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

/// Arguments of `node up`.
#[derive(Debug, Args)]
pub struct Up {
    /// UDP port for everything this node says to peers; 9790 unless configured otherwise
    #[arg(long)]
    pub port: Option<u16>,
    /// Address where others reach this node, for hosts behind a port forwarding; may be repeated
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise: Vec<HostPort>,
    /// Do not forward sealed packets between other members that cannot reach each other
    #[arg(long)]
    pub no_relay: bool,
    /// Serve Prometheus metrics on this address
    #[arg(long, value_name = "ADDR")]
    pub metrics: Option<SocketAddr>,
}

/// Arguments of `node join`.
#[derive(Debug, Args)]
pub struct Join {
    /// Network id, or a join link from the panel
    #[arg(value_name = "NETWORK-ID|tombolo://…")]
    pub target: JoinTarget,
    /// Control address of a controller; may be repeated
    #[arg(long = "controller", value_name = "HOST:PORT")]
    pub controllers: Vec<HostPort>,
    /// Join token that authorises at once
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// Name of the interface to make; tmb0, tmb1, … by default
    #[arg(long, value_name = "NAME", value_parser = parse_link_name)]
    pub interface: Option<LinkName>,
    /// Wait this long to be authorised, then print the addresses
    #[arg(long, value_name = "SECONDS")]
    pub wait: Option<u64>,
}

/// What `node join` is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinTarget {
    /// The bare id: the authority's key is trusted on first use.
    Id(NetworkId),
    /// A link that names the key.
    Link(JoinLink),
}

impl std::str::FromStr for JoinTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains("://") {
            text.parse()
                .map(Self::Link)
                .map_err(|error| format!("not a join link: {error}; copy the whole link"))
        } else {
            text.parse()
                .map(Self::Id)
                .map_err(|error| format!("not a network id: {error}"))
        }
    }
}

/// Arguments of `node set`.
#[derive(Debug, Args)]
pub struct Set {
    /// Which network
    pub network: NetworkId,
    /// What to change
    #[arg(
        required = true,
        value_name = "allow-global=on|off | allow-default=on|off"
    )]
    pub settings: Vec<Setting>,
}

/// One setting and its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Which.
    pub name: SettingName,
    /// On or off.
    pub on: bool,
}

/// What can be set per network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SettingName {
    /// Install routes to public prefixes.
    AllowGlobal,
    /// Install default routes: what this host sends to anywhere leaves by the member that carries one.
    AllowDefault,
}

impl std::str::FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shape = || "expected allow-global=on|off or allow-default=on|off".to_owned();
        let (name, value) = text.split_once('=').ok_or_else(shape)?;
        let name = SettingName::from_str(name, false).map_err(|_| shape())?;
        match value {
            "on" => Ok(Self { name, on: true }),
            "off" => Ok(Self { name, on: false }),
            _ => Err(shape()),
        }
    }
}

/// Arguments of `node bench`.
#[derive(Debug, Args)]
pub struct Bench {
    /// Which member: node address, name, or any of its addresses
    #[arg(value_name = "MEMBER|ADDRESS")]
    pub member: String,
    /// How long to fill each direction
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_SECONDS)))]
    pub seconds: u8,
    /// Connections side by side
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_FLOWS)))]
    pub flows: u8,
    /// Inner addresses to use; IPv4 if the member has one
    #[arg(long)]
    pub family: Option<Family>,
    /// Which network; needed if the member is in several with this node
    #[arg(long, value_name = "ID")]
    pub network: Option<NetworkId>,
}

/// Arguments of `node ping`.
#[derive(Debug, Args)]
pub struct Ping {
    /// Which member: node address, name, any of its addresses, or an address behind it
    #[arg(value_name = "MEMBER|ADDRESS")]
    pub member: String,
    /// How often to ask
    #[arg(long, short, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub count: u32,
    /// Seconds between two questions
    #[arg(long, short, value_name = "SECONDS", default_value_t = 1.0, value_parser = parse_seconds)]
    pub interval: f64,
    /// Seconds to wait for an answer; the first question also waits for a session
    #[arg(long, short = 'W', value_name = "SECONDS", default_value_t = 5.0, value_parser = parse_seconds)]
    pub timeout: f64,
    /// Which network; needed if the member is in several with this node
    #[arg(long, value_name = "ID")]
    pub network: Option<NetworkId>,
}

/// Arguments of `node why`.
#[derive(Debug, Args)]
pub struct Why {
    /// Which member: node address, name, any of its addresses, or an address behind it
    #[arg(value_name = "MEMBER|ADDRESS")]
    pub member: String,
    /// Which network; needed if the member is in several with this node
    #[arg(long, value_name = "ID")]
    pub network: Option<NetworkId>,
}

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Family {
    /// IPv4
    #[value(name = "4")]
    V4,
    /// IPv6
    #[value(name = "6")]
    V6,
}

/// `node route …`
#[derive(Debug, Subcommand)]
pub enum RouteVerb {
    /// Ask for a prefix behind this node to be routed to it
    Add(RoutePrefix),
    /// Stop routing a prefix to this node
    Rm(RoutePrefix),
}

/// Which prefix, in which network.
#[derive(Debug, Args)]
pub struct RoutePrefix {
    /// The prefix; host bits are dropped
    pub prefix: IpNet,
    /// Which network; needed if this node is in several
    #[arg(long, value_name = "ID")]
    pub network: Option<NetworkId>,
}

/// `node docker …`
#[derive(Debug, Subcommand)]
pub enum DockerVerb {
    /// Make a Docker network whose containers every member reaches
    Create(DockerCreate),
    /// List Docker networks and whether members reach them
    Ls,
    /// Put a Docker network that exists already into the overlay
    Publish {
        /// Docker's name for the network
        name: String,
        /// Which overlay network; needed if this node is in several
        #[arg(long, value_name = "ID")]
        network: Option<NetworkId>,
        /// Even Docker's default subnet, which every other Docker host has too
        #[arg(long)]
        force: bool,
    },
    /// Take a Docker network out of the overlay
    Unpublish {
        /// Docker's name for the network
        name: String,
    },
    /// Remove a Docker network that `node docker create` made
    Rm {
        /// Docker's name for the network
        name: String,
        /// Take containers off it first
        #[arg(long)]
        force: bool,
    },
    /// Look at everything that containers need to be reached
    Check,
}

/// Arguments of `node docker create`.
#[derive(Debug, Args)]
pub struct DockerCreate {
    /// Docker's name for the network
    pub name: String,
    /// Which overlay network; needed if this node is in several
    #[arg(long, value_name = "ID")]
    pub network: Option<NetworkId>,
    /// IPv4 subnet; chosen by the controller without it
    #[arg(long, value_name = "PREFIX")]
    pub subnet: Option<Ipv4Net>,
    /// IPv6 subnet; a part of this member's /80 without it
    #[arg(long, value_name = "PREFIX", conflicts_with = "no_ipv6")]
    pub ipv6_subnet: Option<Ipv6Net>,
    /// No IPv6
    #[arg(long)]
    pub no_ipv6: bool,
    /// Let containers reach the overlay and nothing else
    #[arg(long)]
    pub internal: bool,
    /// Let containers keep their own addresses towards the rest of the world, too
    #[arg(long)]
    pub no_masquerade: bool,
    /// Metric of its routes: where an administrator lets several members carry the same prefix, the lowest is sent to
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub route_metric: u32,
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.01..=3600.0).contains(&seconds) {
        Ok(seconds)
    } else {
        Err("between 0.01 and 3600 seconds".to_owned())
    }
}

fn parse_link_name(text: &str) -> Result<LinkName, String> {
    text.parse()
        .map_err(|error: tombolo_engine::reconcile::ParseLinkNameError| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_flags_stand_before_or_after_the_verb() {
        for line in [
            "node --socket /x status --json",
            "node --json status --socket /x",
        ] {
            let cli = Cli::try_parse_from(line.split(' ')).expect("a valid line");
            assert_eq!(
                (cli.global.socket.as_path(), cli.global.json),
                (std::path::Path::new("/x"), true)
            );
        }
    }

    #[test]
    fn what_is_wrong_with_an_argument_is_said() {
        for (line, said) in [
            ("node join 8056", "not a network id: expected 16 hex digits"),
            ("node join tombolo://x", "not a join link"),
            (
                "node join 8056c2e21c000001 --interface a-name-that-is-too-long",
                "1 to 15 letters",
            ),
            (
                "node join 8056c2e21c000001 --controller nowhere",
                "must be host:port",
            ),
            (
                "node set 8056c2e21c000001 allow-all=on",
                "expected allow-global=on|off",
            ),
            ("node bench srv2 --seconds 61", "61 is not in 1..=60"),
            ("node bench srv2 --flows 0", "0 is not in 1..=16"),
            ("node bench srv2 --family 5", "possible values: 4, 6"),
        ] {
            let error = Cli::try_parse_from(line.split(' '))
                .expect_err("an invalid line")
                .to_string();
            assert!(error.contains(said), "{line}: {error}");
        }
    }
}
