//! `controller webhook`

use tombolo_proto::api::{
    CreatedWebhook, NewWebhook, Webhook, WebhookDelivery, WebhookPatch, WebhookTest,
};

use super::{
    Client, Failure, Output,
    table::{Table, joined},
};
use crate::{cli::WebhookVerb, moment};

pub(super) fn run(verb: &WebhookVerb, client: &Client, out: &Output) -> Result<(), Failure> {
    match verb {
        WebhookVerb::Create {
            to,
            events,
            network,
        } => {
            let network = match network {
                Some(text) => Some(client.network(text)?.id.to_string()),
                None => None,
            };
            let body = NewWebhook {
                url: to.clone(),
                events: events.clone(),
                network,
            };
            let created: CreatedWebhook = client.post("/webhooks", &body)?;
            out.object(&created, |created| {
                format!("webhook  {}\nsecret   {}", created.id, created.secret)
            });
        }
        WebhookVerb::Ls => out.list(&client.all("/webhooks")?, table),
        WebhookVerb::Set { id, to, enabled } => {
            let body = WebhookPatch {
                url: to.clone(),
                enabled: *enabled,
                events: None,
            };
            let changed: Webhook = client.patch(&format!("/webhooks/{id}"), &body)?;
            out.list(&[changed], table);
        }
        WebhookVerb::Rm { id } => {
            client.delete(&format!("/webhooks/{id}"))?;
            out.done(&format!("webhook {id} deleted"));
        }
        WebhookVerb::Test { id } => send(&format!("/webhooks/{id}/test"), client, out)?,
        WebhookVerb::Deliveries { id } => {
            let attempts: Vec<WebhookDelivery> =
                client.all(&format!("/webhooks/{id}/deliveries"))?;
            out.list(&attempts, deliveries);
        }
        WebhookVerb::Resend { id, delivery } => {
            let path = format!("/webhooks/{id}/deliveries/{delivery}/resend");
            send(&path, client, out)?;
        }
    }
    Ok(())
}

/// Has a message sent once, and tells whether it was taken.
fn send(path: &str, client: &Client, out: &Output) -> Result<(), Failure> {
    let sent: WebhookTest = client.post(path, &serde_json::json!({}))?;
    if let Some(error) = sent.error.as_ref().filter(|_| !sent.delivered) {
        return Err(Failure::Other(format!(
            "the message was not taken: {error}; check the URL, and that the receiver runs"
        )));
    }
    out.object(&sent, |_| "the message was taken".to_owned());
    Ok(())
}

fn deliveries(attempts: &[WebhookDelivery]) -> Table {
    Table::new(
        [
            "ID", "AT", "EVENT", "NETWORK", "ATTEMPT", "STATE", "MESSAGE",
        ],
        attempts.iter().map(|attempt| {
            let event = attempt.event.as_ref();
            [
                attempt.id.clone(),
                moment::utc(attempt.at),
                event.map_or_else(|| "test".to_owned(), |event| event.kind.clone()),
                event.map_or_else(|| "-".to_owned(), |event| event.network.to_string()),
                attempt.attempt.to_string(),
                attempt
                    .error
                    .as_ref()
                    .map_or_else(|| "taken".to_owned(), |error| format!("not taken: {error}")),
                attempt.message.clone(),
            ]
        }),
    )
}

fn table(webhooks: &[Webhook]) -> Table {
    let time = |at: Option<u64>| at.map_or_else(|| "-".to_owned(), moment::utc);
    Table::new(
        [
            "ID",
            "URL",
            "EVENTS",
            "NETWORK",
            "WAITING",
            "DELIVERED",
            "STATE",
        ],
        webhooks.iter().map(|webhook| {
            [
                webhook.id.clone(),
                webhook.url.clone(),
                if webhook.events.is_empty() {
                    "all".to_owned()
                } else {
                    joined(&webhook.events)
                },
                webhook
                    .network
                    .map_or_else(|| "all".to_owned(), |id| id.to_string()),
                webhook.waiting.to_string(),
                time(webhook.delivered_at),
                state(webhook),
            ]
        }),
    )
}

fn state(webhook: &Webhook) -> String {
    let error = webhook.last_error.as_deref().unwrap_or_default();
    match (webhook.disabled_at, webhook.failing_since) {
        (Some(at), _) => format!("off since {} {error}", moment::utc(at)),
        (None, Some(at)) => format!("failing since {}: {error}", moment::utc(at)),
        (None, None) => "on".to_owned(),
    }
}
