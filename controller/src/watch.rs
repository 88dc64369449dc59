//! Follows what other replicas do to the store, and whether it can be reached at all.
//!
//! PostgreSQL passes on hints the moment somebody commits. A hint says nothing and may be lost: whatever is new is found
//! by looking, after a hint and every few seconds without one.

use std::{sync::Arc, time::Duration};

use sqlx::postgres::PgListener;
use tokio::{sync::Notify, time::Instant};
use tombolo_relay::Relay;

use crate::{
    networks::Networks,
    stop::Stop,
    store::{CHANNEL, Relayed, Store, StoreError, StoreUrl},
};

/// How long a change may stay unseen whose hint was lost.
const POLL: Duration = Duration::from_secs(5);
/// Hints that come close together cause one look.
const GATHER: Duration = Duration::from_millis(50);
/// A look for announcements is followed by so many times as long without one.
const REST: u32 = 8;
/// A listener that lost its connection tries again after this.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);
/// How often the store is asked whether it is there.
const PROBE: Duration = Duration::from_millis(500);
/// An answer that takes longer is none: together with the interval it keeps a refusal within two seconds.
const PROBE_PATIENCE: Duration = Duration::from_millis(1200);
/// How long nodes may hear of no changes before they are sent to a replica that may know them. Longer than a server takes
/// to start again.
const RELEASE: Duration = Duration::from_secs(5);

/// Follows the store until told to stop.
pub(crate) async fn run(store: Store, networks: Arc<Networks>, relay: Arc<Relay>, stop: Stop) {
    let hints = Arc::clone(&networks.behind);
    tokio::join!(
        listen(store.clone(), Arc::clone(&hints), stop.clone()),
        probe(store.clone(), Arc::clone(&hints), stop.clone()),
        release(store.clone(), Arc::clone(&networks), stop.clone()),
        follow(store, networks, (hints, relay), stop),
    );
}

async fn follow(
    store: Store,
    networks: Arc<Networks>,
    (hints, relay): (Arc<Notify>, Arc<Relay>),
    mut stop: Stop,
) {
    let mut due = tokio::time::interval(POLL);
    due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut rest = Rest::default();
    loop {
        let is_due = tokio::select! {
            _ = due.tick() => true,
            () = hints.notified() => {
                tokio::time::sleep(GATHER).await;
                false
            }
            () = rest.wait() => false,
            () = stop.wait() => return,
        };
        let beat = is_due.then(|| Relayed::from(relay.totals()));
        match look(&store, &networks, &mut rest, beat).await {
            Ok(()) => {}
            Err(error) if error.is_outage() => store.health().suspect(&error),
            Err(error) => tracing::error!(%error, "could not look for changes, will try again"),
        }
    }
}

async fn look(
    store: &Store,
    networks: &Networks,
    rest: &mut Rest,
    beat: Option<Relayed>,
) -> Result<(), StoreError> {
    let now = store.now().await?;
    // The only replica of a file need not tell anybody.
    if let Some(relayed) = beat
        && matches!(store.url(), StoreUrl::Postgres(_))
    {
        store.beat(&networks.replica(), relayed).await?;
        // A replica of an older version may run beside this one.
        store.chain_old_lines().await?;
    }
    networks.take_keyring().await?;
    networks.catch_up().await?;
    if rest.is_over() {
        let start = Instant::now();
        networks.take_announcements(now).await?;
        rest.begin(start.elapsed());
    }
    store.remember_tokens().await
}

/// The time between two looks for announcements: while thousands of nodes come, each finds what thousands said.
#[derive(Debug, Default)]
struct Rest {
    until: Option<Instant>,
    is_awaited: bool,
}

impl Rest {
    /// Whether it is time to look; if not, [`Self::wait`] says when it is.
    fn is_over(&mut self) -> bool {
        self.is_awaited = self.until.is_some_and(|until| Instant::now() < until);
        !self.is_awaited
    }

    fn begin(&mut self, took: Duration) {
        self.until = Some(Instant::now() + took * REST);
    }

    async fn wait(&self) {
        match self.until {
            Some(until) if self.is_awaited => tokio::time::sleep_until(until).await,
            _ => std::future::pending().await,
        }
    }
}

/// Turns the hints of PostgreSQL into ours.
async fn listen(store: Store, hints: Arc<Notify>, mut stop: Stop) {
    let StoreUrl::Postgres(url) = store.url() else {
        return;
    };
    loop {
        tokio::select! {
            () = receive(url, store.name(), &hints) => {}
            () = stop.wait() => return,
        }
        tokio::select! {
            () = tokio::time::sleep(LISTEN_AGAIN) => {}
            () = stop.wait() => return,
        }
    }
}

async fn receive(url: &str, own: &str, hints: &Notify) {
    let Ok(mut listener) = PgListener::connect(url).await else {
        return;
    };
    if listener.listen(CHANNEL).await.is_err() {
        return;
    }
    // Whatever came before this listener did has to be looked for.
    hints.notify_one();
    // `try_recv` says when the connection was lost, and with it hints.
    while let Ok(Some(hint)) = listener.try_recv().await {
        if hint.payload() != own {
            hints.notify_one();
        }
    }
}

/// Keeps knowing whether the store answers.
async fn probe(store: Store, hints: Arc<Notify>, mut stop: Stop) {
    let (pause, patience) = match store.url() {
        // A file is hardly ever away: there is no hurry to see it, and a host that has much to do is not taken for that.
        StoreUrl::Sqlite(_) => (POLL, POLL),
        StoreUrl::Postgres(_) => (PROBE, PROBE_PATIENCE),
    };
    let mut due = tokio::time::interval(pause);
    due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = due.tick() => {}
            () = stop.wait() => return,
        }
        let answers = tokio::time::timeout(patience, store.is_ready()).await;
        if !answers.unwrap_or(false) {
            store.health().set_down();
        } else if store.health().set_up() {
            hints.notify_one();
        }
    }
}

/// Sends nodes away once per outage, so that those that come back, because no replica reaches the store, may stay.
async fn release(store: Store, networks: Arc<Networks>, mut stop: Stop) {
    let outages = async {
        loop {
            store.health().wait_down().await;
            tokio::select! {
                () = tokio::time::sleep(RELEASE) => networks.release_nodes(),
                () = store.health().wait_up() => {}
            }
            store.health().wait_up().await;
        }
    };
    tokio::select! {
        () = outages => {}
        () = stop.wait() => {}
    }
}
