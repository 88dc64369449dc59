//! What a controller is started with: flags win over the environment, the environment over the file, the file over
//! the defaults.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use tombolo_proto::link::HostPort;

use crate::{
    oidc::OidcSettings,
    store::{OpenError, StoreUrl},
};

/// State directory of a packaged controller.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/tombolo/controller";
/// Configuration file of a packaged controller.
pub const DEFAULT_CONFIG: &str = "/etc/tombolo/controller.toml";
/// Where the verbs find the API.
pub const DEFAULT_URL: &str = "http://127.0.0.1:9792";
/// Where HTTP is served.
pub const DEFAULT_HTTP: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9792);
/// Where nodes connect.
pub const DEFAULT_CONTROL: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::UNSPECIFIED), 9791);
/// Where STUN is answered.
pub const DEFAULT_RELAY: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::UNSPECIFIED), 9793);

/// Everything that [`crate::Controller::start`] needs.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where keys, the admin token and the default store are.
    pub state_dir: PathBuf,
    /// The store; a SQLite file in the state directory if not given.
    pub store: Option<StoreUrl>,
    /// Where HTTP is served.
    pub http: SocketAddr,
    /// Where nodes connect.
    pub control: SocketAddr,
    /// Where STUN is answered.
    pub relay: SocketAddr,
    /// Where nodes are told to find this controller; the addresses of its interfaces if empty.
    pub advertise: Vec<HostPort>,
    /// Serve HTTP beyond this host although it is not encrypted.
    pub insecure_http: bool,
    /// Serve HTTP over TLS.
    pub tls: Option<TlsFiles>,
    /// Names under which browsers may ask, beside addresses, `localhost` and the names in `advertise`.
    pub http_hosts: Vec<String>,
    /// Let people sign in with accounts at an identity provider.
    pub oidc: Option<OidcSettings>,
    /// Forget lines of the audit log after so many days; none are forgotten if not given.
    pub audit_keep: Option<NonZeroU32>,
    /// File with the keys that seal secrets in the store; they lie there in clear if not given.
    pub secret_key_file: Option<PathBuf>,
}

/// Where a certificate and its key are, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, followed by those that vouch for it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Config {
    /// The defaults, with all state in `state_dir`.
    #[must_use]
    pub fn new(state_dir: &Path) -> Self {
        Self {
            state_dir: state_dir.to_owned(),
            store: None,
            http: DEFAULT_HTTP,
            control: DEFAULT_CONTROL,
            relay: DEFAULT_RELAY,
            advertise: Vec::new(),
            insecure_http: false,
            tls: None,
            http_hosts: Vec::new(),
            oidc: None,
            audit_keep: None,
            secret_key_file: None,
        }
    }
}

/// The configuration file: the same keys as the flags, and `[oidc]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct File {
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) store: Option<String>,
    pub(crate) http: Option<SocketAddr>,
    pub(crate) control: Option<SocketAddr>,
    pub(crate) relay: Option<SocketAddr>,
    pub(crate) advertise: Option<Vec<HostPort>>,
    pub(crate) insecure_http: Option<bool>,
    pub(crate) tls_cert: Option<PathBuf>,
    pub(crate) tls_key: Option<PathBuf>,
    pub(crate) http_host: Option<Vec<String>>,
    pub(crate) audit_keep: Option<NonZeroU32>,
    pub(crate) secret_key_file: Option<PathBuf>,
    pub(crate) oidc: Option<OidcSettings>,
    pub(crate) url: Option<String>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) tls_ca: Option<PathBuf>,
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {cause}; check the path given with --config", path = .path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// The file does not say anything sensible.
    #[error("the configuration {path} is wrong: {cause}", path = .path.display())]
    Parse {
        /// Which file.
        path: PathBuf,
        /// What and where.
        cause: String,
    },
    /// The store URL.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// A certificate without its key, or the other way round.
    #[error("--tls-cert and --tls-key go together: give both or neither")]
    HalfTls,
}

impl File {
    /// Reads the file; without a path, the default one, which need not be there.
    pub fn read(path: Option<&Path>) -> Result<Self, ConfigError> {
        let chosen = path.unwrap_or(Path::new(DEFAULT_CONFIG));
        let text = match std::fs::read_to_string(chosen) {
            Ok(text) => text,
            Err(cause) if path.is_none() && cause.kind() == io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(cause) => {
                return Err(ConfigError::Read {
                    path: chosen.to_owned(),
                    cause,
                });
            }
        };
        toml::from_str(&text).map_err(|error| ConfigError::Parse {
            path: chosen.to_owned(),
            cause: one_line(&error, &text),
        })
    }
}

/// What is wrong with a TOML text and where, in one line.
pub(crate) fn one_line(error: &toml::de::Error, text: &str) -> String {
    let line = error
        .span()
        .and_then(|span| text.get(..span.start))
        .map(|before| before.matches('\n').count() + 1);
    match line {
        Some(line) => format!("line {line}: {}", error.message()),
        None => error.message().to_owned(),
    }
}
