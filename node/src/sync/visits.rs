//! Short connections to controllers other than the one this node is connected to: to ask for a peer that is connected
//! there to call, or to reach it by that controller as a relay.
//!
//! The keyring says which keys replicas have and where replicas are, but not which is where. So a visitor shakes hands at
//! one place after the other until it has found the key, and remembers the place.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::mpsc, time::timeout};
use tombolo_proto::{
    control::{ToController, ToNode},
    key::IdentityKey,
    link::HostPort,
};

use super::{
    Wanted,
    carriers::Carriers,
    dial,
    patience::Patience,
    transport::{Receiver, Sender, Transport},
};

/// Visits at a time: more than an authority has replicas.
const MAX_VISITS: usize = 8;
/// Messages that wait for one replica: what is lost is said again.
const QUEUE: usize = 32;
/// A visitor with nothing more to say goes: long enough to ask a second and third time.
const STAY: Duration = Duration::from_secs(15);

/// What a visited replica says.
#[derive(Debug)]
pub struct Answered {
    /// Which replica.
    pub replica: IdentityKey,
    /// Where it is.
    pub address: SocketAddr,
    /// What it says.
    pub message: ToNode,
}

/// Where replicas were found.
type Places = Arc<Mutex<BTreeMap<IdentityKey, HostPort>>>;

/// All visits of this node. They end by themselves, or when this is dropped.
#[derive(Debug)]
pub struct Visits {
    transport: Arc<Transport>,
    answers: mpsc::Sender<Answered>,
    open: BTreeMap<IdentityKey, mpsc::Sender<ToController>>,
    places: Places,
}

impl Visits {
    /// None yet.
    #[must_use]
    pub fn new(transport: Arc<Transport>, answers: mpsc::Sender<Answered>) -> Self {
        Self {
            transport,
            answers,
            open: BTreeMap::new(),
            places: Places::default(),
        }
    }

    /// Says something to a replica: on the visit that is open, or on a new one. It may get lost, and is asked for again.
    pub fn say(&mut self, replica: IdentityKey, message: ToController, mut wanted: Wanted) {
        self.open.retain(|_, visit| !visit.is_closed());
        if let Some(visit) = self.open.get(&replica) {
            let _ = visit.try_send(message);
            return;
        }
        if self.open.len() >= MAX_VISITS {
            return;
        }
        let (queue, messages) = mpsc::channel(QUEUE);
        if queue.try_send(message).is_err() {
            return;
        }
        if let Some(place) = known_place(&self.places, &replica) {
            wanted.controllers.retain(|other| *other != place);
            wanted.controllers.insert(0, place);
        }
        let visit = Visit {
            transport: Arc::clone(&self.transport),
            replica,
            wanted,
            messages,
            answers: self.answers.clone(),
            places: Arc::clone(&self.places),
        };
        tokio::spawn(visit.run());
        self.open.insert(replica, queue);
    }

    /// A replica was found there.
    pub fn found(&self, replica: IdentityKey, place: HostPort) {
        remember(&self.places, replica, place);
    }
}

struct Visit {
    transport: Arc<Transport>,
    replica: IdentityKey,
    wanted: Wanted,
    messages: mpsc::Receiver<ToController>,
    answers: mpsc::Sender<Answered>,
    places: Places,
}

impl Visit {
    async fn run(mut self) {
        let dialled = dial::any(
            &self.transport,
            &self.wanted,
            Some(self.replica),
            Patience::default(),
            Carriers::default(),
        )
        .await;
        let (connected, mut channel) = match dialled {
            Ok(dialled) => dialled,
            Err(problem) => {
                tracing::debug!(replica = %self.replica, %problem, "Failed to visit a controller");
                return;
            }
        };
        tracing::debug!(controller = %connected.controller, "Visiting a controller");
        remember(&self.places, self.replica, connected.controller);
        let ended = tokio::select! {
            ended = listen(&mut channel.receiver, self.replica, channel.address, &self.answers) => ended,
            ended = speak(&mut channel.sender, &mut self.messages) => ended,
        };
        if let Err(error) = ended {
            tracing::debug!(replica = %self.replica, %error, "Visit ended");
        }
    }
}

async fn listen(
    receiver: &mut Receiver,
    replica: IdentityKey,
    address: SocketAddr,
    answers: &mpsc::Sender<Answered>,
) -> anyhow::Result<()> {
    loop {
        let answer = receiver.receive().await?;
        tracing::debug!(?answer, "A visited controller answers");
        if let Ok(message) = answer {
            let answered = Answered {
                replica,
                address,
                message,
            };
            answers.send(answered).await?;
        }
    }
}

async fn speak(
    sender: &mut Sender,
    messages: &mut mpsc::Receiver<ToController>,
) -> anyhow::Result<()> {
    while let Ok(Some(message)) = timeout(STAY, messages.recv()).await {
        sender.send(&message).await?;
    }
    messages.close();
    sender.finish().await;
    Ok(())
}

fn known_place(places: &Places, replica: &IdentityKey) -> Option<HostPort> {
    let places = places.lock().unwrap_or_else(PoisonError::into_inner);
    places.get(replica).cloned()
}

/// Only replicas that proved to be the authority's get here, so there are few.
fn remember(places: &Places, replica: IdentityKey, place: HostPort) {
    let mut places = places.lock().unwrap_or_else(PoisonError::into_inner);
    places.insert(replica, place);
}
