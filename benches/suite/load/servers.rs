//! What is measured: real controllers, and the store that they share.

use std::{
    fs,
    net::{TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tempfile::TempDir;
use tombolo_proto::link::{HostPort, JoinLink};

use super::{api::Api, plan::StoreKind, postgres::Postgres};
use crate::process::{Interrupt, Process};

/// A seed whose identity has an authority address: the search for one is not what is measured.
const AUTHORITY_SEED: [u8; 32] = [31; 32];
/// A controller starts in a second.
const START: Duration = Duration::from_secs(60);
/// Enough for every member, and for those that are removed.
const TOKEN_USES: u32 = 50_000;

/// One running controller.
#[derive(Debug)]
pub(crate) struct Controller {
    pub(crate) api: Api,
    pub(crate) control: HostPort,
    process: Process,
}

/// All controllers of one authority, with their store. Fields are dropped in order: the store goes last.
#[derive(Debug)]
pub(crate) struct Servers {
    pub(crate) kind: StoreKind,
    pub(crate) controllers: Vec<Controller>,
    store: PathBuf,
    empty_store: u64,
    _postgres: Option<Postgres>,
    _dir: TempDir,
}

impl Servers {
    /// Starts everything, in a temporary directory.
    pub(crate) fn start(kind: StoreKind, binaries: &Path, interrupt: &Interrupt) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("tombolo-load-").tempdir()?;
        let (postgres, url, store) = match kind {
            StoreKind::Sqlite => {
                let store = dir.path().join("store");
                fs::create_dir(&store)?;
                let url = format!("sqlite:{}", store.join("store.sqlite").display());
                (None, url, store)
            }
            StoreKind::Postgres => {
                let postgres = Postgres::start(dir.path(), interrupt)?;
                let (url, store) = (postgres.url(), postgres.data());
                (Some(postgres), url, store)
            }
        };
        let first = dir.path().join("controller-0");
        fs::create_dir(&first)?;
        fs::write(first.join("authority.key"), AUTHORITY_SEED)?;
        let mut controllers = Vec::new();
        for number in 0..kind.replicas() {
            let state = dir.path().join(format!("controller-{number}"));
            let token = first.join("admin.token");
            let started = Controller::start(binaries, &state, &token, &url, interrupt)?;
            if number > 0 {
                admit_all(binaries, &first, &controllers)?;
            }
            interrupt.wait_for("a controller to be ready", START, || {
                Ok((started.api.status("/readyz") == Some(200)).then_some(()))
            })?;
            controllers.push(started);
        }
        Ok(Self {
            kind,
            controllers,
            empty_store: size(&store),
            store,
            _postgres: postgres,
            _dir: dir,
        })
    }

    /// Makes a network with room for everybody: its join link, with a token.
    pub(crate) fn network(&self) -> Result<JoinLink> {
        let api = &self.controllers[0].api;
        let network = api.post("/networks", &json!({"name": "load", "v4": "172.27.0.0/16"}))?;
        let id = network["id"].as_str().context("a network has an id")?;
        let token = api.post(
            &format!("/networks/{id}/join-tokens"),
            &json!({"uses": TOKEN_USES, "expires_in": 24 * 3600}),
        )?;
        let link = token["join_link"]
            .as_str()
            .context("a token comes as a link")?;
        Ok(link.parse()?)
    }

    /// CPU time of all controllers, in seconds.
    pub(crate) fn cpu(&self) -> Result<f64> {
        self.sum(|process| Ok(process.cpu()?.as_secs_f64()))
    }

    /// Resident memory of all controllers, in MiB.
    pub(crate) fn memory_mib(&self) -> Result<f64> {
        self.sum(Process::resident_mib)
    }

    /// What the network takes in the store, in MiB.
    pub(crate) fn store_mib(&self) -> f64 {
        size(&self.store).saturating_sub(self.empty_store) as f64 / f64::from(1 << 20)
    }

    fn sum(&self, look: impl Fn(&Process) -> Result<f64>) -> Result<f64> {
        self.controllers
            .iter()
            .map(|controller| look(&controller.process))
            .sum()
    }
}

impl Controller {
    fn start(
        binaries: &Path,
        state: &Path,
        token: &Path,
        store: &str,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        fs::create_dir_all(state)?;
        let http = format!("127.0.0.1:{}", free_tcp_port()?);
        let control = format!("127.0.0.1:{}", free_udp_port()?);
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "TERM"])
            .arg(binaries.join("controller"))
            .args(["serve", "--store", store, "--http", &http])
            .args(["--control", &control, "--advertise", &control])
            .args(["--relay", &format!("127.0.0.1:{}", free_udp_port()?)])
            .arg("--state-dir")
            .arg(state)
            .arg("--config")
            .arg("/dev/null");
        let mut process = Process::spawn("controller", &mut command, state)?;
        let base = format!("http://{http}");
        let anybody = Api::new(&base, "");
        interrupt.wait_for("a controller to answer", START, || {
            ensure!(
                process.ended()?.is_none(),
                "a controller ended: {}",
                process.last_words()
            );
            Ok(anybody.status("/healthz").map(|_| ()))
        })?;
        let token = fs::read_to_string(token).context("the first controller writes a token")?;
        Ok(Self {
            api: Api::new(&base, token.trim()),
            control: control.parse()?,
            process,
        })
    }
}

/// Lets every controller that waits into the keyring.
fn admit_all(binaries: &Path, first: &Path, controllers: &[Controller]) -> Result<()> {
    let url = controllers[0].api.base();
    let output = Command::new(binaries.join("controller"))
        .args(["keyring", "add", "--all-pending", "--url", url])
        .arg("--state-dir")
        .arg(first)
        .output()?;
    ensure!(
        output.status.success(),
        "cannot admit a controller: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

// The port is free again when the controller takes it; nobody else asks for it meanwhile.
fn free_tcp_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn free_udp_port() -> Result<u16> {
    Ok(UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn size(path: &Path) -> u64 {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size(&entry.path()),
            Ok(metadata) => metadata.len(),
            // A file that is gone takes no room.
            Err(_) => 0,
        })
        .sum()
}
