//! The connection to an authority's controllers: any one of them, the next if it dies.
//!
//! One task per authority. It only carries messages; what they mean is decided by the daemon and the engine.

pub mod carriers;
mod dial;
pub mod patience;
pub mod transport;
pub mod trust;
pub mod visits;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rand::Rng as _;
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep},
};
use tombolo_proto::{
    config::Keyring,
    control::{Capabilities, ToController, ToNode},
    id::NodeId,
    key::IdentityKey,
    link::HostPort,
    signed::Signed,
};

use carriers::{Carrier, Carriers};
pub use dial::Problem;
use patience::Patience;
use transport::{Channel, Receiver, Sender, Transport};
use trust::Trust;

/// First pause between attempts; doubled each time.
const BACKOFF_MIN: Duration = Duration::from_millis(500);
/// Longest pause: a controller that comes back is found within it.
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// A connection that lived this long was a good one: its end says nothing about the next one.
const STABLE: Duration = Duration::from_secs(10);
/// All nodes of a dead controller come to the others within this time, not at once.
const SPREAD: Duration = Duration::from_millis(250);
/// How long a last message may take to arrive when the node stops or leaves.
const GOODBYE: Duration = Duration::from_secs(1);

/// Whom to connect to. Any change ends the current pause between attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Control addresses, in order of preference.
    pub controllers: Vec<HostPort>,
    /// What is known of the authority.
    pub trust: Trust,
    /// Raised to ask for an attempt at once.
    pub nudges: u64,
}

/// A connection whose other end is the authority's.
#[derive(Debug)]
pub struct Connected {
    /// As it was asked for.
    pub controller: HostPort,
    /// The replica's key.
    pub replica: IdentityKey,
    /// The authority's root key.
    pub root: IdentityKey,
    /// The newest that is known; checked.
    pub keyring: Signed<Keyring>,
    /// Where it was reached.
    pub address: SocketAddr,
    /// By what.
    pub carrier: Carrier,
}

/// What happened on the way to an authority.
#[derive(Debug)]
pub enum SyncEvent {
    /// A controller is there.
    Connected(Box<Connected>),
    /// It says something.
    Message(Box<ToNode>),
    /// It is gone.
    Lost,
    /// No controller could be used; tried again by itself.
    Failed(Problem),
}

/// The task that keeps one authority's connection. Dropping it ends the connection.
#[derive(Debug)]
pub struct AuthorityLink {
    wanted: watch::Sender<Wanted>,
    outbox: mpsc::UnboundedSender<ToController>,
    hang_up: Arc<Notify>,
    task: JoinHandle<()>,
}

impl AuthorityLink {
    /// Starts to connect.
    #[must_use]
    pub fn start(
        transport: Arc<Transport>,
        authority: NodeId,
        wanted: Wanted,
        events: mpsc::Sender<(NodeId, SyncEvent)>,
    ) -> Self {
        let (wanted_sender, wanted) = watch::channel(wanted);
        // The daemon is the only writer and says little; a bound would only add a way to lose a message.
        let (outbox_sender, outbox) = mpsc::unbounded_channel();
        let hang_up = Arc::new(Notify::new());
        let link = Link {
            transport,
            authority,
            wanted,
            outbox,
            hang_up: Arc::clone(&hang_up),
            events,
        };
        Self {
            wanted: wanted_sender,
            outbox: outbox_sender,
            hang_up,
            task: tokio::spawn(link.run()),
        }
    }

    /// Sends a message over the present connection; between connections it is dropped.
    pub fn send(&self, message: ToController) {
        let _ = self.outbox.send(message);
    }

    /// Ends the present connection, to find another controller: this one is asked last.
    pub fn hang_up(&self) {
        self.hang_up.notify_one();
    }

    /// Changes whom to connect to, for the next attempt.
    pub fn want(&self, change: impl FnOnce(&mut Wanted)) {
        self.wanted.send_if_modified(|wanted| {
            let before = wanted.clone();
            change(wanted);
            *wanted != before
        });
    }

    /// Lets what was sent arrive, then ends.
    pub async fn close(self) {
        let Self {
            wanted,
            outbox,
            mut task,
            ..
        } = self;
        drop((wanted, outbox));
        if tokio::time::timeout(GOODBYE, &mut task).await.is_err() {
            task.abort();
        }
    }
}

/// Why a connection ended.
enum Ended {
    /// The daemon has no more to say.
    Here,
    /// The controller closed it, or it was given up for another one.
    There,
    /// Nothing came from the controller for too long.
    Silent,
    /// TCP had to do, and UDP passes again.
    UdpIsBack,
}

struct Link {
    transport: Arc<Transport>,
    authority: NodeId,
    wanted: watch::Receiver<Wanted>,
    outbox: mpsc::UnboundedReceiver<ToController>,
    hang_up: Arc<Notify>,
    events: mpsc::Sender<(NodeId, SyncEvent)>,
}

