//! The command line, as types.

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf};

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use tombolo_proto::{key::IdentityKey, link::HostPort};

use crate::moment;

mod access;
mod import;
mod networks;

pub use access::{JoinTokenVerb, TokenVerb, UserVerb};
pub use import::{ImportVerb, ImportZerotier};
pub use networks::{
    MemberRoutes, MemberVerb, NetworkSettings, NetworkVerb, RouteVerb, RuleVerb, V6Modes,
};

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
    /// Seal the secrets of webhooks in the store with the first key of this file, and open them with any; the same for all replicas, one key a line, as `openssl rand -hex 32` makes them
    #[arg(long, value_name = "FILE")]
    pub secret_key_file: Option<PathBuf>,
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
    /// List the last 20 attempts to send something, newest first
    Deliveries {
        /// Webhook id
        id: String,
    },
    /// Send the message of a listed attempt again, with the id that it had, and tell whether it is taken
    Resend {
        /// Webhook id
        id: String,
        /// Id of the attempt
        delivery: String,
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
        /// Only by this one, as the list writes it: "user anna", "token 1f…", "node 89…", "replica im…", controller
        #[arg(long)]
        actor: Option<String>,
        /// Only this, such as member.authorize
        #[arg(long)]
        action: Option<String>,
        /// Only from this time on, as the list writes it or in seconds since 1970
        #[arg(long, value_name = "TIME", value_parser = moment::parse)]
        since: Option<u64>,
        /// Only before this time, likewise
        #[arg(long, value_name = "TIME", value_parser = moment::parse)]
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
