//! The verbs that work on the store itself instead of asking a controller.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::Failure;
use crate::{
    cli::Global,
    config::{DEFAULT_STATE_DIR, File},
    state_dir::{KeyFile, StateDir, StateError},
    store::{OpenError, PutError, Store, StoreUrl},
};

/// Where a controller keeps what it has.
pub(super) struct Place {
    pub(super) state_dir: PathBuf,
    pub(super) store: StoreUrl,
}

impl Place {
    pub(super) fn of(global: &Global, file: File, store: Option<&str>) -> Result<Self, Failure> {
        let state_dir = global
            .state_dir
            .clone()
            .or(file.state_dir)
            .unwrap_or_else(|| Path::new(DEFAULT_STATE_DIR).to_owned());
        let store = match store.map(str::to_owned).or(file.store) {
            Some(url) => parse(&url)?,
            None => StoreUrl::sqlite(StateDir::default_store_in(&state_dir)),
        };
        Ok(Self { state_dir, store })
    }

    /// The store, which must be there.
    pub(super) async fn open(&self) -> Result<Store, Failure> {
        if let StoreUrl::Sqlite(path) = &self.store
            && !path.exists()
        {
            return Err(Failure::Other(format!(
                "there is no store {}: name the state directory with --state-dir, or the store with --store",
                path.display()
            )));
        }
        Ok(Store::open(&self.store).await?)
    }

    /// A key of the state directory, whether a controller runs there or not.
    pub(super) fn key(&self, file: KeyFile) -> Result<Option<[u8; 32]>, Failure> {
        let seed = StateDir::peek_seed(&self.state_dir, file)?;
        Ok(seed.map(|seed| *seed.expose()))
    }
}

pub(super) fn parse(url: &str) -> Result<StoreUrl, Failure> {
    url.parse()
        .map_err(|error: OpenError| Failure::Usage(error.to_string()))
}

/// Runs what works with a store.
pub(super) fn wait<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("Failed to start the runtime")?
        .block_on(work)
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        Self::Other(error.to_string())
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self::Unreachable(error.to_string())
    }
}

impl From<crate::store::StoreError> for Failure {
    fn from(error: crate::store::StoreError) -> Self {
        Self::Other(error.to_string())
    }
}

impl From<PutError> for Failure {
    fn from(error: PutError) -> Self {
        match error {
            PutError::NotEmpty(_) => Self::Conflict(error.to_string()),
            PutError::Unknown(_) | PutError::Store(_) => Self::Other(error.to_string()),
        }
    }
}
