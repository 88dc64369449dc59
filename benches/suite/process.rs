//! Processes that the suite starts, and nothing else: each one is ended by whoever holds it, and by the kernel should the
//! suite itself be killed (parent-death signal). Each has a process group of its own, so that ctrl-c in a terminal
//! reaches the suite alone, which then takes everything down in order.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open},
};

/// How often something awaited is looked at.
const POLL: Duration = Duration::from_millis(5);
/// How often a wait for a process looks at anything else. Rarely: the suite must not disturb what it measures.
const LOOK_ROUND: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};
/// What a daemon gets to end by itself, and to remove its sockets.
const GRACE: Duration = Duration::from_millis(700);

/// Set once the user wants the suite to stop.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Becomes set with the first SIGINT or SIGTERM.
    ///
    /// # Errors
    /// When the kernel refuses the signal handlers.
    pub fn on_signals() -> Result<Self> {
        let interrupt = Self::default();
        for signal in [
            signal_hook::consts::SIGINT,
            signal_hook::consts::SIGTERM,
            signal_hook::consts::SIGHUP,
        ] {
            signal_hook::flag::register(signal, Arc::clone(&interrupt.0))
                .context("Failed to handle signals")?;
        }
        Ok(interrupt)
    }

    /// Whether it is set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits until `look` gives something.
    ///
    /// # Errors
    /// When `deadline` passes first, or the user interrupts.
    pub fn wait_for<T>(
        &self,
        what: &str,
        deadline: Duration,
        mut look: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let start = Instant::now();
        loop {
            if let Some(found) = look()? {
                return Ok(found);
            }
            ensure!(!self.is_set(), "interrupted");
            ensure!(
                start.elapsed() < deadline,
                "waited {deadline:?} in vain for {what}"
            );
            thread::sleep(POLL);
        }
    }

    /// Lets time pass, at most until the user interrupts.
    pub fn pause(&self, time: Duration) {
        let start = Instant::now();
        while start.elapsed() < time && !self.is_set() {
            thread::sleep(POLL);
        }
    }
}

/// A running process, with its output in files.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    out: PathBuf,
    err: PathBuf,
}

impl Process {
    /// Starts a command; `name` names its output files in `dir`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(name: &str, command: &mut Command, dir: &Path) -> Result<Self> {
        let out = dir.join(format!("{name}.out"));
        let err = dir.join(format!("{name}.err"));
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(&out)?)
            .stderr(File::create(&err)?)
            .process_group(0)
            .spawn()
            .with_context(|| format!("Failed to start {name}"))?;
        Ok(Self {
            child,
            name: name.to_owned(),
            out,
            err,
        })
    }

    /// What it was called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Standard output so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        read(&self.out)
    }

    /// Standard error so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        read(&self.err)
    }

    /// The last lines it printed, for messages about failures.
    #[must_use]
    pub fn last_words(&self) -> String {
        let said = self.stdout() + &self.stderr();
        let lines: Vec<_> = said.lines().filter(|line| !line.is_empty()).collect();
        lines[lines.len().saturating_sub(4)..].join(" | ")
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// When the kernel does not know it.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context("Failed to look at a child")
    }

    /// Waits for the end, and meanwhile for `watch` to object.
    ///
    /// # Errors
    /// When it does not end in time, the user interrupts, or `watch` objects.
    pub fn wait(
        &mut self,
        deadline: Duration,
        interrupt: &Interrupt,
        mut watch: impl FnMut() -> Result<()>,
    ) -> Result<ExitStatus> {
        let pidfd = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty())?;
        let start = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            ensure!(!interrupt.is_set(), "interrupted");
            ensure!(
                start.elapsed() < deadline,
                "waited {deadline:?} in vain for {} to end: {}",
                self.name,
                self.last_words()
            );
            watch()?;
            // A signal ends the wait early, which is what it is for.
            let _ = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&LOOK_ROUND));
        }
    }

    /// Waits for a successful end and gives standard output.
    ///
    /// # Errors
    /// When it fails, does not end in time, or the user interrupts.
    pub fn finish(mut self, deadline: Duration, interrupt: &Interrupt) -> Result<String> {
        let status = self.wait(deadline, interrupt, || Ok(()))?;
        if !status.success() {
            bail!("{}: {status}: {}", self.name, self.last_words());
        }
        Ok(self.stdout())
    }

    /// CPU time of its threads, to the nanosecond: `/proc/PID/stat` counts in steps of 10 ms, which is much of what a
    /// good daemon uses in a second. Threads that have ended do not count.
    ///
    /// # Errors
    /// When it is gone.
    pub fn cpu(&self) -> Result<Duration> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.id()))
            .with_context(|| format!("{} ended by itself: {}", self.name, self.last_words()))?;
        let nanoseconds = threads
            .flatten()
            // Whoever ends just now is gone.
            .filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok())
            .filter_map(|schedstat| schedstat.split(' ').next()?.parse::<u64>().ok())
            .sum();
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// Resident memory in MiB.
    ///
    /// # Errors
    /// When it is gone.
    pub fn resident_mib(&self) -> Result<f64> {
        self.proc("status")?
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<f64>().ok())
            .map(|kib| kib / 1024.0)
            .with_context(|| format!("{} has no memory any more", self.name))
    }

    fn proc(&self, file: &str) -> Result<String> {
        fs::read_to_string(format!("/proc/{}/{file}", self.id()))
            .with_context(|| format!("{} ended by itself: {}", self.name, self.last_words()))
    }

    fn signal(&self, signal: Signal) {
        // Whoever has ended already needs none.
        let _ = kill_process_group(Pid::from_child(&self.child), signal);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let is_running = |child: &mut Child| matches!(child.try_wait(), Ok(None));
        if is_running(&mut self.child) {
            self.signal(Signal::TERM);
            let start = Instant::now();
            while is_running(&mut self.child) && start.elapsed() < GRACE {
                thread::sleep(POLL);
            }
        }
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }
}

fn read(path: &Path) -> String {
    fs::read(path).map_or_else(
        |_| String::new(),
        |bytes| String::from_utf8_lossy(&bytes).into_owned(),
    )
}
