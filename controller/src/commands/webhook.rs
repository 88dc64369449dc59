//! `controller webhook`

use tombolo_proto::api::{CreatedWebhook, NewWebhook, Webhook, WebhookPatch, WebhookTest};

use super::{
    Client, Failure, Output,
    table::{Table, joined},
};
use crate::cli::WebhookVerb;

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
        WebhookVerb::Test { id } => {
            let nothing = serde_json::json!({});
            let tested: WebhookTest = client.post(&format!("/webhooks/{id}/test"), &nothing)?;
            if let Some(error) = tested.error.as_ref().filter(|_| !tested.delivered) {
                return Err(Failure::Other(format!(
                    "the message was not taken: {error}; check the URL, and that the receiver runs"
                )));
            }
            out.object(&tested, |_| "the message was taken".to_owned());
        }
    }
    Ok(())
}

fn table(webhooks: &[Webhook]) -> Table {
    let time = |at: Option<u64>| at.map_or_else(|| "-".to_owned(), |at| at.to_string());
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
        (Some(at), _) => format!("off since {at} {error}"),
        (None, Some(at)) => format!("failing since {at}: {error}"),
        (None, None) => "on".to_owned(),
    }
}
