//! A PostgreSQL server for tests: in a temporary directory, as an unprivileged user, gone with the value. It listens on a
//! UNIX socket and, in a lab, on a host of its own.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    netns::Host,
    process::{Said, announce, wait_for},
};

/// The one user of the server.
const USER: &str = "tombolo";
/// Whom root starts it as: the server refuses to run as root.
const UNPRIVILEGED: &str = "nobody";
/// Far more than the second that it takes.
const DEADLINE: Duration = Duration::from_secs(60);

/// A server with its data.
#[derive(Debug)]
pub struct Postgres {
    programs: PathBuf,
    directory: PathBuf,
    /// Where it is, if that is a host of a lab.
    host: Option<Host>,
    server: Mutex<Option<Child>>,
    databases: AtomicU32,
}

impl Postgres {
    /// A server that tests of one program share: it lives as long as somebody holds it. None, and said loudly, if
    /// PostgreSQL is not installed.
    ///
    /// # Panics
    /// When it is missing while `CI` is set, or does not start.
    #[must_use]
    pub fn shared() -> Option<Arc<Self>> {
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
    ///
    /// # Panics
    /// As [`Self::shared`].
    #[must_use]
    pub fn start() -> Option<Self> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "tombolo-postgres-{}-{}",
            std::process::id(),
            STARTED.fetch_add(1, Ordering::Relaxed)
        );
        Self::start_in(std::env::temp_dir().join(name), None)
    }

    /// A server of one's own that listens at a lab's host.
    ///
    /// # Panics
    /// As [`Self::shared`].
    #[must_use]
    pub fn start_on(host: Host) -> Option<Self> {
        Self::start_in(host.dir.join("postgres"), Some(host))
    }

    fn start_in(directory: PathBuf, host: Option<Host>) -> Option<Self> {
        let Some(programs) = programs() else {
            let complaint = "NOT TESTED: PostgreSQL is not installed (package postgresql)";
            assert!(std::env::var_os("CI").is_none(), "{complaint}");
            announce(complaint);
            return None;
        };
        fs::create_dir(&directory).expect("a temporary directory");
        let postgres = Self {
            programs,
            directory,
            host,
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
        let mut access = File::options()
            .append(true)
            .open(self.data().join("pg_hba.conf"))
            .expect("initdb writes it");
        writeln!(access, "host all all 0.0.0.0/0 trust").expect("the directory is writable");
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// A program of PostgreSQL's, which ends when this thread does.
    fn command(&self, program: &str, farewell: &str) -> Command {
        let mut command = match &self.host {
            Some(host) => host.namespace.command("setpriv"),
            None => Command::new("setpriv"),
        };
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
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&self) {
        wait_for("PostgreSQL to answer", DEADLINE, || {
            self.spawn_unless_running();
            self.answers().then_some(())
        });
    }

    /// A server refuses to start until the last process of a killed one has let go of the shared memory.
    fn spawn_unless_running(&self) {
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        let is_running = server
            .as_mut()
            .is_some_and(|server| matches!(server.try_wait(), Ok(None)));
        if !is_running {
            *server = Some(self.spawn());
        }
    }

    fn spawn(&self) -> Child {
        let log = File::create(self.directory.join("log")).expect("a log file");
        let address = self.host.as_ref().map(|host| host.v4.to_string());
        let listen = format!("listen_addresses={}", address.unwrap_or_default());
        let mut command = self.command("postgres", "INT");
        command
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(&self.directory)
            .args(["-c", &listen, "-c", "max_connections=200"])
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
        told.recv()
            .expect("the thread tells")
            .expect("PostgreSQL runs")
    }

    fn answers(&self) -> bool {
        let mut probe = self.command("pg_isready", "TERM");
        let answer = probe.arg("-h").arg(&self.directory).output();
        answer.is_ok_and(|output| output.status.success())
    }

    /// The host that it runs on, if that is one of a lab.
    #[must_use]
    pub const fn host(&self) -> Option<&Host> {
        self.host.as_ref()
    }

    /// Kills the server with all its processes, as a crash would.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
        let server = self
            .server
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(mut server) = server {
            let _ = server.wait();
        }
    }

    /// Stops all its processes where they are: connections stay, and nobody answers.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on after [`Self::pause`].
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// The server first, so that it makes no new children meanwhile.
    fn signal(&self, signal: Signal) {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(parent) = server.as_ref().map(Pid::from_child) else {
            return;
        };
        let children = children_of(parent);
        for process in [parent].into_iter().chain(children) {
            // A child may have ended by itself.
            let _ = kill_process(process, signal);
        }
    }

    /// An empty database: its URL.
    #[must_use]
    pub fn database(&self) -> String {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        run(self
            .command("createdb", "TERM")
            .arg("-h")
            .arg(&self.directory)
            .args(["-U", USER, &name]));
        match &self.host {
            Some(host) => format!("postgres://{USER}@{}/{name}", host.v4),
            None => format!(
                "postgres://{USER}@localhost/{name}?host={}",
                self.directory.display()
            ),
        }
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

fn children_of(parent: Pid) -> Vec<Pid> {
    let parent = parent.as_raw_nonzero().to_string();
    let listed = Said::by(Command::new("ps").args(["-o", "pid=", "--ppid", &parent]));
    let numbers = listed.stdout.split_whitespace();
    numbers
        .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
        .collect()
}

fn run(command: &mut Command) {
    let said = Said::by(command);
    assert!(said.code == 0, "{command:?}: {said:?}");
}
