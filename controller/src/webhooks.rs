//! Tells webhooks what changed: takes messages out of the outbox, signs and sends them, one at a time for each webhook and
//! in order. Whoever takes one has it for a minute; if this replica ends meanwhile, another one sends it again.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{sync::broadcast::error::RecvError, task::JoinSet};
use tombolo_domain::webhook::{Outcome, is_dead, pause};
use tombolo_proto::{
    api::{Event, WebhookTest},
    id::NetworkId,
};
use ureq::Agent;

use crate::{
    publish::Registry,
    stop::Stop,
    store::{Addressed, Attempt, Delivery, Receiver, SentBefore, Store, StoreError},
};

mod message;

pub(crate) use message::secret_text;

/// How long a receiver may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the outbox is looked into without being told to, and nodes that come and go are told of together.
const LOOK: Duration = Duration::from_secs(1);
/// The event of the stream that no change of the store makes.
const ONLINE: &str = "online";

/// Sends until told to stop. What is being sent then is sent again by somebody else.
pub(crate) async fn run(store: Store, registry: Arc<Registry>, mut stop: Stop) {
    let sender = Sender::default();
    let mut events = registry.events();
    let mut due = tokio::time::interval(LOOK);
    due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut sending = JoinSet::new();
    let mut moved = BTreeSet::new();
    loop {
        tokio::select! {
            _ = due.tick() => {
                for network in std::mem::take(&mut moved) {
                    tell_of_nodes(&store, network).await;
                }
            }
            event = events.recv() => match event {
                Ok(event) if event.kind == ONLINE => {
                    moved.insert(event.network);
                    continue;
                }
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            },
            Some(_) = sending.join_next() => {}
            () = stop.wait() => return,
        }
        if store.health().down_since().is_some() {
            continue;
        }
        match store.take_deliveries().await {
            Ok(taken) => {
                for delivery in taken {
                    let (store, sender) = (store.clone(), sender.clone());
                    sending.spawn(async move { deliver(&store, &sender, &delivery).await });
                }
            }
            Err(error) if error.is_outage() => store.health().suspect(&error),
            Err(error) => tracing::error!(%error, "cannot look into the outbox, will try again"),
        }
    }
}

async fn tell_of_nodes(store: &Store, network: NetworkId) {
    let event = Event {
        network,
        revision: None,
        kind: ONLINE.to_owned(),
    };
    if let Err(error) = store.post_event(&event).await {
        tracing::debug!(%error, "webhooks are not told of nodes that came or went");
    }
}

async fn deliver(store: &Store, sender: &Sender, delivery: &Delivery) {
    if let Err(error) = try_deliver(store, sender, delivery).await {
        tracing::debug!(%error, webhook = delivery.webhook, "a message is sent again later");
    }
}

async fn try_deliver(
    store: &Store,
    sender: &Sender,
    delivery: &Delivery,
) -> Result<(), StoreError> {
    // What this replica cannot sign another one sends.
    let Addressed::At(receiver) = store.receiver(&delivery.webhook).await? else {
        return Ok(());
    };
    let body = message::body(&kind(&delivery.event), delivery.created_at, &delivery.event);
    let sent = sender.send(receiver, delivery.message.clone(), body).await;
    let error = sent.error();
    let attempt = Attempt {
        webhook: &delivery.webhook,
        message: &delivery.message,
        event: Some(&delivery.event),
        created_at: delivery.created_at,
        number: delivery.attempts + 1,
        status: sent.status(),
        error: error.as_deref(),
    };
    match sent.outcome() {
        Outcome::Taken => return store.delivered(delivery, &attempt).await,
        Outcome::Gone => store.keep_webhook_attempt(&attempt).await?,
        Outcome::Failed => {
            let pause = pause(delivery.attempts + 1, rand::random());
            let failing_for = store.put_off(delivery, pause, &attempt).await?;
            if !is_dead(failing_for) {
                return Ok(());
            }
        }
    }
    tracing::warn!(
        webhook = delivery.webhook,
        "a webhook took nothing for days, or says that it is gone: it is told nothing more until it is turned on again"
    );
    store.give_webhook_up(&delivery.webhook).await
}

/// Sends a message once: one that was sent before, or without it one that says nothing, to see whether it is taken. What
/// came of it is kept.
pub(crate) async fn send_once(
    store: &Store,
    (webhook, receiver): (&str, Receiver),
    before: Option<SentBefore>,
) -> Result<WebhookTest, StoreError> {
    let before = match before {
        Some(before) => before,
        None => SentBefore {
            message: format!("msg_{:032x}", rand::random::<u128>()),
            event: None,
            created_at: store.now().await?.0,
            attempts: 0,
        },
    };
    let body = match &before.event {
        Some(event) => message::body(&kind(event), before.created_at, event),
        None => message::body("test", before.created_at, &serde_json::json!({})),
    };
    let sent = Sender::default()
        .send(receiver, before.message.clone(), body)
        .await;
    let error = sent.error();
    let attempt = Attempt {
        webhook,
        message: &before.message,
        event: before.event.as_ref(),
        created_at: before.created_at,
        number: before.attempts + 1,
        status: sent.status(),
        error: error.as_deref(),
    };
    store.keep_webhook_attempt(&attempt).await?;
    Ok(WebhookTest {
        delivered: error.is_none(),
        status: sent.status(),
        error,
    })
}

fn kind(event: &Event) -> String {
    format!("network.{}", event.kind)
}

/// The status that a receiver answered, or why there is none.
struct Sent(Result<u16, String>);

impl Sent {
    fn outcome(&self) -> Outcome {
        self.0
            .as_ref()
            .map_or(Outcome::Failed, |status| Outcome::of_status(*status))
    }

    fn status(&self) -> Option<u16> {
        self.0.as_ref().ok().copied()
    }

    /// Why it was not taken.
    fn error(&self) -> Option<String> {
        (self.outcome() != Outcome::Taken).then(|| self.complaint())
    }

    fn complaint(&self) -> String {
        match &self.0 {
            Ok(status @ 300..=399) => {
                format!(
                    "it answered {status}: redirections are not followed, name the place itself"
                )
            }
            Ok(status) => format!("it answered {status}"),
            Err(error) => error.clone(),
        }
    }
}

/// Sends over HTTP. Redirections are not followed, so that a receiver cannot send the controller elsewhere; of the answer
/// nothing but the status is read.
#[derive(Debug, Clone)]
struct Sender(Agent);

impl Default for Sender {
    fn default() -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(PATIENCE))
            .user_agent(concat!("Tombolo/", env!("CARGO_PKG_VERSION")))
            .build();
        Self(config.into())
    }
}

impl Sender {
    async fn send(&self, receiver: Receiver, id: String, body: String) -> Sent {
        let agent = self.0.clone();
        // Receivers compare the time of the attempt with their own clocks.
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let posting = tokio::task::spawn_blocking(move || {
            let signature = message::sign(&receiver.secret, &id, now, &body);
            agent
                .post(&receiver.url)
                .header("content-type", "application/json")
                .header("webhook-id", id)
                .header("webhook-timestamp", now.to_string())
                .header("webhook-signature", signature)
                .send(body)
                .map(|response| response.status().as_u16())
                .map_err(|error| error.to_string())
        });
        Sent(
            posting
                .await
                .unwrap_or_else(|_| Err("the controller failed".to_owned())),
        )
    }
}
