//! Processes under test: started, watched, and never left behind.
//!
//! A [`Process`] is killed and reaped when it is dropped, also while a test panics; should the test program itself be
//! killed, the kernel kills the process (parent-death signal). What it prints goes to a file that a failing test shows.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// How often a condition is looked at. Short against every promise that is measured.
const POLL: Duration = Duration::from_millis(10);

/// Waits until `look` gives something.
///
/// # Panics
/// When `deadline` passes first; the message names what was waited for.
#[track_caller]
pub fn wait_for<T>(what: &str, deadline: Duration, look: impl FnMut() -> Option<T>) -> T {
    let Some(found) = within(deadline, look) else {
        panic!("waited {deadline:?} in vain for: {what}");
    };
    found
}

/// Waits until `look` gives exactly this text.
///
/// # Panics
/// When `deadline` passes first; the message shows the lines that differ.
#[track_caller]
pub fn wait_for_same(
    what: &str,
    deadline: Duration,
    expected: &str,
    mut look: impl FnMut() -> String,
) {
    let mut seen = String::new();
    let is_same = within(deadline, || {
        seen = look();
        (seen == expected).then_some(())
    });
    let only_in = |text: &str, other: &str| {
        let lines = text
            .lines()
            .filter(|line| !other.lines().any(|it| it == *line));
        lines.collect::<Vec<_>>().join("\n")
    };
    assert!(
        is_same.is_some(),
        "waited {deadline:?} in vain for: {what}; missing:\n{}\ntoo much:\n{}",
        only_in(expected, &seen),
        only_in(&seen, expected)
    );
}

/// What `look` gives before the deadline passes, which it is asked for at least once.
fn within<T>(deadline: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        let found = look();
        if found.is_some() || start.elapsed() >= deadline {
            return found;
        }
        thread::sleep(POLL);
    }
}

/// Prints past the capture of the test runner, so that figures and skips are seen on green runs too.
pub fn announce(line: &str) {
    let mut out = std::io::stdout().lock();
    // A closed stdout is no reason to fail a test.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Prints a measured time beside what was promised, and fails at five times the promise: a loaded machine is not a
/// broken promise, but a hang is.
///
/// # Panics
/// When the figure is above five times the promise.
#[track_caller]
pub fn figure(name: &str, measured: Duration, promise: Duration) {
    announce(&format!(
        "figure: {name} {:.2} s (promise {} s)",
        measured.as_secs_f64(),
        promise.as_secs_f64()
    ));
    assert!(
        measured < promise * 5,
        "{name}: {measured:?} is over five times the promise of {promise:?}"
    );
}

/// Prints how several measurements of one thing are distributed; gives the middle one and the worst.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn figures(name: &str, mut measured: Vec<Duration>) -> [Duration; 2] {
    measured.sort_unstable();
    let at = |share: f64| measured[((measured.len() - 1) as f64 * share).round() as usize];
    let [least, median, most, nearly_all, worst] = [0.0, 0.5, 0.9, 0.99, 1.0].map(at);
    announce(&format!(
        "figure: {name} {:.2} s (of {}: from {:.2} s, 90 % within {:.2} s, 99 % within {:.2} s, all within {:.2} s)",
        median.as_secs_f64(),
        measured.len(),
        least.as_secs_f64(),
        most.as_secs_f64(),
        nearly_all.as_secs_f64(),
        worst.as_secs_f64()
    ));
    [median, worst]
}

/// The middle one of several measurements.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn median(mut measured: Vec<Duration>) -> Duration {
    measured.sort_unstable();
    measured[measured.len() / 2]
}

/// What a finished command said.
#[derive(Debug)]
pub struct Said {
    /// Exit code; a signal counts as -1.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Said {
    /// Runs a command to its end.
    ///
    /// # Panics
    /// When it cannot be started at all.
    #[track_caller]
    pub fn by(command: &mut Command) -> Self {
        let output = command
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Standard output of a command that must succeed.
    ///
    /// # Panics
    /// When the command failed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.code == 0, "failed: {self:?}");
        self.stdout
    }

    /// Asserts the exit code, and that standard error is one line that contains every one of `words`.
    ///
    /// # Panics
    /// When any of that does not hold.
    #[track_caller]
    pub fn refused(&self, code: i32, words: &[&str]) {
        let lines: Vec<_> = self.stderr.lines().collect();
        assert_eq!(self.code, code, "exit code of {self:?}");
        assert_eq!(lines.len(), 1, "one line on stderr: {self:?}");
        for word in words {
            assert!(
                self.stderr.to_lowercase().contains(&word.to_lowercase()),
                "{word:?} is missing in {self:?}"
            );
        }
    }
}

/// A running process.
#[derive(Debug)]
pub struct Process {
    child: Child,
    wrapped: bool,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with standard output and error appended to `log`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn spawn(name: &str, command: &mut Command, log: &Path) -> Self {
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .unwrap_or_else(|error| panic!("cannot open {}: {error}", log.display()));
        let errors = file.try_clone().expect("a descriptor is left");
        let child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Self {
            child,
            wrapped: command.get_program() == "nsenter",
            name: name.to_owned(),
            log: log.to_owned(),
        }
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When the process is gone.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal)
            .unwrap_or_else(|error| panic!("cannot signal {}: {error}", self.name));
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
            return;
        }
        // An `nsenter` that forked ends with the program, and not before it.
        let _ = kill_process(self.pid(), Signal::KILL);
        let _ = self.child.wait();
    }

    /// How it ended, if it has.
    ///
    /// # Panics
    /// When the kernel does not know it.
    #[track_caller]
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our own child")
    }

    /// SIGTERM, and waits for an end without error.
    ///
    /// # Panics
    /// When it does not end so.
    #[track_caller]
    pub fn terminate(mut self) {
        self.signal(Signal::TERM);
        let status = self.wait(Duration::from_secs(15));
        assert!(
            status.success(),
            "{} on SIGTERM: {status}; it said:\n{}",
            self.name,
            self.log()
        );
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// When `deadline` passes first.
    #[track_caller]
    pub fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let what = format!("{} to end; it said:\n{}", self.name, self.log());
        wait_for(&what, deadline, || self.ended())
    }

    /// Everything it printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The process id; that of the program itself if `nsenter` had to fork to bring it into another process namespace.
    #[must_use]
    pub fn pid(&self) -> Pid {
        let child = Pid::from_child(&self.child);
        let children = format!("/proc/{child}/task/{child}/children");
        std::fs::read_to_string(children)
            .ok()
            .filter(|_| self.wrapped)
            .and_then(|pids| Pid::from_raw(pids.split_whitespace().next()?.parse().ok()?))
            .unwrap_or(child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let died_by_itself = matches!(self.child.try_wait(), Ok(Some(_)));
        self.kill();
        if thread::panicking() {
            let fate = if died_by_itself {
                " (had ended by itself)"
            } else {
                ""
            };
            let log = self.log();
            let skipped = log.lines().count().saturating_sub(60);
            let tail: Vec<_> = log.lines().skip(skipped).collect();
            announce(&format!(
                "--- {}{fate}, last lines ---\n{}",
                self.name,
                tail.join("\n")
            ));
        }
    }
}
