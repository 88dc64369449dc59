//! `controller backup` and `controller restore`

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use serde::Serialize;
use tombolo_proto::key::Seed;

use super::{
    Failure, Output,
    place::{self, Place},
};
use crate::{
    backup::{self, Backup, BackupError},
    cli::{BackupFile, Global},
    config::File,
    state_dir::{KeyFile, StateDir},
    store::Store,
};

/// What is signed after a restore is that much newer than the backup: more changes than were made since it.
const GAP: u32 = 1 << 20;

#[derive(Serialize)]
struct Done {
    file: String,
    store: String,
    made_at: u64,
    rows: usize,
    encrypted: bool,
    root_key: bool,
}

pub(super) fn make(
    flags: &BackupFile,
    global: &Global,
    file: File,
    out: &Output,
) -> Result<(), Failure> {
    let place = Place::of(global, file, flags.store.as_deref())?;
    let passphrase = passphrase(flags)?;
    let replica = place.key(KeyFile::Replica)?.ok_or_else(|| {
        Failure::Other(format!(
            "there is no replica.key in {}: name the state directory of a controller with --state-dir",
            place.state_dir.display()
        ))
    })?;
    let root = place.key(KeyFile::Authority)?;
    let backup = place::wait(async {
        let store = place.open().await?;
        let contents = store.contents().await?;
        let authority = store.authority().await?.ok_or_else(|| {
            Failure::Other("the store has no authority yet: start the controller first".to_owned())
        })?;
        let made_at = store.now().await?;
        store.close().await;
        Ok(Backup {
            made_at,
            root,
            replica,
            authority: authority.root,
            keyring: authority.keyring,
            contents,
        })
    })?;
    let signer = Seed::from_bytes(replica).identity();
    let bytes = backup::encode(&backup, &signer, passphrase.as_deref())
        .map_err(|error| damaged(&flags.file, error))?;
    // What would not be accepted is no backup: a replica that is not in the keyring finds out now.
    backup::decode(&bytes, passphrase.as_deref()).map_err(|_| {
        Failure::Other(
            "this replica is not in the keyring, so nobody would believe its backup: admit it first"
                .to_owned(),
        )
    })?;
    write_new(&flags.file, &bytes)?;
    let made = backup.made(flags.passphrase_file.is_some(), bytes.len());
    place::wait(async {
        let store = place.open().await?;
        let noted = store.note_backup(&made).await;
        store.close().await;
        noted.map_err(|error| {
            Failure::Other(format!(
                "{} is written, but the store could not note that: {error}",
                flags.file.display()
            ))
        })
    })?;
    done(flags, &place, &backup, out);
    Ok(())
}

pub(super) fn restore(
    flags: &BackupFile,
    global: &Global,
    file: File,
    out: &Output,
) -> Result<(), Failure> {
    let place = Place::of(global, file, flags.store.as_deref())?;
    let passphrase = passphrase(flags)?;
    let bytes = fs::read(&flags.file).map_err(|cause| {
        Failure::Other(format!("cannot read {}: {cause}", flags.file.display()))
    })?;
    let backup = backup::decode(&bytes, passphrase.as_deref())
        .map_err(|error| damaged(&flags.file, error))?;
    let state = StateDir::open(&place.state_dir)?;
    for key in [KeyFile::Authority, KeyFile::Replica] {
        if state.read_seed(key)?.is_some() {
            return Err(Failure::Conflict(format!(
                "{} is there already: restore to an empty state directory",
                state.key_path(key).display()
            )));
        }
    }
    let made = backup.made(flags.passphrase_file.is_some(), bytes.len());
    place::wait(async {
        let store = Store::open(&place.store).await?;
        store
            .put_contents(&backup.contents, GAP, Some(&made))
            .await?;
        store.close().await;
        Ok(())
    })?;
    // Keys last: with them, and only with them, a controller starts on this store.
    if let Some(root) = backup.root {
        state.write_seed(KeyFile::Authority, &Seed::from_bytes(root))?;
    }
    state.write_seed(KeyFile::Replica, &Seed::from_bytes(backup.replica))?;
    done(flags, &place, &backup, out);
    Ok(())
}

fn done(flags: &BackupFile, place: &Place, backup: &Backup, out: &Output) {
    let done = Done {
        file: flags.file.display().to_string(),
        store: place.store.to_string(),
        made_at: backup.made_at.0,
        rows: backup.contents.len(),
        encrypted: flags.passphrase_file.is_some(),
        root_key: backup.root.is_some(),
    };
    out.object(&done, |done| {
        let root = if done.root_key {
            "with the root key"
        } else {
            "without the root key, which is elsewhere"
        };
        let secrecy = if done.encrypted {
            "encrypted"
        } else {
            "not encrypted: whoever reads it can do what this controller can"
        };
        format!(
            "{}: {} rows of {}, {root}, {secrecy}",
            done.file, done.rows, done.store
        )
    });
}

fn passphrase(flags: &BackupFile) -> Result<Option<Vec<u8>>, Failure> {
    let Some(path) = &flags.passphrase_file else {
        return Ok(None);
    };
    let text = fs::read_to_string(path)
        .map_err(|cause| Failure::Usage(format!("cannot read {}: {cause}", path.display())))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(Failure::Usage(format!(
            "{} holds no passphrase: write one into it",
            path.display()
        )));
    }
    Ok(Some(text.as_bytes().to_vec()))
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let write = || {
        let mut file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|cause| {
        Failure::Other(format!(
            "cannot write {}: {cause}; name a file that is not there yet",
            path.display()
        ))
    })
}

fn damaged(path: &Path, error: BackupError) -> Failure {
    let message = format!("{}: {error}", path.display());
    match error {
        BackupError::Encrypted => Failure::Usage(message),
        BackupError::Passphrase => Failure::NotAuthorized(message),
        BackupError::Unknown | BackupError::Seal => Failure::Other(message),
    }
}
