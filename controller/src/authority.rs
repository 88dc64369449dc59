//! The authority: made on the first start of an empty store, taken up again on every later one.
//!
//! A replica needs a key of its own and the store, nothing else. The root key signs keyrings only; where it lies in the
//! state directory, a start signs what has changed by itself, and where it does not, the replica registers what it has to
//! say and waits for `controller keyring add`.

use std::collections::BTreeSet;

use tombolo_domain::keyring::{self, Edit, KeyringRefusal};
use tombolo_proto::{
    address::{self, Cost},
    config::Keyring,
    id::{NodeId, Version},
    key::{IdentityKey, IdentitySecret, Seed},
    link::HostPort,
    signed::Signed,
};

use crate::{
    signer::{HeldKeyring, Signer},
    state_dir::{KeyFile, StateDir, StateError},
    store::{Actor, Store, StoreError, StoreUrl, StoredAuthority},
};

/// Why there is no authority to serve.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The state directory failed.
    #[error(transparent)]
    State(#[from] StateError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store has an authority, and its only replica's key is not here.
    #[error(
        "the store has an authority, but {0} is missing: restore it from a backup, or start with an empty store"
    )]
    KeyMissing(String),
    /// The store is empty, and another one was served before.
    #[error(
        "the store {0} is empty, but this state directory belongs to another one: name that one with --store, move it here with `tombolo-controller store migrate-to`, restore a backup, or choose an empty --state-dir"
    )]
    StoreLost(StoreUrl),
    /// The key and the store belong to different authorities.
    #[error(
        "{0} is not the key of this store's authority: restore the right one, or start with an empty store"
    )]
    OtherAuthority(String),
    /// The store holds a keyring that the root key did not sign.
    #[error(
        "the keyring in the store is not signed by this authority: restore a backup of the store"
    )]
    Keyring,
    /// The rules of keyrings.
    #[error(transparent)]
    Refused(#[from] KeyringRefusal),
    /// A thread died.
    #[error("the search for an authority address was interrupted")]
    Interrupted,
}

/// An authority that this replica serves.
#[derive(Debug)]
pub(crate) struct Established {
    pub(crate) signer: Signer,
    /// Whether the root key is in the state directory.
    pub(crate) has_root: bool,
}

/// Takes up the authority of the store, or makes one. `endpoints` is where nodes reach this controller.
pub(crate) async fn establish(
    state: &StateDir,
    store: &Store,
    endpoints: &[HostPort],
) -> Result<Established, AuthorityError> {
    let stored = match store.authority().await? {
        Some(stored) => {
            let is_missing = state.read_seed(KeyFile::Replica)?.is_none();
            // A file has one replica: its key is lost, not yet to be made.
            if is_missing && matches!(store.url(), StoreUrl::Sqlite(_)) {
                let path = state.key_path(KeyFile::Replica).display().to_string();
                return Err(AuthorityError::KeyMissing(path));
            }
            stored
        }
        // Nodes would be told that their networks are gone.
        None if state.has_served() => return Err(AuthorityError::StoreLost(store.url().clone())),
        None => found(state, store, &replica_key(state)?, endpoints).await?,
    };
    let replica = replica_key(state)?;
    let root = root_key(state, stored.root)?;
    let authority = address_of(stored.root).await?;
    let held = held(authority, stored)?;
    store.register_replica(&replica.public(), endpoints).await?;
    let signer = Signer::new(authority, held.root, replica, held.keyring);
    if let Some(root) = &root {
        sign_what_changed(&signer, store, root).await?;
    } else if !signer.is_admitted() {
        tracing::warn!(
            key = %signer.replica().public(),
            "this replica is not in the keyring yet: run `tombolo-controller keyring add --all-pending` where the root key is"
        );
    }
    Ok(Established {
        has_root: root.is_some(),
        signer,
    })
}

struct Held {
    root: IdentityKey,
    keyring: HeldKeyring,
}

fn held(authority: NodeId, stored: StoredAuthority) -> Result<Held, AuthorityError> {
    let keyring = stored
        .keyring
        .verify(Keyring::scope(authority), |signer| *signer == stored.root)
        .map_err(|_| AuthorityError::Keyring)?;
    Ok(Held {
        root: stored.root,
        keyring: HeldKeyring {
            keyring,
            signed: stored.keyring,
        },
    })
}

