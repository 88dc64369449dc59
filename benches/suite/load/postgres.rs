//! A PostgreSQL server for one run: in a temporary directory, on a UNIX socket, as durable as it comes.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::process::{Interrupt, Process};

/// The one user of the server.
const USER: &str = "tombolo";
/// Whom root starts it as: the server refuses to run as root.
const UNPRIVILEGED: &str = "nobody";
/// It takes a second.
const START: Duration = Duration::from_secs(60);

/// A running server.
#[derive(Debug)]
pub(crate) struct Postgres {
    dir: PathBuf,
    _server: Process,
}

impl Postgres {
    /// Starts a server with one database.
    pub(crate) fn start(parent: &Path, interrupt: &Interrupt) -> Result<Self> {
        let programs = programs().context("PostgreSQL is not installed (package postgresql)")?;
        let dir = parent.join("postgres");
        fs::create_dir(&dir)?;
        if rustix::process::geteuid().is_root() {
            // It has to get there.
            fs::set_permissions(parent, fs::Permissions::from_mode(0o711))?;
            run(Command::new("chown").arg(UNPRIVILEGED).arg(&dir))?;
        }
        let program = |name: &str| {
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "INT"]);
            if rustix::process::geteuid().is_root() {
                command.args(["--reuid", UNPRIVILEGED, "--regid", "nogroup"]);
                command.arg("--clear-groups");
            }
            command.arg(programs.join(name)).current_dir(&dir);
            command
        };
        run(program("initdb").arg("-D").arg(dir.join("data")).args([
            "-A",
            "trust",
            "-U",
            USER,
            "-E",
            "UTF8",
            "--locale=C",
        ]))?;
        let server = Process::spawn(
            "postgres",
            program("postgres")
                .arg("-D")
                .arg(dir.join("data"))
                .arg("-k")
                .arg(&dir)
                .args(["-c", "listen_addresses="]),
            parent,
        )?;
        interrupt.wait_for("PostgreSQL to answer", START, || {
            let answer = program("pg_isready").arg("-h").arg(&dir).output()?;
            Ok(answer.status.success().then_some(()))
        })?;
        run(program("createdb")
            .arg("-h")
            .arg(&dir)
            .args(["-U", USER, "tombolo"]))?;
        Ok(Self {
            dir,
            _server: server,
        })
    }

    /// What controllers connect to.
    pub(crate) fn url(&self) -> String {
        format!(
            "postgres://{USER}@localhost/tombolo?host={}",
            self.dir.display()
        )
    }

    /// Where its tables are.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.join("data/base")
    }
}

/// Where the programs of the newest PostgreSQL are.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    versions
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version: u32 = path.file_name()?.to_str()?.parse().ok()?;
            let programs = path.join("bin");
            programs
                .join("initdb")
                .exists()
                .then_some((version, programs))
        })
        .max()
        .map(|(_, programs)| programs)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("Failed to start {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
