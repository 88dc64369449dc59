//! Whether the store can be reached. Once it cannot, nothing waits for it any more: what is asked of it fails at once,
//! until a probe finds it again.

use std::{sync::Arc, time::Instant};

use tokio::sync::watch;

use super::StoreError;

/// What is known of the store's reachability, shared by everybody who uses it.
#[derive(Debug, Clone)]
pub(crate) struct Health {
    /// Since when it is unreachable.
    down: Arc<watch::Sender<Option<Instant>>>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            down: Arc::new(watch::channel(None).0),
        }
    }
}

impl Health {
    /// Since when the store is unreachable; none if it is not.
    pub(crate) fn down_since(&self) -> Option<Instant> {
        *self.down.borrow()
    }

    /// Fails at once if the store is known to be unreachable.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        match self.down_since() {
            None => Ok(()),
            Some(_) => Err(StoreError::Unreachable),
        }
    }

    /// Learns from how an attempt ended.
    pub(super) fn judge<T>(&self, attempt: Result<T, sqlx::Error>) -> Result<T, StoreError> {
        attempt.map_err(|error| {
            let error = StoreError::from(error);
            self.suspect(&error);
            error
        })
    }

    /// Learns from an error. That no connection was free in time may mean that there is much to do: the probe tells.
    pub(crate) fn suspect(&self, error: &StoreError) {
        let is_busy = matches!(error, StoreError::Database(sqlx::Error::PoolTimedOut));
        if error.is_outage() && !is_busy {
            self.set_down();
        }
    }

    /// From now on nobody waits for the store.
    pub(crate) fn set_down(&self) {
        let fresh = self.down.send_if_modified(|down| {
            let is_fresh = down.is_none();
            down.get_or_insert_with(Instant::now);
            is_fresh
        });
        if fresh {
            tracing::error!("the store is unreachable: serving what is known, refusing changes");
        }
    }

    /// The store answers again. Tells whether it had been unreachable.
    pub(crate) fn set_up(&self) -> bool {
        let was_down = self.down.send_if_modified(|down| down.take().is_some());
        if was_down {
            tracing::info!("the store answers again");
        }
        was_down
    }

    /// Waits until the store becomes unreachable; returns at once if it is.
    pub(crate) async fn wait_down(&self) {
        let mut changes = self.down.subscribe();
        // The sender lives as long as this value.
        let _ = changes.wait_for(Option::is_some).await;
    }

    /// Waits until the store can be reached; returns at once if it can.
    pub(crate) async fn wait_up(&self) {
        let mut changes = self.down.subscribe();
        let _ = changes.wait_for(Option::is_none).await;
    }
}

impl StoreError {
    /// Whether the database is away, as opposed to refusing something.
    pub(crate) fn is_outage(&self) -> bool {
        /// SQLSTATE: the server stops or starts (57P01 to 57P03), lost connections (class 08), none left (53300).
        fn is_away(code: &str) -> bool {
            code.starts_with("57P0") || code.starts_with("08") || code == "53300"
        }
        match self {
            Self::Unreachable => true,
            Self::Corrupt(_) => false,
            Self::Database(error) => {
                matches!(
                    error,
                    sqlx::Error::Io(_)
                        | sqlx::Error::Tls(_)
                        | sqlx::Error::Protocol(_)
                        | sqlx::Error::PoolTimedOut
                        | sqlx::Error::WorkerCrashed
                ) || error
                    .as_database_error()
                    .and_then(|database| database.code())
                    .is_some_and(|code| is_away(&code))
            }
        }
    }
}