/// With the root key at hand, a replica admits itself and publishes its new endpoints without anybody's help.
async fn sign_what_changed(
    signer: &Signer,
    store: &Store,
    root: &IdentitySecret,
) -> Result<(), AuthorityError> {
    let current = signer.held();
    let registered = store.replicas().await?;
    let own = Edit::Admit(BTreeSet::from([signer.replica().public()]));
    let next = keyring::draft(&current.keyring, &registered, &own)?;
    if !keyring::differs(&current.keyring, &next) {
        return Ok(());
    }
    let signed = Signed::sign(&next, Keyring::scope(signer.authority()), root);
    let updated = store
        .put_keyring(next.version, &signed, &Actor::Controller)
        .await?;
    if updated {
        tracing::info!(
            revision = next.version.revision.0,
            "endpoints or replicas changed: signed a new keyring"
        );
        signer.take(signed).map_err(|_| AuthorityError::Keyring)?;
    }
    Ok(())
}

fn replica_key(state: &StateDir) -> Result<IdentitySecret, AuthorityError> {
    if let Some(seed) = state.read_seed(KeyFile::Replica)? {
        return Ok(seed.identity());
    }
    let seed = Seed::from_bytes(rand::random());
    state.write_seed(KeyFile::Replica, &seed)?;
    Ok(seed.identity())
}

/// The root key, if it is here. A candidate that made the authority of this store is taken as the root key; one that came
/// second is thrown away.
fn root_key(state: &StateDir, root: IdentityKey) -> Result<Option<IdentitySecret>, AuthorityError> {
    if let Some(candidate) = state.read_seed(KeyFile::Candidate)? {
        if candidate.identity().public() == root {
            state.write_seed(KeyFile::Authority, &candidate)?;
        }
        state.remove(KeyFile::Candidate)?;
    }
    let Some(seed) = state.read_seed(KeyFile::Authority)? else {
        return Ok(None);
    };
    let secret = seed.identity();
    if secret.public() == root {
        return Ok(Some(secret));
    }
    let path = state.key_path(KeyFile::Authority).display().to_string();
    Err(AuthorityError::OtherAuthority(path))
}

/// Makes the authority of an empty store, unless another replica does at the same moment: then there is one all the same,
/// that other one. Keys are on disk before the store names them, so that a crash between the two is repaired by starting
/// again.
async fn found(
    state: &StateDir,
    store: &Store,
    replica: &IdentitySecret,
    endpoints: &[HostPort],
) -> Result<StoredAuthority, AuthorityError> {
    let known = match state.read_seed(KeyFile::Authority)? {
        Some(seed) => Some(seed),
        None => state.read_seed(KeyFile::Candidate)?,
    };
    let (root, authority) = match known {
        Some(seed) => {
            let root = seed.identity();
            let authority = address_of(root.public()).await?;
            (root, authority)
        }
        None => {
            let (seed, authority) = mine().await?;
            state.write_seed(KeyFile::Candidate, &seed)?;
            (seed.identity(), authority)
        }
    };
    let keyring = Keyring {
        version: Version::first_epoch(1),
        replicas: BTreeSet::from([replica.public()]),
        endpoints: endpoints.to_vec(),
    };
    let fresh = StoredAuthority {
        root: root.public(),
        version: keyring.version,
        keyring: Signed::sign(&keyring, Keyring::scope(authority), &root),
    };
    if store.found_authority(&fresh).await? {
        tracing::info!(%authority, "made a new authority");
        return Ok(fresh);
    }
    tracing::info!("another replica made the authority of this store");
    let first = store.authority().await?;
    first.ok_or(AuthorityError::Interrupted)
}

async fn mine() -> Result<(Seed, NodeId), AuthorityError> {
    tracing::info!("first start: looking for an authority address, which takes some seconds");
    tokio::task::spawn_blocking(|| address::mine(Cost::Authority, rand::random))
        .await
        .map_err(|_| AuthorityError::Interrupted)
}

async fn address_of(root: IdentityKey) -> Result<NodeId, AuthorityError> {
    tokio::task::spawn_blocking(move || address::of(&root, Cost::Authority))
        .await
        .map_err(|_| AuthorityError::Interrupted)?
        .ok_or_else(|| AuthorityError::OtherAuthority("authority.key".to_owned()))
}
