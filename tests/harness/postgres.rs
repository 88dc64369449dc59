//! A PostgreSQL server for tests: in a temporary directory, as an unprivileged user, on a UNIX socket, gone with the value.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// The one user of the server.
const USER: &str = "tombolo";
/// Whom root starts it as: the server refuses to run as root.
const UNPRIVILEGED: &str = "nobody";
/// Far more than the second that it takes.
const DEADLINE: Duration = Duration::from_secs(60);

/// A server with its data.
#[derive(Debug)]
pub(crate) struct Postgres {
    programs: PathBuf,
    directory: PathBuf,
    server: Mutex<Option<Child>>,
    databases: AtomicU32,
}

impl Postgres {
    /// A server that tests of one program share: it lives as long as somebody holds it. None, and said loudly, if
    /// PostgreSQL is not installed.
    pub(crate) fn shared() -> Option<Arc<Self>> {
        static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return Some(running);
        }
        let fresh = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&fresh);
        Some(fresh)
    }

    /// A server of one's own, to be killed.
    pub(crate) fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            let complaint = "NOT TESTED: PostgreSQL is not installed (package postgresql)";
            assert!(std::env::var_os("CI").is_none(), "{complaint}");
            // Past the capture of the test runner.
            let _ = writeln!(std::io::stdout().lock(), "{complaint}");
            return None;
        };
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "tombolo-postgres-{}-{}",
            std::process::id(),
            STARTED.fetch_add(1, Ordering::Relaxed)
        );
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory).expect("a temporary directory");
        let postgres = Self {
            programs,
            directory,
            server: Mutex::new(None),
            databases: AtomicU32::new(0),
        };
        postgres.initialise();
        postgres.start_again();
        Some(postgres)
    }

    fn initialise(&self) {
        if rustix::process::geteuid().is_root() {
            run(Command::new("chown").arg(UNPRIVILEGED).arg(&self.directory));
        }
        run(self
            .command("initdb", "TERM")
            .arg("-D")
            .arg(self.data())
            .args(["-A", "trust", "-U", USER, "--no-sync", "-E", "UTF8"])
            .args(["--locale=C"]));
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// A program of PostgreSQL's, which ends when this thread does.
    fn command(&self, program: &str, farewell: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.arg("--pdeathsig").arg(farewell);
        if rustix::process::geteuid().is_root() {
            command.args(["--reuid", UNPRIVILEGED, "--regid", "nogroup"]);
            command.arg("--clear-groups");
        }
        command.arg(self.programs.join(program));
        command.current_dir(&self.directory);
        command
    }

    /// Starts the server after [`Self::kill`], with the data that it had.
    pub(crate) fn start_again(&self) {
        let log = fs::File::create(self.directory.join("log")).expect("a log file");
        let mut command = self.command("postgres", "INT");
        command
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(&self.directory)
            .args(["-c", "listen_addresses=", "-c", "max_connections=200"])
            // A killed process loses nothing that it wrote; only a dead machine would.
            .args(["-c", "fsync=off", "-c", "shared_buffers=16MB"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        // The parent-death signal is the death of the thread, so the thread has to outlive the test.
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let _ = tell.send(command.spawn());
            loop {
                std::thread::park();
            }
        });
        let child = told
            .recv()
            .expect("the thread tells")
            .expect("PostgreSQL runs");
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
        let started = Instant::now();
        while !self.answers() {
            assert!(started.elapsed() < DEADLINE, "PostgreSQL does not answer");
            std::thread::yield_now();
        }
    }

    fn answers(&self) -> bool {
        let mut probe = self.command("pg_isready", "TERM");
        let answer = probe.arg("-h").arg(&self.directory).output();
        answer.is_ok_and(|output| output.status.success())
    }

    /// Kills the server as a crash would.
    pub(crate) fn kill(&self) {
        let server = self
            .server
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(mut server) = server {
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    /// An empty database: its URL.
    pub(crate) fn database(&self) -> String {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        run(self
            .command("createdb", "TERM")
            .arg("-h")
            .arg(&self.directory)
            .args(["-U", USER, &name]));
        format!(
            "postgres://{USER}@localhost/{name}?host={}",
            self.directory.display()
        )
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let server = self
            .server
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(mut server) = server {
            // Quit at once, without a checkpoint; the server takes its children with it.
            let _ = kill_process(Pid::from_child(&server), Signal::QUIT);
            let _ = server.wait();
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Where the programs of the newest PostgreSQL are.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version = path.file_name()?.to_str()?.parse().ok()?;
            let programs = path.join("bin");
            is_there(&programs).then_some((version, programs))
        })
        .collect();
    found.sort_unstable();
    found.pop().map(|(_, programs)| programs)
}

fn is_there(programs: &Path) -> bool {
    programs.join("postgres").exists() && programs.join("initdb").exists()
}

fn run(command: &mut Command) {
    let output = command.output().expect("the program runs");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
