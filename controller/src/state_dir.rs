//! The state directory: key files and the admin token, readable by their owner alone. Written to a temporary file,
//! synced and renamed, so that a crash leaves the old file or the new one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use tombolo_proto::key::Seed;

const LOCK: &str = "lock";
const ADMIN_TOKEN: &str = "admin.token";
const SETUP_LINK: &str = "setup.link";
const STORE: &str = "store.sqlite";

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Reading failed.
    #[error("cannot read {path}: {cause}; check its owner and permissions", path = .path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// Writing failed.
    #[error("cannot write {path}: {cause}; check that the directory is writable and has room, or choose another with --state-dir", path = .path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// A key file has the wrong length.
    #[error("the key file {path} is damaged ({found} bytes instead of 32): restore it from a backup", path = .path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Its length.
        found: usize,
    },
    /// Another controller runs on it.
    #[error("another controller uses {path}: stop it first, or choose another directory with --state-dir", path = .0.display())]
    InUse(PathBuf),
}

/// A state directory that this process holds.
#[derive(Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
    _lock: File,
}

/// Which key a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyFile {
    /// The authority's root key.
    Authority,
    /// A root key that was found and is not yet known to be the store's.
    Candidate,
    /// This replica's key.
    Replica,
}

impl KeyFile {
    const fn name(self) -> &'static str {
        match self {
            Self::Authority => "authority.key",
            Self::Candidate => "authority.key.candidate",
            Self::Replica => "replica.key",
        }
    }
}

impl StateDir {
    /// Creates the directory if need be and takes its lock.
    pub(crate) fn open(path: &Path) -> Result<Self, StateError> {
        let failed = |path: PathBuf| move |cause| StateError::Write { path, cause };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(failed(path.to_owned()))?;
        let lock_path = path.join(LOCK);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(failed(lock_path.clone()))?;
        match rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StateError::InUse(path.to_owned())),
            Err(errno) => Err(failed(lock_path)(errno.into())),
        }
    }

    /// Where the store is unless it is told otherwise.
    #[must_use]
    pub(crate) fn default_store(&self) -> PathBuf {
        Self::default_store_in(&self.path)
    }

    /// The same, in a directory that need not be held.
    #[must_use]
    pub(crate) fn default_store_in(path: &Path) -> PathBuf {
        path.join(STORE)
    }

    /// Reads a key; none if there is no such file.
    pub(crate) fn read_seed(&self, file: KeyFile) -> Result<Option<Seed>, StateError> {
        Self::peek_seed(&self.path, file)
    }

    /// Reads a key of a directory that another process may hold.
    pub(crate) fn peek_seed(directory: &Path, file: KeyFile) -> Result<Option<Seed>, StateError> {
        let path = directory.join(file.name());
        let Some(bytes) = read_private(&path)? else {
            return Ok(None);
        };
        let seed = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| StateError::Damaged {
            found: bytes.len(),
            path,
        })?;
        Ok(Some(Seed::from_bytes(seed)))
    }

    /// Whether a controller has served from here before: its key, and what the founder of an authority leaves beside it.
    #[must_use]
    pub(crate) fn has_served(&self) -> bool {
        let has = |name: &str| self.path.join(name).exists();
        has(KeyFile::Replica.name()) && (has(KeyFile::Authority.name()) || has(ADMIN_TOKEN))
    }

    /// Writes a key.
    pub(crate) fn write_seed(&self, file: KeyFile, seed: &Seed) -> Result<(), StateError> {
        write_private(&self.path, file.name(), seed.expose())
    }

    /// Removes a key, if it is there.
    pub(crate) fn remove(&self, file: KeyFile) -> Result<(), StateError> {
        self.remove_file(file.name())
    }

    /// Removes the admin token, if it is there.
    pub(crate) fn remove_admin_token(&self) -> Result<(), StateError> {
        self.remove_file(ADMIN_TOKEN)
    }

    fn remove_file(&self, name: &str) -> Result<(), StateError> {
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                Err(StateError::Write { path, cause })
            }
            _ => Ok(()),
        }
    }

    /// Where a key is, for messages.
    #[must_use]
    pub(crate) fn key_path(&self, file: KeyFile) -> PathBuf {
        self.path.join(file.name())
    }

    /// Writes the admin token.
    pub(crate) fn write_admin_token(&self, token: &str) -> Result<(), StateError> {
        write_private(&self.path, ADMIN_TOKEN, format!("{token}\n").as_bytes())
    }

    /// Writes the link that makes the first user of the panel.
    pub(crate) fn write_setup_link(&self, link: &str) -> Result<(), StateError> {
        write_private(&self.path, SETUP_LINK, format!("{link}\n").as_bytes())
    }

    /// Removes that link, if it is there.
    pub(crate) fn remove_setup_link(&self) -> Result<(), StateError> {
        self.remove_file(SETUP_LINK)
    }
}

/// Where the verbs find the root key unless they are told otherwise.
#[must_use]
pub(crate) fn root_key_path(state_dir: &Path) -> PathBuf {
    state_dir.join(KeyFile::Authority.name())
}

/// Where the verbs find the admin token unless they are told otherwise.
#[must_use]
pub(crate) fn admin_token_path(state_dir: &Path) -> PathBuf {
    state_dir.join(ADMIN_TOKEN)
}

fn read_private(path: &Path) -> Result<Option<Vec<u8>>, StateError> {
    let mut bytes = Vec::new();
    match File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)) {
        Ok(_) => Ok(Some(bytes)),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(StateError::Read {
            path: path.to_owned(),
            cause,
        }),
    }
}

fn write_private(directory: &Path, name: &str, content: &[u8]) -> Result<(), StateError> {
    let path = directory.join(name);
    let temporary = directory.join(format!("{name}.new"));
    let write = || {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        File::open(directory)?.sync_all()
    };
    write().map_err(|cause| StateError::Write { path, cause })
}
