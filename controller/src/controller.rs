//! Starting and stopping the whole.

use std::{net::SocketAddr, num::NonZeroU32, sync::Arc, time::Duration, time::Instant};

use tokio::task::JoinHandle;
use tombolo_proto::link::HostPort;

use tombolo_relay::Relay;

use crate::{
    api::ApiState,
    auth::{Attempts, Gate, Hosts, Passwords, Refusals},
    authority::{self, AuthorityError},
    config::Config,
    control::{Control, ControlError, Shared},
    http::{self, Tls, TlsError},
    interfaces,
    links::Links,
    listen::{self, ListenError},
    networks::Networks,
    observing::Observing,
    oidc::{Oidc, OidcSettingsError},
    publish::Registry,
    relay::{self, Forwarder},
    sealing::{SecretKeyError, SecretKeys},
    setup,
    state_dir::{StateDir, StateError},
    stop::{self, Stop, Stopper},
    store::{Actor, CommitError, FreshToken, OpenError, Store, StoreError, StoreUrl},
    token, watch, webhooks,
};

/// How often certificates that need renewal are looked for.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(3600);

/// Why the controller did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// HTTP beyond this host without saying so.
    #[error(
        "{0} is reachable from other hosts and HTTP is not encrypted: give --tls-cert and --tls-key, listen on 127.0.0.1 behind a TLS proxy, or accept the risk with --insecure-http"
    )]
    InsecureHttp(SocketAddr),
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The certificate for HTTP.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Single sign-on.
    #[error(transparent)]
    Oidc(#[from] OidcSettingsError),
    /// A socket.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The control channel.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// Opening the store.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The keys that seal secrets.
    #[error(transparent)]
    SecretKeys(#[from] SecretKeyError),
    /// Using the store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Writing to the store.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The authority.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// A socket that was opened does not work.
    #[error("cannot use a socket: {0}")]
    Socket(#[source] std::io::Error),
}

/// A running controller. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct Controller {
    http: SocketAddr,
    control: SocketAddr,
    relay: SocketAddr,
    stopper: Stopper,
    tasks: Vec<JoinHandle<()>>,
    store: Store,
    state: ApiState,
    encrypted: bool,
    setup_link: Option<String>,
    _state_dir: StateDir,
}

impl Controller {
    /// Starts a controller; it is ready when this returns. Port 0 in an address means any free port.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        if !config.http.ip().is_loopback() && !config.insecure_http && config.tls.is_none() {
            return Err(StartError::InsecureHttp(config.http));
        }
        let tls = config.tls.map(Tls::read).transpose()?;
        let oidc = config.oidc.map(Oidc::new).transpose()?;
        let secret_keys = config.secret_key_file.as_deref().map(SecretKeys::read);
        let secret_keys = secret_keys.transpose()?.unwrap_or_default();
        let state_dir = StateDir::open(&config.state_dir)?;
        // Sockets first: a taken port is told at once, and two controllers never share a store for a moment.
        let http_socket = listen::tcp(config.http)?;
        let (control_socket, control_listener) = listen::both(config.control)?;
        let relay_socket = listen::udp(config.relay)?;
        let url = config
            .store
            .unwrap_or_else(|| StoreUrl::sqlite(state_dir.default_store()));
        let store = Store::open(&url).await?.with_secret_keys(secret_keys);
        let names = config
            .advertise
            .iter()
            .map(|endpoint| endpoint.host().to_owned());
        let hosts = config
            .http_hosts
            .into_iter()
            .chain(names)
            .collect::<Vec<_>>();
        let gate = Arc::new(Gate {
            attempts: Attempts::default(),
            refusals: Refusals::default(),
            passwords: Passwords::default(),
            hosts: Hosts::new(hosts),
            oidc,
        });
        let control_address = control_socket.local_addr().map_err(StartError::Socket)?;
        let relay = relay_socket.local_addr().map_err(StartError::Socket)?;
        let observing = Arc::new(Observing::beside(relay));
        let endpoints = if config.advertise.is_empty() {
            interfaces::endpoints(control_address).await
        } else {
            config.advertise
        };
        let established = match authority::establish(&state_dir, &store, &endpoints).await {
            Ok(established) => established,
            Err(error) => {
                // Whoever puts another file in its place must not meet what is left of this one.
                store.close().await;
                return Err(error.into());
            }
        };
        let signer = Arc::new(established.signer);
        let control = Control::from_sockets(control_socket, control_listener, signer.replica())?;
        if established.has_root {
            ensure_admin_token(&state_dir, &store).await?;
        }

        if signer.is_admitted() {
            seal_secrets(&store).await?;
        }
        let registry = Arc::new(Registry::default());
        let networks = Arc::new(Networks::new(
            store.clone(),
            Arc::clone(&signer),
            Arc::clone(&registry),
        ));
        // Before anybody connects: what others do from now on is told to whoever is there.
        networks.catch_up().await?;
        store.remember_tokens().await?;
        let (stopper, stop) = stop::pair();
        let events = Arc::clone(&registry);
        let relayed = Arc::new(Relay::default());
        let state = ApiState {
            relay: Arc::clone(&relayed),
            store: store.clone(),
            networks: Arc::clone(&networks),
            registry: Arc::clone(&registry),
            signer: Arc::clone(&signer),
            gate,
            started: Instant::now(),
            stop: stop.clone(),
        };
        let forwarder = Forwarder::new(relay_socket, Arc::clone(&relayed));
        let forwarder = Arc::new(forwarder.map_err(StartError::Socket)?);
        let links = Arc::new(Links::default());
        let shared = Arc::new(Shared::new(
            store.clone(),
            Arc::clone(&networks),
            Arc::clone(&registry),
            signer,
            relay.port(),
            Arc::clone(&forwarder),
            Arc::clone(&links),
        ));

        let http_listener =
            tokio::net::TcpListener::from_std(http_socket).map_err(StartError::Socket)?;
        let http = http_listener.local_addr().map_err(StartError::Socket)?;
        let encrypted = tls.is_some();
        let setup_link = if established.has_root {
            setup::offer(&state_dir, &store, http, encrypted).await?
        } else {
            None
        };
        let tasks = vec![
            tokio::spawn(control.serve(shared, stop.clone())),
            tokio::spawn(http::serve(http_listener, tls, state.clone(), stop.clone())),
            tokio::spawn({
                let (stop, observing) = (stop.clone(), Arc::clone(&observing));
                async move { forwarder.serve(&observing, stop).await }
            }),
            tokio::spawn({
                let stop = stop.clone();
                async move { observing.serve_second(stop).await }
            }),
            tokio::spawn(relay::review(
                Arc::clone(&relayed),
                Arc::clone(&networks),
                stop.clone(),
            )),
            tokio::spawn(watch::run(
                store.clone(),
                Arc::clone(&networks),
                relayed,
                stop.clone(),
            )),
            tokio::spawn({
                let (networks, stop) = (Arc::clone(&networks), stop.clone());
                async move { networks.telling.run(stop).await }
            }),
            tokio::spawn({
                let (store, stop) = (store.clone(), stop.clone());
                async move { links.run(&store, &registry, stop).await }
            }),
            tokio::spawn(webhooks::run(store.clone(), events, stop.clone())),
            tokio::spawn(upkeep(networks, store.clone(), config.audit_keep, stop)),
        ];
        Ok(Self {
            http,
            control: control_address,
            relay,
            stopper,
            tasks,
            store,
            state,
            encrypted,
            setup_link,
            _state_dir: state_dir,
        })
    }

    /// Where HTTP is served.
    #[must_use]
    pub const fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where nodes connect.
    #[must_use]
    pub const fn control(&self) -> SocketAddr {
        self.control
    }

    /// Where STUN is answered.
    #[must_use]
    pub const fn relay(&self) -> SocketAddr {
        self.relay
    }

    /// Where nodes are told to find this controller.
    #[must_use]
    pub fn endpoints(&self) -> Vec<HostPort> {
        self.state.signer.held().keyring.endpoints.clone()
    }

    /// Whether the keyring names this replica: until it does, it serves no nodes and changes nothing.
    #[must_use]
    pub fn is_admitted(&self) -> bool {
        self.state.signer.is_admitted()
    }

    /// Where a browser on this host finds the panel.
    #[must_use]
    pub fn panel(&self) -> String {
        setup::url(self.http, self.encrypted)
    }

    /// The link that makes the first user of the panel; none once there is a user.
    #[must_use]
    pub fn setup_link(&self) -> Option<&str> {
        self.setup_link.as_deref()
    }

    /// What the web API works with.
    #[must_use]
    pub const fn state(&self) -> &ApiState {
        &self.state
    }

    /// Stops: nodes are told, requests are finished, the store is closed.
    pub async fn shutdown(self) {
        self.stopper.stop();
        for task in self.tasks {
            // A task that panicked has already been reported.
            let _ = task.await;
        }
        self.store.close().await;
    }
}

