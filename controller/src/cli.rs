//! The command line, as types.

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use tombolo_proto::{api::Role, id::NetworkId, key::IdentityKey, link::HostPort};

mod import;

pub use import::{ImportVerb, ImportZerotier};

/// Runs and manages a Tombolo controller.
#[derive(Debug, Parser)]
#[command(
    name = "controller",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// Options that stand before or after the verb.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Options that every verb takes.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Where keys, the admin token and the store are [default: /var/lib/tombolo/controller]
    #[arg(long, global = true, env = "TOMBOLO_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Configuration file, with the same keys as the flags [default: /etc/tombolo/controller.toml]
    #[arg(long, global = true, env = "TOMBOLO_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the controller's API is [default: http://127.0.0.1:9792]
    #[arg(long, global = true, value_name = "URL")]
    pub url: Option<String>,
    /// File with an API token [default: admin.token in the state directory]
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Trust the certificates in this file when the URL is https [default: the public authorities]
    #[arg(long, global = true, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// Print one JSON object or array
    #[arg(long, global = true)]
    pub json: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run the controller in the foreground
    Serve(Serve),
    /// Create, list, change and delete networks
    #[command(subcommand)]
    Network(NetworkVerb),
    /// List, authorise, change and delete members
    #[command(subcommand)]
    Member(MemberVerb),
    /// Add, list, approve and delete routes
    #[command(subcommand)]
    Route(RouteVerb),
    /// List, replace, add and delete access rules
    #[command(subcommand)]
    Rule(RuleVerb),
    /// Create, list and delete API tokens
    #[command(subcommand)]
    Token(TokenVerb),
    /// Add, list, change and delete those who may sign in to the panel
    #[command(subcommand)]
    User(UserVerb),
    /// Create, list and delete join tokens
    #[command(subcommand)]
    JoinToken(JoinTokenVerb),
    /// Make a network what a file says; what the file does not mention stays
    Apply {
        /// The file, TOML
        file: PathBuf,
        /// Show what would change, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Take networks over from another controller
    #[command(subcommand)]
    Import(ImportVerb),
    /// Move the store
    #[command(subcommand)]
    Store(StoreVerb),
    /// Write everything, keys included, into one file; the controller may run
    Backup(BackupFile),
    /// Make an empty machine the controller of a backup
    Restore(BackupFile),
    /// Tell others of changes by HTTP
    #[command(subcommand)]
    Webhook(WebhookVerb),
    /// Show the audit log, and check that nobody changed it
    #[command(subcommand)]
    Audit(AuditVerb),
    /// Show and change which replicas may sign
    #[command(subcommand)]
    Keyring(KeyringVerb),
    /// Print a shell completion script
    Completions {
        /// For which shell
        shell: Shell,
    },
    /// Write the manual pages to a directory, or print the main one
    Man {
        /// Where to write them
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

/// `controller serve`
#[derive(Debug, Args)]
pub struct Serve {
    /// The store [default: store.sqlite in the state directory]
    #[arg(long, value_name = "sqlite:PATH|postgres://…")]
    pub store: Option<String>,
    /// Where to serve panel and web API [default: 127.0.0.1:9792]
    #[arg(long, value_name = "ADDR")]
    pub http: Option<SocketAddr>,
    /// Where nodes connect [default: port 9791 of every address, both families]
    #[arg(long, value_name = "ADDR")]
    pub control: Option<SocketAddr>,
    /// Where to answer STUN [default: port 9793 of every address, both families]
    #[arg(long, value_name = "ADDR")]
    pub relay: Option<SocketAddr>,
    /// Where nodes reach the control address; may be repeated [default: the addresses of this host's interfaces]
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise: Vec<HostPort>,
    /// Serve panel and web API over TLS with this certificate (PEM, with its chain); read again when it changes
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM)
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Serve panel and web API unencrypted beyond this host
    #[arg(long)]
    pub insecure_http: bool,
    /// Name by which browsers reach the panel without TLS here, behind a proxy say; may be repeated
    #[arg(long, value_name = "NAME")]
    pub http_host: Vec<String>,
    /// Forget lines of the audit log after so many days [default: keep all]
    #[arg(long, value_name = "DAYS")]
    pub audit_keep: Option<NonZeroU32>,
}

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

/// `controller store`
#[derive(Debug, Subcommand)]
pub enum StoreVerb {
    /// Copy everything into an empty store; the controller must not run
    MigrateTo {
        /// Where to
        #[arg(value_name = "postgres://…|sqlite:PATH")]
        url: String,
        /// Where from [default: store.sqlite in the state directory]
        #[arg(long, value_name = "URL")]
        store: Option<String>,
    },
}

/// `controller backup` and `controller restore`
#[derive(Debug, Args)]
pub struct BackupFile {
    /// The backup
    pub file: PathBuf,
    /// Encrypt with the passphrase in this file, or decrypt
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// The store [default: store.sqlite in the state directory]
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
}

/// `controller keyring`
#[derive(Debug, Subcommand)]
pub enum KeyringVerb {
    /// Show the keyring and every replica that registered
    Show,
    /// Let replicas sign that wait for it; needs the root key
    Add {
        /// Key of the replica, as it says itself and `keyring show` tells
        #[arg(
            required_unless_present = "all_pending",
            conflicts_with = "all_pending"
        )]
        key: Option<IdentityKey>,
        /// Every replica that waits
        #[arg(long)]
        all_pending: bool,
        /// Where the root key is [default: authority.key in the state directory]
        #[arg(long, value_name = "FILE")]
        root_key: Option<PathBuf>,
    },
    /// Make everything void that a replica ever signed, and sign it anew with another; needs the root key
    Revoke {
        /// Key of the replica
        key: IdentityKey,
        /// Where the root key is [default: authority.key in the state directory]
        #[arg(long, value_name = "FILE")]
        root_key: Option<PathBuf>,
    },
    /// Move the root key out of the state directory, to a stick say
    MoveRoot {
        /// Where to; must not be there yet
        #[arg(value_name = "FILE")]
        to: PathBuf,
    },
}

