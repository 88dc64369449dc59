//! `controller serve`

use std::path::Path;

use anyhow::Context as _;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, output};
use crate::{
    cli::{Global, Serve},
    config::{Config, ConfigError, DEFAULT_STATE_DIR, File, TlsFiles},
    controller::Controller,
    state_dir, telemetry,
};

pub(super) fn run(global: &Global, flags: &Serve, file: File) -> Result<(), Failure> {
    telemetry::init();
    // Whatever the controller writes is for its own user alone.
    rustix::process::umask(rustix::fs::Mode::from_bits_truncate(0o077));
    let config = merge(global, flags, file)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("Failed to start the runtime")?;
    runtime.block_on(serve(config)).map_err(Failure::from)
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("Failed to listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("Failed to listen for SIGINT")?;
    let token_path = state_dir::admin_token_path(&config.state_dir);
    let controller = tokio::select! {
        started = Controller::start(config) => started?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    tracing::info!(
        http = %controller.http(),
        control = %controller.control(),
        relay = %controller.relay(),
        advertise = ?controller.endpoints(),
        admin_token = %token_path.display(),
        panel = %controller.panel(),
        admitted = controller.is_admitted(),
        "controller is ready"
    );
    // To whoever started it, and not by way of the log's format.
    if let Some(link) = controller.setup_link() {
        output::print(&format!(
            "Set up the panel (once, within a day, before anybody else does): {link}"
        ));
    }
    // Without a service manager there is nobody to tell.
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    controller.shutdown().await;
    Ok(())
}

fn merge(global: &Global, flags: &Serve, file: File) -> Result<Config, ConfigError> {
    let state_dir = global
        .state_dir
        .clone()
        .or(file.state_dir)
        .unwrap_or_else(|| Path::new(DEFAULT_STATE_DIR).to_owned());
    let defaults = Config::new(&state_dir);
    let store = flags
        .store
        .clone()
        .or(file.store)
        .map(|url| url.parse())
        .transpose()?;
    let advertise = if flags.advertise.is_empty() {
        file.advertise.unwrap_or_default()
    } else {
        flags.advertise.clone()
    };
    let certificate = flags.tls_cert.clone().or(file.tls_cert);
    let tls = match (certificate, flags.tls_key.clone().or(file.tls_key)) {
        (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => return Err(ConfigError::HalfTls),
    };
    let http_hosts = if flags.http_host.is_empty() {
        file.http_host.unwrap_or_default()
    } else {
        flags.http_host.clone()
    };
    Ok(Config {
        store,
        http: flags.http.or(file.http).unwrap_or(defaults.http),
        control: flags.control.or(file.control).unwrap_or(defaults.control),
        relay: flags.relay.or(file.relay).unwrap_or(defaults.relay),
        advertise,
        insecure_http: flags.insecure_http || file.insecure_http.unwrap_or(false),
        tls,
        http_hosts,
        oidc: file.oidc,
        audit_keep: flags.audit_keep.or(file.audit_keep),
        secret_key_file: flags.secret_key_file.clone().or(file.secret_key_file),
        ..defaults
    })
}
