//! `controller keyring`: the root key stays where it is. A replica drafts, this program checks the draft, signs it, and
//! hands it back.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER;
use tombolo_proto::{
    address::{self, Cost},
    api::{Keyring, KeyringDraft, KeyringEdit, ReplicaState, SignedKeyring},
    config,
    key::{IdentityKey, IdentitySecret, Seed},
    signed::Signed,
    wire,
};

use super::{Client, Failure, Output};
use crate::{
    cli::{Global, KeyringVerb},
    config::{DEFAULT_STATE_DIR, File},
    state_dir,
};

/// Where the keyring is in the API.
const KEYRING: &str = "/keyring";

pub(super) fn run(
    verb: &KeyringVerb,
    global: &Global,
    file: &File,
    out: &Output,
) -> Result<(), Failure> {
    let state_dir = global
        .state_dir
        .as_deref()
        .or(file.state_dir.as_deref())
        .unwrap_or(Path::new(DEFAULT_STATE_DIR));
    let here = state_dir::root_key_path(state_dir);
    if let KeyringVerb::MoveRoot { to } = verb {
        return move_root(&here, to, out);
    }
    let client = Client::new(global, file)?;
    let (edit, root_key) = match verb {
        KeyringVerb::Show | KeyringVerb::MoveRoot { .. } => {
            out.object(&client.get(KEYRING)?, describe);
            return Ok(());
        }
        KeyringVerb::Add {
            key,
            all_pending,
            root_key,
        } => {
            let edit = KeyringEdit {
                admit: key.iter().copied().collect(),
                admit_pending: *all_pending,
                revoke: None,
            };
            (edit, root_key)
        }
        KeyringVerb::Revoke { key, root_key } => {
            let edit = KeyringEdit {
                revoke: Some(*key),
                ..KeyringEdit::default()
            };
            (edit, root_key)
        }
    };
    let root = read_root(root_key.as_deref().unwrap_or(&here))?;
    let current: Keyring = client.get(KEYRING)?;
    if current.root_key != root.public() {
        return Err(Failure::Conflict(format!(
            "this is not the root key of the authority {}: name the right one with --root-key",
            current.root_key
        )));
    }
    let draft: KeyringDraft = client.post(&format!("{KEYRING}/draft"), &edit)?;
    if !draft.differs {
        out.object(&current, describe);
        return Ok(());
    }
    let next = check(&draft, &current, &edit)?;
    let authority = address::of(&root.public(), Cost::Authority)
        .ok_or_else(|| Failure::Other("the root key has no authority address".to_owned()))?;
    let signed = Signed::sign(&next, config::Keyring::scope(authority), &root);
    let body = SignedKeyring {
        signed: HEXLOWER.encode(&wire::encode(&signed)),
    };
    out.object(&client.put(KEYRING, &body)?, describe);
    Ok(())
}

/// What is signed is what was asked for, whatever the replica that drafted it may be.
fn check(
    draft: &KeyringDraft,
    current: &Keyring,
    edit: &KeyringEdit,
) -> Result<config::Keyring, Failure> {
    let odd =
        || Failure::Other("the controller drafted something else than was asked for".to_owned());
    let next: config::Keyring = HEXLOWER
        .decode(draft.body.as_bytes())
        .ok()
        .and_then(|bytes| wire::decode(&bytes).ok())
        .ok_or_else(odd)?;
    let in_state = |state: ReplicaState| -> BTreeSet<IdentityKey> {
        current
            .replicas
            .iter()
            .filter(|replica| replica.state == state)
            .map(|replica| replica.key)
            .collect()
    };
    let mut wanted = in_state(ReplicaState::Admitted);
    wanted.extend(&edit.admit);
    if edit.admit_pending {
        wanted.extend(in_state(ReplicaState::Pending));
    }
    if let Some(revoked) = edit.revoke {
        wanted.remove(&revoked);
    }
    let raises = u64::from(edit.revoke.is_some());
    if next.replicas == wanted && next.version.epoch.0 == current.epoch + raises {
        Ok(next)
    } else {
        Err(odd())
    }
}

fn read_root(path: &Path) -> Result<IdentitySecret, Failure> {
    let bytes = fs::read(path).map_err(|cause| {
        Failure::NotAuthorized(format!(
            "cannot read the root key {}: {cause}; run this where it is, or name it with --root-key",
            path.display()
        ))
    })?;
    let seed: [u8; 32] = bytes.try_into().map_err(|_| {
        Failure::Other(format!(
            "{} is not a root key: it must have 32 bytes",
            path.display()
        ))
    })?;
    Ok(Seed::from_bytes(seed).identity())
}

/// Copies, reads back, and only then removes.
fn move_root(from: &Path, to: &PathBuf, out: &Output) -> Result<(), Failure> {
    let root = read_root(from)?;
    let seed = fs::read(from).map_err(|cause| unwritten(from, &cause))?;
    let write = || {
        let mut file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(to)?;
        file.write_all(&seed)?;
        file.sync_all()
    };
    write().map_err(|cause| unwritten(to, &cause))?;
    if read_root(to)?.public() != root.public() {
        return Err(Failure::Other(format!(
            "{} does not hold what was written: choose another place",
            to.display()
        )));
    }
    fs::remove_file(from).map_err(|cause| unwritten(from, &cause))?;
    out.done(&format!(
        "the root key is in {} alone; later changes of the keyring need --root-key {}",
        to.display(),
        to.display()
    ));
    Ok(())
}

fn unwritten(path: &Path, cause: &std::io::Error) -> Failure {
    Failure::Other(format!(
        "cannot write {}: {cause}; the root key is where it was",
        path.display()
    ))
}

fn describe(keyring: &Keyring) -> String {
    let mut text = format!(
        "epoch      {}\nrevision   {}\nroot key   {}\nendpoints  {}\n",
        keyring.epoch,
        keyring.revision,
        keyring.root_key,
        keyring.endpoints.join(", ")
    );
    for replica in &keyring.replicas {
        let state = match replica.state {
            ReplicaState::Admitted => "admitted",
            ReplicaState::Pending => "pending",
            ReplicaState::Revoked => "revoked",
        };
        let alive = if replica.alive { "runs" } else { "silent" };
        let this = if replica.this { ", this one" } else { "" };
        writeln!(
            text,
            "replica    {}  {state}, {alive}{this}  {}  {}",
            replica.key,
            replica.version,
            replica.endpoints.join(", ")
        )
        .expect("writing to a String never fails");
    }
    text
}