/// `controller webhook`
#[derive(Debug, Subcommand)]
pub enum WebhookVerb {
    /// Have messages sent to a URL, and print the secret that they are signed with, once
    Create {
        /// Where to: http or https
        #[arg(value_name = "URL")]
        to: String,
        /// Only of this: changed, requests, deleted or online; may be repeated
        #[arg(long = "event", value_name = "EVENT")]
        events: Vec<String>,
        /// Only of this network: id or name
        #[arg(long)]
        network: Option<String>,
    },
    /// List webhooks and how they do
    Ls,
    /// Change a webhook, turn it off, or on again
    Set {
        /// Webhook id
        id: String,
        /// Where to
        #[arg(long, value_name = "URL")]
        to: Option<String>,
        /// Whether it is told anything
        #[arg(long, value_name = "true|false")]
        enabled: Option<bool>,
    },
    /// Delete a webhook with what it was still to be told
    Rm {
        /// Webhook id
        id: String,
    },
    /// Send a message that says nothing, and tell whether it is taken
    Test {
        /// Webhook id
        id: String,
    },
}

/// `controller audit`
#[derive(Debug, Subcommand)]
pub enum AuditVerb {
    /// List what was done, newest first
    Ls {
        /// Only in this network: id, or name of one that is there
        #[arg(long)]
        network: Option<String>,
        /// Only by this one, as the list writes it: "user anna", "token 1f…", "node 89…", controller
        #[arg(long)]
        actor: Option<String>,
        /// Only this, such as member.authorize
        #[arg(long)]
        action: Option<String>,
        /// Only from this time on, in seconds since 1970
        #[arg(long, value_name = "SECONDS")]
        since: Option<u64>,
        /// Only before this time, in seconds since 1970
        #[arg(long, value_name = "SECONDS")]
        until: Option<u64>,
        /// How many lines at most
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Check every line against its hash, and print the last line's place and hash
    Verify {
        /// Also that the log still holds this line, as printed before
        #[arg(long, value_name = "LINE:HASH")]
        noted: Option<String>,
    },
}

/// `controller token`
#[derive(Debug, Subcommand)]
pub enum TokenVerb {
    /// Create an API token and print it, once
    Create {
        /// What it is for
        name: String,
        /// What it may do: read, write or admin, or in one network only: read:NETWORK-ID; may be repeated
        #[arg(long = "scope", default_value = "admin")]
        scopes: Vec<String>,
        /// Seconds until it expires
        #[arg(long, value_name = "SECONDS")]
        expires_in: Option<u64>,
    },
    /// List API tokens
    Ls,
    /// Delete an API token
    Rm {
        /// Token id
        id: String,
    },
}

/// `controller user`
#[derive(Debug, Subcommand)]
pub enum UserVerb {
    /// Add a user; without --password-file a password is made and printed, once
    Add {
        /// What is typed to sign in
        name: String,
        /// What they may do everywhere: none, viewer, operator or admin
        #[arg(long, default_value = "none", value_parser = parse_role)]
        role: Role,
        /// What they may do beyond that in one network; may be repeated
        #[arg(long = "in", value_name = "NETWORK-ID=ROLE", value_parser = parse_role_in)]
        networks: Vec<(NetworkId, Role)>,
        /// File with the password, in its first line; - for the input
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        /// None: they sign in with the account of that name at the identity provider
        #[arg(long, conflicts_with = "password_file")]
        no_password: bool,
    },
    /// List users
    Ls,
    /// Change what a user may do
    Set {
        /// Name or id
        user: String,
        /// What they may do everywhere: none, viewer, operator or admin
        #[arg(long, value_parser = parse_role)]
        role: Option<Role>,
        /// What they may do beyond that in one network, instead of all they might; may be repeated
        #[arg(long = "in", value_name = "NETWORK-ID=ROLE", value_parser = parse_role_in)]
        networks: Vec<(NetworkId, Role)>,
        /// Nothing beyond that in any network
        #[arg(long, conflicts_with = "networks")]
        no_networks: bool,
    },
    /// Delete a user and end every session
    Rm {
        /// Name or id
        user: String,
    },
    /// Give a user a new password and end every session; without --password-file one is made and printed, once
    Password {
        /// Name or id
        user: String,
        /// File with the password, in its first line; - for the input
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
}

fn parse_role(text: &str) -> Result<Role, String> {
    match text {
        "none" => Ok(Role::None),
        "viewer" => Ok(Role::Viewer),
        "operator" => Ok(Role::Operator),
        "admin" => Ok(Role::Admin),
        _ => Err("a role is none, viewer, operator or admin".to_owned()),
    }
}

fn parse_role_in(text: &str) -> Result<(NetworkId, Role), String> {
    let (network, role) = text
        .split_once('=')
        .ok_or("write NETWORK-ID=ROLE, such as 8056c2e21c000001=operator")?;
    let network = network
        .parse()
        .map_err(|error| format!("{network:?} is not a network id: {error}"))?;
    Ok((network, parse_role(role)?))
}

/// `controller join-token`
#[derive(Debug, Subcommand)]
pub enum JoinTokenVerb {
    /// Create a join token and print it and the complete join link, once
    Create {
        /// Network id or name
        network: String,
        /// How many nodes may join with it
        #[arg(long, default_value_t = 1)]
        uses: u32,
        /// Seconds until it expires
        #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
        expires_in: u64,
    },
    /// List join tokens
    Ls {
        /// Network id or name
        network: String,
    },
    /// Delete a join token
    Rm {
        /// Network id or name
        network: String,
        /// Token id
        id: String,
    },
}