/// Secrets in the store are sealed with the newest key from now on, if there is one.
async fn seal_secrets(store: &Store) -> Result<(), StoreError> {
    let sealing = store.seal_secrets().await?;
    if sealing.sealed > 0 {
        tracing::info!(webhooks = sealing.sealed, "sealed secrets in the store");
    }
    if sealing.unreadable > 0 {
        tracing::warn!(
            webhooks = sealing.unreadable,
            "secrets of webhooks are sealed with a key that this replica does not have: it sends them nothing until it is started with --secret-key-file and that key"
        );
    }
    Ok(())
}

async fn upkeep(
    networks: Arc<Networks>,
    store: Store,
    audit_keep: Option<NonZeroU32>,
    mut stop: Stop,
) {
    let mut due = tokio::time::interval(UPKEEP_INTERVAL);
    loop {
        tokio::select! {
            _ = due.tick() => {
                if let Err(error) = networks.upkeep().await {
                    tracing::error!(%error, "upkeep failed, will be tried again");
                }
                if let Err(error) = store.forget_old_sessions().await {
                    tracing::error!(%error, "old sessions could not be forgotten, will be tried again");
                }
                if let Some(days) = audit_keep {
                    match store.forget_audit(days.get()).await {
                        Ok(0) => {}
                        Ok(lines) => tracing::info!(lines, days, "forgot old lines of the audit log"),
                        Err(error) => tracing::error!(%error, "old lines of the audit log could not be forgotten, will be tried again"),
                    }
                }
            }
            () = stop.wait() => return,
        }
    }
}

/// A store without any API token gets one that may do everything, written to the state directory: whoever can read
/// that is the administrator. The file comes first, so that a crash between the two is repaired by starting again.
async fn ensure_admin_token(state: &StateDir, store: &Store) -> Result<(), StartError> {
    if !store.tokens("", 1).await?.is_empty() {
        return Ok(());
    }
    let minted = token::mint();
    state.write_admin_token(&minted.token)?;
    let scopes = ["admin".to_owned()];
    let fresh = FreshToken {
        id: &minted.id,
        hash: &minted.hash,
        name: "first-admin",
        scopes: &scopes,
        expires_in: None,
    };
    let added = store.add_token(&fresh, &Actor::Controller, None).await;
    match added {
        // A replica that holds the root key as well was faster: its token works everywhere.
        Err(CommitError::NameTaken) => Ok(state.remove_admin_token()?),
        added => Ok(added?),
    }
}
