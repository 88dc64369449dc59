//! Everything a node keeps on disk, so that a restart needs no controller.
//!
//! ```text
//! /var/lib/tombolo/node/          0700
//!   lock                          held by the running daemon
//!   identity identity.copy        0600, the node's one secret, twice
//!   containers.0 containers.1     which Docker networks are published, and which routes were asked for
//!   networks/<network id>/
//!     settings.0 settings.1       how the network was joined: pinned key, controllers, interface, permissions
//!     directory.0 directory.1     its signed documents
//!     endpoints.0 endpoints.1     where its members were last reached
//!     announcements.0 announcements.1   what its members last said of where they are, to be passed on
//! ```
//!
//! Each pair is two generations of one file: see [`generations`].

pub mod generations;
pub mod identity;
pub mod settings;

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail};
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use tombolo_engine::membership::{Announcement, Directory};
use tombolo_proto::{
    config::EndpointAnnouncement,
    id::{NetworkId, NodeId},
    key::{IdentityKey, Seed},
    signed::Signed,
    wire,
};

use generations::Generations;
use settings::{NetworkSettings, PeerEndpoints};

/// A killed process is gone within this time, even on a busy machine.
const LOCK_WITHIN: Duration = Duration::from_secs(1);
const LOCK_RETRY: Duration = Duration::from_millis(20);

/// An open state directory. Nobody else has it open.
#[derive(Debug)]
pub struct StateDir {
    root: PathBuf,
    _lock: File,
}

impl StateDir {
    /// Opens the directory, making it if needed, and locks it.
    pub fn open(root: &Path) -> anyhow::Result<Self> {
        make_dir(root)
            .and_then(|()| make_dir(&root.join("networks")))
            .map_err(|error| explain(root, &error))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(root.join("lock"))
            .map_err(|error| explain(root, &error))?;
        match lock_soon(&lock) {
            Ok(()) => Ok(Self {
                root: root.to_owned(),
                _lock: lock,
            }),
            Err(Errno::WOULDBLOCK) => {
                bail!(
                    "the daemon is running already with {}: stop it first",
                    root.display()
                )
            }
            Err(error) => Err(explain(root, &error.into())),
        }
    }

    /// The node's identity, made on first use. It is never replaced by another.
    pub fn identity(&self, draw: impl FnMut() -> [u8; 32]) -> anyhow::Result<(Seed, NodeId)> {
        identity::load_or_make(&self.root, draw)
    }

    /// Every joined network. One that cannot be read is returned as the error that says so.
    pub fn networks(&self) -> anyhow::Result<Vec<(NetworkId, anyhow::Result<NetworkSettings>)>> {
        let mut networks = Vec::new();
        let entries = fs::read_dir(self.root.join("networks"))
            .map_err(|error| explain(&self.root, &error))?;
        for entry in entries {
            let name = entry
                .context("Failed to list the state directory")?
                .file_name();
            let Some(network) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            networks.push((network, self.network(network).settings()));
        }
        networks.sort_by_key(|(network, _)| *network);
        Ok(networks)
    }

    /// What is remembered of container networks.
    #[must_use]
    pub fn containers(&self) -> Generations {
        Generations::new(self.root.join("containers"))
    }

    /// The files of one network.
    #[must_use]
    pub fn network(&self, network: NetworkId) -> NetworkFiles {
        NetworkFiles {
            dir: self.root.join("networks").join(network.to_string()),
            network,
        }
    }
}

/// The files of one network.
#[derive(Debug, Clone)]
pub struct NetworkFiles {
    dir: PathBuf,
    network: NetworkId,
}

impl NetworkFiles {
    /// How the network was joined.
    pub fn settings(&self) -> anyhow::Result<NetworkSettings> {
        let bytes = self
            .file("settings")
            .load()
            .with_context(|| self.damaged("settings"))?;
        let bytes = bytes.with_context(|| self.damaged("settings"))?;
        serde_json::from_slice(&bytes).with_context(|| self.damaged("settings"))
    }

    /// Keeps how the network was joined.
    pub fn store_settings(&self, settings: &NetworkSettings) -> anyhow::Result<()> {
        let bytes = serde_json::to_vec_pretty(settings).context("Failed to encode the settings")?;
        make_dir(&self.dir).map_err(|error| explain(&self.dir, &error))?;
        self.file("settings")
            .store(&bytes)
            .map_err(|error| explain(&self.dir, &error))
    }

    /// The newest directory that is whole and verifies; `None` if there is none.
    #[must_use]
    pub fn directory(&self, root: IdentityKey) -> Option<Directory> {
        let whole = self.file("directory").load_all();
        whole
            .into_iter()
            .find_map(|bytes| Directory::decode(self.network, root, &bytes).ok())
    }

    /// Keeps the directory: to be called before acting on it.
    pub fn store_directory(&self, directory: &Directory) -> anyhow::Result<()> {
        self.file("directory")
            .store(&directory.encode())
            .map_err(|error| explain(&self.dir, &error))
    }

    /// Where members were last reached. It is only a hint, so a damaged file counts as none.
    #[must_use]
    pub fn endpoints(&self) -> PeerEndpoints {
        let bytes = self.file("endpoints").load().ok().flatten();
        bytes
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }

