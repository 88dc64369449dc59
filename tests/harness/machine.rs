//! A host that is a machine of its own: besides its network it has its own mounts, processes, name and IPC, so that a
//! daemon with fixed paths (`/run/docker.sock`, `/var/lib/docker`, `/etc/docker`) can run on many hosts at once.
//!
//! Its process 1 ends with the test program, and with process 1 the kernel ends everything else in the machine: daemons,
//! containers, mounts. Only control groups are left, and those are removed by name.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::process::{Process, wait_for};

const CGROUPS: &str = "/sys/fs/cgroup";
const PATH: &str = "PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin";
const BOOTED: &str = "booted";

/// What process 1 does: `$1` is the machine's name, `$2` its directory outside. A `/sys` of the machine's own network,
/// with the control groups of the one before; private `/run`, `/etc` and `/var/lib`, of which none shows what the real
/// machine has there of Docker and Tombolo.
const BOOT: &str = r#"
hostname "$1"
mount --make-rprivate /
mkdir "$2/cgroup"
mount --rbind /sys/fs/cgroup "$2/cgroup"
mount -t sysfs sysfs /sys
mount --rbind "$2/cgroup" /sys/fs/cgroup
umount -l "$2/cgroup"
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/netns
for place in /etc /var/lib; do
    mkdir -p "/run/private$place/upper" "/run/private$place/work"
    mount -t overlay -o "lowerdir=$place,upperdir=/run/private$place/upper,workdir=/run/private$place/work" overlay "$place"
done
rm -rf /etc/docker /etc/tombolo
mkdir -p /etc/docker /var/lib/docker /var/lib/tombolo "$2/docker" "$2/tombolo"
mount --bind "$2/docker" /var/lib/docker
mount --bind "$2/tombolo" /var/lib/tombolo
touch "$2/booted"
exec docker-init -s -- sleep infinity
"#;

/// A running machine.
#[derive(Debug)]
pub struct Machine {
    name: String,
    init: Process,
}

impl Machine {
    /// Boots a machine on a network namespace that exists.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[must_use]
    #[track_caller]
    pub fn boot(namespace: &str, hostname: &str, dir: &Path) -> Arc<Self> {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{namespace}"))
            .args(["setpriv", "--pdeathsig", "KILL"])
            .args(["unshare", "--mount", "--pid", "--uts", "--ipc"])
            .args(["--fork", "--kill-child", "--mount-proc"])
            .args(["sh", "-ec", BOOT, "init", hostname])
            .arg(dir);
        let log = dir.join("boot.log");
        let mut init = Process::spawn(&format!("machine {hostname}"), &mut command, &log);
        wait_for("the machine to boot", Duration::from_secs(15), || {
            if let Some(status) = init.ended() {
                panic!("machine {hostname} does not boot: {status}: {}", init.log());
            }
            dir.join(BOOTED).exists().then_some(())
        });
        Arc::new(Self {
            name: namespace.to_owned(),
            init,
        })
    }

    /// The control group under which the machine's containers are to be.
    #[must_use]
    pub fn cgroup(&self) -> String {
        format!("/{}", self.name)
    }

    /// A command that will run in the machine.
    #[must_use]
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--target={}", self.init.pid().as_raw_pid()))
            .args(["--mount", "--net", "--pid", "--uts", "--ipc", "--wd=/"])
            .args(["setpriv", "--pdeathsig", "KILL", "env", PATH])
            .arg(program.as_ref());
        command
    }

    /// Where the machine's file system is seen from outside.
    #[must_use]
    pub fn root(&self) -> std::path::PathBuf {
        format!("/proc/{}/root", self.init.pid().as_raw_pid()).into()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.init.kill();
        remove_cgroups(&self.name);
    }
}

/// Removes the control groups that a machine left behind, in every hierarchy. The kernel may need a moment until the last
/// process has left them.
pub(crate) fn remove_cgroups(name: &str) {
    let start = Instant::now();
    loop {
        let hierarchies = fs::read_dir(CGROUPS).into_iter().flatten().flatten();
        let left: Vec<_> = hierarchies
            .map(|entry| entry.path().join(name))
            .chain([Path::new(CGROUPS).join(name)])
            .filter(|group| group.is_dir())
            .collect();
        for group in &left {
            remove_group(group);
        }
        if left.is_empty() || start.elapsed() > Duration::from_secs(5) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn remove_group(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove_group(&entry.path());
        }
    }
    // The files of a control group go with it.
    let _ = fs::remove_dir(group);
}
