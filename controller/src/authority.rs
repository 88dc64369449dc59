//! The authority: made on the first start of an empty store, taken up again on every later one.

use std::collections::BTreeSet;

use tombolo_proto::{
    address::{self, Cost},
    config::Keyring,
    id::{NodeId, Revision, Version},
    key::{IdentityKey, IdentitySecret, Seed},
    link::HostPort,
    signed::Signed,
};

use crate::{
    signer::Signer,
    state_dir::{KeyFile, StateDir, StateError},
    store::{Store, StoreError, StoredAuthority},
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
    /// The store belongs to an authority whose key is not here.
    #[error(
        "the store has an authority, but {0} is missing: restore it from a backup, or start with an empty store"
    )]
    KeyMissing(String),
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
    /// The replica's key was left out of the keyring.
    #[error("{0} is not in the keyring of this store's authority: restore the right one")]
    ReplicaUnknown(String),
    /// A thread died.
    #[error("the search for an authority address was interrupted")]
    Interrupted,
}

/// Takes up the authority of the store, or makes one. `endpoints` is where nodes reach this controller.
pub(crate) async fn establish(
    state: &StateDir,
    store: &Store,
    endpoints: Vec<HostPort>,
) -> Result<Signer, AuthorityError> {
    let root_seed = state.read_seed(KeyFile::Authority)?;
    let replica_seed = state.read_seed(KeyFile::Replica)?;
    let Some(stored) = store.authority().await? else {
        return found(state, store, root_seed, replica_seed, endpoints).await;
    };
    let missing = |file| AuthorityError::KeyMissing(state.key_path(file).display().to_string());
    let root = root_seed
        .ok_or_else(|| missing(KeyFile::Authority))?
        .identity();
    let replica = replica_seed
        .ok_or_else(|| missing(KeyFile::Replica))?
        .identity();
    if root.public() != stored.root {
        let path = state.key_path(KeyFile::Authority).display().to_string();
        return Err(AuthorityError::OtherAuthority(path));
    }
    let authority = address_of(root.public()).await?;
    let keyring = stored
        .keyring
        .verify(Keyring::scope(authority), |signer| *signer == stored.root)
        .map_err(|_| AuthorityError::Keyring)?;
    if !keyring.replicas.contains(&replica.public()) {
        let path = state.key_path(KeyFile::Replica).display().to_string();
        return Err(AuthorityError::ReplicaUnknown(path));
    }
    if keyring.endpoints == endpoints {
        return Ok(Signer::new(
            authority,
            stored.root,
            replica,
            keyring,
            stored.keyring,
        ));
    }
    let next = Keyring {
        version: Version {
            revision: Revision(keyring.version.revision.0 + 1),
            ..keyring.version
        },
        endpoints,
        ..keyring
    };
    let signed = Signed::sign(&next, Keyring::scope(authority), &root);
    store.put_keyring(next.version, &signed).await?;
    tracing::info!(
        revision = next.version.revision.0,
        "advertised addresses changed: signed a new keyring"
    );
    Ok(Signer::new(authority, stored.root, replica, next, signed))
}

/// Keys are on disk before the store names them, so that a crash between the two is repaired by starting again.
async fn found(
    state: &StateDir,
    store: &Store,
    root_seed: Option<Seed>,
    replica_seed: Option<Seed>,
    endpoints: Vec<HostPort>,
) -> Result<Signer, AuthorityError> {
    let (root, authority) = match root_seed {
        Some(seed) => {
            let root = seed.identity();
            let authority = address_of(root.public()).await?;
            (root, authority)
        }
        None => {
            let (seed, authority) = mine().await?;
            state.write_seed(KeyFile::Authority, &seed)?;
            (seed.identity(), authority)
        }
    };
    let replica = match replica_seed {
        Some(seed) => seed.identity(),
        None => {
            let seed = Seed::from_bytes(rand::random());
            state.write_seed(KeyFile::Replica, &seed)?;
            seed.identity()
        }
    };
    let (keyring, signed) = first_keyring(authority, &root, replica.public(), endpoints);
    let founded = store
        .found_authority(&StoredAuthority {
            root: root.public(),
            version: keyring.version,
            keyring: signed.clone(),
        })
        .await?;
    if !founded {
        let path = state.key_path(KeyFile::Authority).display().to_string();
        return Err(AuthorityError::OtherAuthority(path));
    }
    tracing::info!(%authority, "made a new authority");
    Ok(Signer::new(
        authority,
        root.public(),
        replica,
        keyring,
        signed,
    ))
}

fn first_keyring(
    authority: NodeId,
    root: &IdentitySecret,
    replica: IdentityKey,
    endpoints: Vec<HostPort>,
) -> (Keyring, Signed<Keyring>) {
    let keyring = Keyring {
        version: Version::first_epoch(1),
        replicas: BTreeSet::from([replica]),
        endpoints,
    };
    let signed = Signed::sign(&keyring, Keyring::scope(authority), root);
    (keyring, signed)
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
