//! The verbs about networks, their members, routes and rules.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// `controller network`
#[derive(Debug, Subcommand)]
pub enum NetworkVerb {
    /// Create a network
    Create {
        /// Short name
        name: String,
        /// Settings
        #[command(flatten)]
        settings: NetworkSettings,
    },
    /// List networks
    Ls,
    /// Show a network
    Show {
        /// Id or name
        network: String,
    },
    /// Change a network
    Set {
        /// Id or name
        network: String,
        /// New short name
        #[arg(long)]
        name: Option<String>,
        /// Settings
        #[command(flatten)]
        settings: NetworkSettings,
    },
    /// Delete a network with its members, routes and tokens
    Rm {
        /// Id or name
        network: String,
    },
}

/// Settings of a network.
#[derive(Debug, Args)]
pub struct NetworkSettings {
    /// IPv4 prefix that addresses are assigned from, such as 172.27.0.0/16
    #[arg(long, value_name = "PREFIX")]
    pub v4: Option<String>,
    /// Assign from this range only; may be repeated
    #[arg(long = "v4-pool", value_name = "START-END")]
    pub v4_pools: Vec<String>,
    /// Allocate container subnets from this prefix; may be repeated
    #[arg(long = "subnet-pool", value_name = "PREFIX")]
    pub subnet_pools: Vec<String>,
    /// Automatic IPv6 layouts: 6plane, rfc4193, or none
    #[arg(long, value_name = "MODE,…", value_delimiter = ',')]
    pub v6_modes: Vec<V6Modes>,
    /// Largest inner packet in bytes
    #[arg(long)]
    pub mtu: Option<u16>,
    /// Whether joining needs authorisation
    #[arg(long, value_name = "true|false")]
    pub private: Option<bool>,
    /// What happens to routes that members ask for
    #[arg(long)]
    pub member_routes: Option<MemberRoutes>,
}

/// An automatic IPv6 layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum V6Modes {
    /// A /80 per member
    #[value(name = "6plane")]
    SixPlane,
    /// One address per member
    Rfc4193,
    /// Neither
    None,
}

/// What happens to routes that members ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MemberRoutes {
    /// They wait for approval
    Approve,
    /// They are active at once
    Auto,
    /// They are refused
    Off,
}

/// `controller member`
#[derive(Debug, Subcommand)]
pub enum MemberVerb {
    /// List members and waiting requests
    Ls {
        /// Network id or name
        network: String,
    },
    /// Let a node in
    Authorize {
        /// Network id or name
        network: String,
        /// Node address or name
        member: String,
        /// New short name
        #[arg(long)]
        name: Option<String>,
        /// Give it this address; may be repeated
        #[arg(long = "address", value_name = "IP")]
        addresses: Vec<std::net::IpAddr>,
    },
    /// Put a member out; it keeps its addresses and routes for later
    Deauthorize {
        /// Network id or name
        network: String,
        /// Node address or name
        member: String,
    },
    /// Change a member
    Set {
        /// Network id or name
        network: String,
        /// Node address or name
        member: String,
        /// New short name
        #[arg(long)]
        name: Option<String>,
        /// Give it this address instead of those it has; may be repeated
        #[arg(long = "address", value_name = "IP")]
        addresses: Vec<std::net::IpAddr>,
        /// Give it these tags instead of those it has; may be repeated
        #[arg(long = "tag", value_name = "TAG")]
        tags: Vec<String>,
        /// Whether it may forward sealed frames for others
        #[arg(long, value_name = "true|false")]
        relay: Option<bool>,
    },
    /// Delete a member and free its addresses, or delete a waiting request
    Rm {
        /// Network id or name
        network: String,
        /// Node address or name
        member: String,
    },
}

/// `controller route`
#[derive(Debug, Subcommand)]
pub enum RouteVerb {
    /// Route a prefix to a member
    Add {
        /// Network id or name
        network: String,
        /// The prefix; host bits are cut off
        prefix: String,
        /// The member: node address, one of its addresses, or its name
        #[arg(long)]
        via: String,
        /// Lower wins among members with the same prefix
        #[arg(long, default_value_t = 0)]
        metric: u32,
        /// Let several members carry the prefix
        #[arg(long)]
        failover: bool,
    },
    /// List routes
    Ls {
        /// Network id or name
        network: String,
    },
    /// Delete a route
    Rm {
        /// Route id, or network id or name
        #[arg(value_name = "[NETWORK] ID", num_args = 1..=2, required = true)]
        route: Vec<String>,
    },
    /// Approve a route that a member asked for
    Approve {
        /// Route id, or network id or name and route id
        #[arg(value_name = "[NETWORK] ID", num_args = 1..=2, required = true)]
        route: Vec<String>,
    },
}

/// `controller rule`
#[derive(Debug, Subcommand)]
pub enum RuleVerb {
    /// List the access rules of a network, in order
    Ls {
        /// Network id or name
        network: String,
    },
    /// Replace all of them by those in a file
    Set {
        /// Network id or name
        network: String,
        /// A rule a line, and `default allow` or `default deny`; `-` reads from the standard input
        file: PathBuf,
    },
    /// Add one, behind the others unless --at says where
    Add {
        /// Network id or name
        network: String,
        /// The number it shall have
        #[arg(long, value_name = "NUMBER")]
        at: Option<usize>,
        /// allow|deny [any|tcp|udp|icmp|NUMBER [PORT[-PORT],…]] [from WHO,…] [to WHO,…]; WHO is any, tag:TAG, member:NAME
        /// or a prefix
        #[arg(required = true, num_args = 1..)]
        rule: Vec<String>,
    },
    /// Delete one
    Rm {
        /// Network id or name
        network: String,
        /// Its number
        number: usize,
    },
    /// Say what becomes of what no rule matches
    Default {
        /// Network id or name
        network: String,
        /// What becomes of it
        #[arg(value_parser = ["allow", "deny"])]
        action: String,
    },
}