impl Link {
    async fn run(mut self) {
        let mut pause = BACKOFF_MIN;
        let mut patience = Patience::default();
        let mut carriers = Carriers::default();
        let mut lost = None;
        loop {
            let mut wanted = self.wanted.borrow_and_update().clone();
            // Whoever has just gone is asked last.
            wanted
                .controllers
                .sort_by_key(|controller| Some(controller) == lost.as_ref());
            let mut moves_on = false;
            let keyring = wanted.trust.keyring.as_ref();
            let is_alone = keyring.is_some_and(|keyring| keyring.replicas.len() == 1);
            // What is wanted may change while nobody answers: a fresh join starts over at once.
            let dialled = tokio::select! {
                dialled = dial::any(&self.transport, &wanted, None, patience.with(is_alone), carriers) => dialled,
                changed = self.wanted.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
            };
            match dialled {
                Ok((connected, channel)) => {
                    let since = Instant::now();
                    let carrier = channel.carrier();
                    carriers.handle_connected(carrier);
                    lost = Some(connected.controller.clone());
                    let ended = self.serve(connected, channel, &mut carriers).await;
                    let is_silent = matches!(ended, Ended::Silent);
                    carriers.handle_ended(carrier, since.elapsed(), is_silent);
                    match ended {
                        Ended::Here => return,
                        Ended::Silent => patience.handle_lost(Instant::now().into_std()),
                        Ended::There => {}
                        Ended::UdpIsBack => {
                            lost = None;
                            continue;
                        }
                    }
                    if since.elapsed() >= STABLE {
                        pause = BACKOFF_MIN;
                        moves_on = wanted.controllers.len() > 1;
                    }
                }
                Err(problem) => {
                    tracing::debug!(authority = %self.authority, %problem, "No controller");
                    self.tell(SyncEvent::Failed(problem)).await;
                }
            }
            let spread = if moves_on {
                Duration::ZERO..=SPREAD
            } else {
                pause / 2..=pause
            };
            let jittered = rand::rng().random_range(spread);
            tokio::select! {
                () = sleep(jittered) => pause = (pause * 2).min(BACKOFF_MAX),
                changed = self.wanted.changed() => match changed {
                    Ok(()) => pause = BACKOFF_MIN,
                    Err(_) => return,
                },
            }
        }
    }

    /// Carries messages until the connection or the daemon ends.
    async fn serve(
        &mut self,
        connected: Connected,
        mut channel: Channel,
        carriers: &mut Carriers,
    ) -> Ended {
        let over_tcp = (channel.carrier() == Carrier::Tcp).then_some(channel.address);
        while self.outbox.try_recv().is_ok() {}
        let (answers, mut unknown) = mpsc::unbounded_channel();
        self.tell(SyncEvent::Connected(Box::new(connected))).await;
        let ours = ToController::Capabilities(Capabilities::OURS);
        if let Err(error) = channel.sender.send(&ours).await {
            tracing::debug!(authority = %self.authority, %error, "Control connection ended");
        }
        let inbound = receive_all(&mut channel.receiver, &self.events, self.authority, answers);
        let outbound = send_all(&mut channel.sender, &mut self.outbox, &mut unknown);
        tokio::select! {
            error = inbound => tracing::debug!(authority = %self.authority, %error, "Control connection ended"),
            ended = outbound => match ended {
                Ok(()) => return Ended::Here,
                Err(error) => tracing::debug!(authority = %self.authority, %error, "Control connection ended"),
            },
            () = udp_is_back(&self.transport, over_tcp, carriers) => {
                tracing::debug!(authority = %self.authority, "UDP to a controller passes again");
                self.tell(SyncEvent::Lost).await;
                return Ended::UdpIsBack;
            }
            () = self.hang_up.notified() => tracing::debug!(authority = %self.authority, "Gave the control connection up"),
        }
        self.tell(SyncEvent::Lost).await;
        if channel.fell_silent() {
            Ended::Silent
        } else {
            Ended::There
        }
    }

    async fn tell(&self, event: SyncEvent) {
        // Without a daemon to tell there is nothing left to do but end, which the next wait does.
        let _ = self.events.send((self.authority, event)).await;
    }
}

/// Waits until a controller that was reached over TCP answers over UDP. One that was reached over UDP is waited for in vain.
async fn udp_is_back(transport: &Transport, over_tcp: Option<SocketAddr>, carriers: &mut Carriers) {
    let Some(address) = over_tcp else {
        return std::future::pending().await;
    };
    loop {
        sleep(carriers.next_try()).await;
        if transport.answers_over_udp(address).await {
            return carriers.handle_udp_back();
        }
    }
}

async fn receive_all(
    receiver: &mut Receiver,
    events: &mpsc::Sender<(NodeId, SyncEvent)>,
    authority: NodeId,
    answers: mpsc::UnboundedSender<ToController>,
) -> anyhow::Error {
    loop {
        match receiver.receive().await {
            Ok(Ok(message)) => {
                if events
                    .send((authority, SyncEvent::Message(Box::new(message))))
                    .await
                    .is_err()
                {
                    return anyhow::anyhow!("the daemon stops");
                }
            }
            Ok(Err(variant)) => {
                let _ = answers.send(ToController::Unsupported { variant });
            }
            Err(error) => return error,
        }
    }
}

/// Ends without error when the daemon has no more to say.
async fn send_all(
    sender: &mut Sender,
    outbox: &mut mpsc::UnboundedReceiver<ToController>,
    answers: &mut mpsc::UnboundedReceiver<ToController>,
) -> anyhow::Result<()> {
    loop {
        let next = tokio::select! {
            message = outbox.recv() => message,
            Some(answer) = answers.recv() => Some(answer),
        };
        let Some(message) = next else {
            sender.finish().await;
            return Ok(());
        };
        sender.send(&message).await?;
    }
}
