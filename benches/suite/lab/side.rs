//! One of the two hosts: a network namespace, a directory, and what runs there.

use std::{
    cell::{Cell, Ref, RefCell},
    ffi::OsString,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
    rc::Rc,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use super::{PREFIX, Settings, ip, leftovers::remove_namespace};
use crate::{
    plan::{Offloads, Placement, Variant},
    process::{Interrupt, Process},
};

/// Nothing that a peer does to come up takes this long.
const SOON: Duration = Duration::from_secs(20);

/// One host.
#[derive(Debug)]
pub struct Side {
    /// `a` or `b`.
    pub letter: char,
    /// 1 or 2, the last number of all its addresses.
    pub number: u8,
    /// A directory of its own; commands run there.
    pub dir: PathBuf,
    pub(super) namespace: String,
    core: Option<usize>,
    path: OsString,
    daemons: RefCell<Vec<Process>>,
    bystanders: RefCell<Vec<Process>>,
    runs: Cell<usize>,
    started: RefCell<Vec<String>>,
    transcript: Rc<RefCell<Vec<String>>>,
    interrupt: Interrupt,
    _dir: TempDir,
}

impl Side {
    pub(super) fn new(
        settings: &Settings,
        variant: Variant,
        needs: &[&str],
        letter: char,
        number: u8,
        transcript: &Rc<RefCell<Vec<String>>>,
    ) -> Result<Self> {
        let namespace = format!("{PREFIX}-{}-{letter}", std::process::id());
        let dir = tempfile::Builder::new()
            .prefix(&format!("{namespace}-"))
            .tempdir()?;
        let folders = needs
            .iter()
            .map(|peer| settings.peers.join(peer).join("bin"));
        let own = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(
            [settings.binaries.clone()]
                .into_iter()
                .chain(folders)
                .chain(std::env::split_paths(&own))
                .chain(["/usr/sbin".into(), "/sbin".into()]),
        )
        .context("Failed to make a PATH")?;
        let side = Self {
            letter,
            number,
            dir: dir.path().to_owned(),
            namespace,
            core: match variant.placement {
                Placement::Free => None,
                Placement::Pinned => Some(usize::from(number) - 1),
            },
            path,
            daemons: RefCell::default(),
            bystanders: RefCell::default(),
            runs: Cell::default(),
            started: RefCell::default(),
            transcript: Rc::clone(transcript),
            interrupt: settings.interrupt.clone(),
            _dir: dir,
        };
        ip(&["netns", "add", &side.namespace])?;
        Ok(side)
    }

    pub(super) fn set_up(&self) -> Result<()> {
        self.run(&format!(
            "ip link set lo up && ip addr add {}/24 dev eth0 && ip link set eth0 up",
            self.underlay()
        ))?;
        Ok(())
    }

    /// Its address under the overlay.
    #[must_use]
    pub fn underlay(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 200, 0, self.number)
    }

    /// The other side's address under the overlay.
    #[must_use]
    pub fn remote_underlay(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 200, 0, 3 - self.number)
    }

    /// A name for an interface that no other suite on this machine uses, for daemons that leave sockets named after it
    /// where all namespaces see them.
    #[must_use]
    pub fn unique_device(&self) -> String {
        format!("{PREFIX}{}{}", std::process::id(), self.letter)
    }

    /// Runs a shell command to its successful end and gives what it printed.
    ///
    /// # Errors
    /// When it fails.
    pub fn run(&self, script: &str) -> Result<String> {
        self.note(script);
        self.quietly(script)
    }

    /// The same for what is no part of the set-up of a peer.
    ///
    /// # Errors
    /// When it fails.
    pub fn quietly(&self, script: &str) -> Result<String> {
        self.start(script)?
            .finish(SOON, &self.interrupt)
            .with_context(|| format!("on side {}: {script}", self.letter))
    }

    /// Starts a shell command; its caller holds the process.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, script: &str) -> Result<Process> {
        let number = self.runs.replace(self.runs.get() + 1);
        self.started
            .borrow_mut()
            .push(format!("{}: {script}", self.letter));
        let word = script
            .trim_start_matches("exec ")
            .split([' ', '/'])
            .find(|word| !word.is_empty())
            .unwrap_or("sh");
        Process::spawn(
            &format!("{word}-{number}"),
            &mut self.command(script),
            &self.dir,
        )
    }

    /// Starts a daemon of the peer: a program in the foreground, whose CPU time and memory count.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn daemon(&self, command: &str) -> Result<()> {
        self.note(&format!("{command} &"));
        let process = self.start(&format!("exec {command}"))?;
        self.daemons.borrow_mut().push(process);
        Ok(())
    }

    /// Starts a process that serves the peer without carrying its packets, and counts for nothing.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn bystander(&self, command: &str) -> Result<()> {
        self.note(&format!("{command} &"));
        let process = self.start(&format!("exec {command}"))?;
        self.bystanders.borrow_mut().push(process);
        Ok(())
    }

    /// Every shell command that was started here since the last call.
    pub fn take_started(&self) -> Vec<String> {
        self.started.take()
    }

    /// The daemons of the peer on this side.
    pub fn daemons(&self) -> Ref<'_, Vec<Process>> {
        self.daemons.borrow()
    }

    /// Ends the daemons of the peer on this side.
    pub fn end_daemons(&self) {
        self.daemons.take();
    }

    /// Waits until a shell command succeeds.
    ///
    /// # Errors
    /// When it does not, or when a daemon ends by itself.
    pub fn wait_until(&self, script: &str) -> Result<()> {
        self.note(&format!("until {script}; do sleep 0.005; done"));
        let mut waiting = self.start(&format!("until {script}; do sleep 0.005; done"))?;
        waiting
            .wait(SOON, &self.interrupt, || {
                for daemon in self.daemons.borrow_mut().iter_mut() {
                    let ended = daemon.ended()?;
                    ensure!(
                        ended.is_none(),
                        "{} ended by itself: {}",
                        daemon.name(),
                        daemon.last_words()
                    );
                }
                Ok(())
            })
            .with_context(|| format!("on side {}: {script}", self.letter))?;
        Ok(())
    }

    /// Waits until there is an interface of that name.
    ///
    /// # Errors
    /// When there is none in time.
    pub fn wait_for_device(&self, device: &str) -> Result<()> {
        self.wait_until(&format!("ip link show {device}"))
    }

    /// The MTU of an interface.
    ///
    /// # Errors
    /// When there is no such interface.
    pub fn mtu(&self, device: &str) -> Result<u64> {
        let links: Value =
            serde_json::from_str(&self.quietly(&format!("ip -j link show dev {device}"))?)?;
        links
            .pointer("/0/mtu")
            .and_then(Value::as_u64)
            .context("ip tells no MTU")
    }

    /// Writes a file into the side's directory.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&self, file: &str, content: &str) -> Result<()> {
        let path = self.dir.join(file);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
        fs::write(&path, content).with_context(|| format!("Failed to write {file}"))?;
        self.note(&format!("cat >{file} <<'EOF'\n{}\nEOF", content.trim_end()));
        Ok(())
    }

    /// Applies the offloads of the variant to the veth.
    ///
    /// # Errors
    /// When ethtool refuses.
    pub fn apply_offloads(&self, offloads: Offloads) -> Result<()> {
        match offloads {
            Offloads::AsCreated => Ok(()),
            Offloads::Off => self
                .quietly("ethtool -K eth0 tso off gso off gro off tx-udp-segmentation off")
                .map(drop),
        }
    }

    /// Copies files of the other side's directory into this one's.
    ///
    /// # Errors
    /// When there are no such files.
    pub fn copy_from(&self, other: &Self, files: &str) -> Result<()> {
        for file in files.split(' ') {
            if self.letter != other.letter {
                fs::copy(other.dir.join(file), self.dir.join(file))
                    .with_context(|| format!("Failed to copy {file}"))?;
            }
        }
        self.note(&format!("(takes {files} from {})", other.letter));
        Ok(())
    }

    /// Where the machine keeps the lab and the suite's own program is nobody's business.
    fn note(&self, script: &str) {
        let mut told = script.replace(&*self.dir.to_string_lossy(), ".");
        if let Ok(suite) = std::env::current_exe()
            && let Some(folder) = suite.parent()
        {
            told = told.replace(&format!("{}/", folder.display()), "");
        }
        let letter = self.letter;
        self.transcript
            .borrow_mut()
            .push(format!("{letter}: {told}"));
    }

    fn command(&self, script: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.args([
            "--pdeathsig",
            "KILL",
            "ip",
            "netns",
            "exec",
            &self.namespace,
        ]);
        if let Some(core) = self.core {
            command.args(["taskset", "--cpu-list", &core.to_string()]);
        }
        command
            .args(["sh", "-c", script])
            .current_dir(&self.dir)
            .env("PATH", &self.path)
            .env("LC_ALL", "C");
        command
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        self.end_daemons();
        self.bystanders.take();
        remove_namespace(&self.namespace);
    }
}
