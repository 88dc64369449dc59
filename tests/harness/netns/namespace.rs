//! A network namespace: running things in it, and what is dropped on its way in and out.

use std::{fs::File, os::fd::AsFd as _, path::Path, process::Command, sync::Arc};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tombolo_proto::frame::RELAY;

use super::NAMESPACES;
use crate::{machine::Machine, process::Said};

/// A network namespace.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    life: Life,
}

/// What goes on in a namespace, and ends with it.
#[derive(Debug)]
enum Life {
    /// Processes, killed when it goes.
    Processes,
    /// A machine.
    Machine(Arc<Machine>),
    /// Somebody else's.
    Borrowed,
}

impl Namespace {
    pub(super) fn new(name: &str) -> Self {
        Said::by(Command::new("ip").args(["netns", "add", name])).ok();
        let namespace = Self {
            name: name.to_owned(),
            life: Life::Processes,
        };
        namespace.run("ip link set lo up");
        namespace
    }

    /// Boots a machine whose network this is.
    pub(super) fn boot(&mut self, name: &str, dir: &Path) {
        self.life = Life::Machine(Machine::boot(&self.name, name, dir));
    }

    /// A name for a network namespace that somebody else made and keeps alive, say a container's.
    ///
    /// # Panics
    /// When there is none at this path, or the name is taken.
    #[must_use]
    #[track_caller]
    pub fn borrow(name: &str, network: &Path) -> Self {
        let entry = Path::new(NAMESPACES).join(name);
        File::create_new(&entry).expect("root may name namespaces");
        Said::by(Command::new("mount").arg("--bind").arg(network).arg(&entry)).ok();
        Self {
            name: name.to_owned(),
            life: Life::Borrowed,
        }
    }

    /// Its name, as `ip netns` knows it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The machine whose network this is.
    #[must_use]
    pub const fn machine(&self) -> Option<&Arc<Machine>> {
        match &self.life {
            Life::Machine(machine) => Some(machine),
            Life::Processes | Life::Borrowed => None,
        }
    }

    /// A command that will run in here and die with the thread that starts it.
    #[must_use]
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        if let Life::Machine(machine) = &self.life {
            return machine.command(program);
        }
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.name])
            .args(["setpriv", "--pdeathsig", "KILL"])
            .arg(program.as_ref());
        command
    }

    /// Runs a command line (words split at blanks) in here and gives what it printed.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn run(&self, line: &str) -> String {
        let said = self.try_run(line);
        assert!(said.code == 0, "in {}: {line}: {said:?}", self.name);
        said.stdout
    }

    /// Runs a command line that may fail.
    #[track_caller]
    pub fn try_run(&self, line: &str) -> Said {
        let mut words = line.split_whitespace();
        let program = words.next().expect("a command line has a first word");
        // `ip` itself needs no process in the namespace, and there are many of these.
        if program == "ip" {
            return Said::by(Command::new("ip").args(["-n", &self.name]).args(words));
        }
        Said::by(self.command(program).args(words))
    }

    /// Runs a shell script in here.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn shell(&self, script: &str) -> String {
        Said::by(self.command("sh").args(["-ec", script])).ok()
    }

    /// Lets no relayed frame pass through or leave to a controller: what happens then happens without its relay.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[track_caller]
    pub fn drop_relayed_by_controllers(&self) {
        // The first byte behind the header of UDP.
        let relayed = format!("udp dport 9793 @th,64,8 {RELAY:#x} drop");
        self.shell(&format!(
            "nft add table inet relayed
             nft add chain inet relayed through '{{ type filter hook forward priority 0; }}'
             nft add chain inet relayed out '{{ type filter hook output priority 0; }}'
             nft add rule inet relayed through {relayed}
             nft add rule inet relayed out {relayed}
             nft add rule inet relayed through tcp dport 9791 drop
             nft add rule inet relayed out tcp dport 9791 drop",
        ));
    }

    /// Lets no UDP in or out, until [`Self::let_udp_through`].
    pub fn drop_udp(&self) {
        self.shell(
            "nft add table inet noudp
             nft add chain inet noudp in '{ type filter hook input priority 0; }'
             nft add chain inet noudp out '{ type filter hook output priority 0; }'
             nft add rule inet noudp in iifname != lo meta l4proto udp drop
             nft add rule inet noudp out oifname != lo meta l4proto udp drop",
        );
    }

    /// After [`Self::drop_udp`].
    pub fn let_udp_through(&self) {
        self.run("nft delete table inet noudp");
    }

    /// Runs a piece of the test in here, on a thread of its own: the sockets it makes belong to this namespace for ever.
    ///
    /// # Panics
    /// When `work` does.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let entrance = File::open(Path::new(NAMESPACES).join(&self.name)).expect("it exists");
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_link_name_space(entrance.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("root may enter");
                work()
            });
            inside.join().expect("the work does not panic")
        })
    }

    /// Sets a kernel variable of this namespace.
    ///
    /// # Panics
    /// When there is no such variable.
    #[track_caller]
    pub fn sysctl(&self, key: &str, value: u32) {
        self.run(&format!("sysctl -qw {key}={value}"));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        match self.life {
            Life::Processes | Life::Machine(_) => remove_namespace(&self.name),
            Life::Borrowed => {
                let _ = Said::by(Command::new("ip").args(["netns", "del", &self.name]));
            }
        }
    }
}

pub(super) fn remove_namespace(name: &str) {
    let pids = Said::by(Command::new("ip").args(["netns", "pids", name])).stdout;
    for pid in pids.split_whitespace() {
        let _ = Said::by(Command::new("kill").args(["-KILL", pid]));
    }
    let _ = Said::by(Command::new("ip").args(["netns", "del", name]));
}