    /// Keeps where members were last reached.
    pub fn store_endpoints(&self, endpoints: &PeerEndpoints) -> anyhow::Result<()> {
        let bytes = serde_json::to_vec(endpoints).context("Failed to encode the endpoints")?;
        self.file("endpoints")
            .store(&bytes)
            .map_err(|error| explain(&self.dir, &error))
    }

    /// What members last said of where they are, as far as it verifies. A damaged file counts as none.
    #[must_use]
    pub fn announcements(&self, directory: &Directory) -> BTreeMap<IdentityKey, Announcement> {
        let bytes = self.file("announcements").load().ok().flatten();
        let stored: Vec<(IdentityKey, Signed<EndpointAnnouncement>)> = bytes
            .and_then(|bytes| wire::decode_unbounded(&bytes).ok())
            .unwrap_or_default();
        stored
            .into_iter()
            .filter_map(|(member, signed)| {
                let verified = directory.verified_announcement(member, signed).ok()??;
                Some((member, verified))
            })
            .collect()
    }

    /// Keeps what members last said of where they are.
    pub fn store_announcements(
        &self,
        announcements: &BTreeMap<IdentityKey, Announcement>,
    ) -> anyhow::Result<()> {
        let stored: Vec<(IdentityKey, Signed<EndpointAnnouncement>)> = announcements
            .iter()
            .map(|(member, (_, signed))| (*member, signed.clone()))
            .collect();
        self.file("announcements")
            .store(&wire::encode(&stored))
            .map_err(|error| explain(&self.dir, &error))
    }

    /// Forgets everything that a member knows and others should not: directory and endpoints.
    pub fn forget_members(&self) -> anyhow::Result<()> {
        for name in ["directory", "endpoints", "announcements"] {
            self.file(name)
                .remove()
                .map_err(|error| explain(&self.dir, &error))?;
        }
        Ok(())
    }

    /// Forgets the network.
    pub fn remove(&self) -> anyhow::Result<()> {
        match fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(explain(&self.dir, &error))
            }
            _ => Ok(()),
        }
    }

    fn file(&self, name: &str) -> Generations {
        Generations::new(self.dir.join(name))
    }

    fn damaged(&self, name: &str) -> String {
        format!(
            "Network {}: its {name} in {} are damaged; leave the network and join it again",
            self.network,
            self.dir.display()
        )
    }
}

/// Takes the lock; waits a moment for a daemon that was killed and is not quite gone.
fn lock_soon(lock: &File) -> Result<(), Errno> {
    let deadline = Instant::now() + LOCK_WITHIN;
    loop {
        match flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(LOCK_RETRY),
            done => return done,
        }
    }
}

fn make_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let now = fs::metadata(path)?.permissions().mode() & 0o777;
    if now & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// One line that says what is wrong with the state directory and what to do.
fn explain(path: &Path, error: &io::Error) -> anyhow::Error {
    let path = path.display();
    let kind = error.kind();
    if matches!(
        kind,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    ) {
        anyhow!("the disk that holds {path} is full: free some")
    } else if kind == io::ErrorKind::ReadOnlyFilesystem {
        anyhow!("{path} is on a read-only file system: remount it or choose another --state-dir")
    } else if kind == io::ErrorKind::PermissionDenied {
        anyhow!("no permission to write {path}: run as root or choose another --state-dir")
    } else {
        anyhow!("failed to use the state directory {path}: {error}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_about_a_bad_disk_is_said() {
        for (errno, said) in [
            (Errno::NOSPC, "is full"),
            (Errno::DQUOT, "is full"),
            (Errno::ROFS, "remount it"),
            (Errno::ACCESS, "run as root"),
            (Errno::IO, "Input/output error"),
        ] {
            let explained = explain(Path::new("/state"), &errno.into()).to_string();
            assert!(
                explained.contains(said) && explained.contains("/state"),
                "{explained}"
            );
        }
    }

    #[test]
    fn only_one_at_a_time_may_open_a_state_directory() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let first = StateDir::open(dir.path()).expect("a free directory");

        assert!(StateDir::open(dir.path()).is_err());
        drop(first);
        assert!(StateDir::open(dir.path()).is_ok());
    }

    #[test]
    fn a_network_comes_back_with_its_settings_and_goes_with_them() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let state = StateDir::open(dir.path()).expect("a free directory");
        let network: NetworkId = "8056c2e21c000001".parse().expect("a network id");
        let settings = NetworkSettings {
            controllers: vec!["ctl.example.org:9791".parse().expect("an address")],
            known_controllers: Vec::new(),
            root: None,
            digest: None,
            token: Some(settings::Token("secret".to_owned())),
            interface: "tmb0".to_owned(),
            allow_global: true,
            allow_default: false,
            denied: None,
            not_found: false,
        };

        state
            .network(network)
            .store_settings(&settings)
            .expect("a writable directory");
        let mut networks = state.networks().expect("a readable directory");
        let (id, read) = networks.pop().expect("the network");
        assert_eq!((id, read.expect("whole settings")), (network, settings));

        state
            .network(network)
            .remove()
            .expect("a writable directory");
        assert!(state.networks().expect("a readable directory").is_empty());
    }
}
