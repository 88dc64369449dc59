//! `/api/v1/webhooks`

use axum::{
    extract::State,
    http::{StatusCode, Uri},
    response::{IntoResponse as _, Response},
};
use tombolo_proto::api::{
    CreatedWebhook, NewWebhook, Page, Webhook, WebhookDelivery, WebhookPatch, WebhookTest,
};

use super::{
    ApiState, Problem,
    etag::{self, IfMatch},
    extract::{Json, Paging, Params},
    once::{Answer, Once},
    views,
};
use crate::{
    auth::Admin,
    networks::ChangeError,
    store::{Addressed, FreshWebhook, MAX_WEBHOOKS, Receiver, WebhookChange, WebhookChanged},
    token, webhooks,
};

/// What the stream of events tells.
const EVENTS: [&str; 4] = ["changed", "requests", "deleted", "online"];
/// Longest URL, in bytes.
const LONGEST_URL: usize = 2048;
/// As long as the digest that it is for.
const SECRET: usize = 32;

/// Lists webhooks, without their secrets.
#[utoipa::path(get, operation_id = "list_webhooks", path = "/api/v1/webhooks", tag = "webhooks", params(Paging),
    responses((status = 200, body = Page<Webhook>)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    _admin: Admin,
    paging: Paging,
) -> Result<axum::Json<Page<Webhook>>, Problem> {
    let items = state.store.webhooks(paging.after(), paging.fetch()).await?;
    Ok(paging.page(items, |webhook| webhook.id.clone()))
}

/// Creates a webhook: from now on each event is sent there, signed as Standard Webhooks has it, until it is taken.
#[utoipa::path(post, operation_id = "create_webhook", path = "/api/v1/webhooks", tag = "webhooks", request_body = NewWebhook,
    responses((status = 201, body = CreatedWebhook)))]
pub(super) async fn create(
    State(state): State<ApiState>,
    Admin(actor): Admin,
    once: Once,
    Json(new): Json<NewWebhook>,
) -> Result<Response, Problem> {
    let url = check_url(&new.url)?;
    let kinds = check_events(new.events)?;
    let network = new.network.as_deref().map(views::network_id).transpose()?;
    if let Some(network) = network {
        state.networks.get(network).await?;
    }
    let (id, secret) = (token::id(), rand::random::<[u8; SECRET]>());
    let answer = Answer::created(&CreatedWebhook {
        id: id.clone(),
        secret: webhooks::secret_text(&secret),
    })
    .at(format!("/api/v1/webhooks/{id}"));
    let fresh = FreshWebhook {
        id: &id,
        url,
        secret: &secret,
        kinds: &kinds,
        network,
    };
    let kept = once.keep(&answer);
    if state
        .store
        .add_webhook(&fresh, &actor, kept.as_ref())
        .await?
    {
        Ok(answer.into_response())
    } else {
        Err(Problem::conflict(format!(
            "there are {MAX_WEBHOOKS} webhooks already: delete one first"
        )))
    }
}

/// Shows a webhook.
#[utoipa::path(get, operation_id = "show_webhook", path = "/api/v1/webhooks/{webhook}", tag = "webhooks",
    params(("webhook" = String, Path)), responses((status = 200, body = Webhook)))]
pub(super) async fn show(
    State(state): State<ApiState>,
    _admin: Admin,
    Params(id): Params<String>,
) -> Result<Response, Problem> {
    let webhook = state.store.webhook(&id).await?.ok_or_else(unknown)?;
    Ok(tagged(&webhook))
}

/// Changes a webhook, or turns it off, or on again.
#[utoipa::path(patch, operation_id = "update_webhook", path = "/api/v1/webhooks/{webhook}", tag = "webhooks",
    params(("webhook" = String, Path)), request_body = WebhookPatch, responses((status = 200, body = Webhook)))]
pub(super) async fn update(
    State(state): State<ApiState>,
    Admin(actor): Admin,
    Params(id): Params<String>,
    if_match: IfMatch,
    Json(patch): Json<WebhookPatch>,
) -> Result<Response, Problem> {
    let kinds = patch.events.map(check_events).transpose()?;
    let change = WebhookChange {
        url: patch.url.as_deref().map(check_url).transpose()?,
        kinds: kinds.as_deref(),
        enabled: patch.enabled,
    };
    let expected = |webhook: &Webhook| if_match.admits(&configured(webhook));
    let store = &state.store;
    let changed = store.change_webhook(&id, &change, &expected, &actor);
    Ok(tagged(&done(changed.await?)?))
}

/// Deletes a webhook with what it was still to be told.
#[utoipa::path(delete, operation_id = "delete_webhook", path = "/api/v1/webhooks/{webhook}", tag = "webhooks",
    params(("webhook" = String, Path)), responses((status = 204)))]
pub(super) async fn remove(
    State(state): State<ApiState>,
    Admin(actor): Admin,
    Params(id): Params<String>,
    if_match: IfMatch,
) -> Result<StatusCode, Problem> {
    let expected = |webhook: &Webhook| if_match.admits(&configured(webhook));
    done(state.store.remove_webhook(&id, &expected, &actor).await?)?;
    Ok(StatusCode::NO_CONTENT)
}

/// A webhook as it is configured, without how its messages fare.
fn configured(webhook: &Webhook) -> Webhook {
    Webhook {
        delivered_at: None,
        failing_since: None,
        last_error: None,
        waiting: 0,
        ..webhook.clone()
    }
}

fn tagged(webhook: &Webhook) -> Response {
    etag::tagged(&etag::of(&configured(webhook)), webhook)
}

fn done(changed: WebhookChanged) -> Result<Webhook, Problem> {
    match changed {
        WebhookChanged::Done(webhook) => Ok(webhook),
        WebhookChanged::Unknown => Err(unknown()),
        WebhookChanged::Stale => Err(ChangeError::Stale.into()),
    }
}

/// Sends a message that says nothing, at once and once, and tells whether it was taken.
#[utoipa::path(post, operation_id = "test_webhook", path = "/api/v1/webhooks/{webhook}/test", tag = "webhooks",
    params(("webhook" = String, Path)), responses((status = 200, body = WebhookTest)))]
pub(super) async fn test(
    State(state): State<ApiState>,
    _admin: Admin,
    Params(id): Params<String>,
) -> Result<axum::Json<WebhookTest>, Problem> {
    let receiver = receiver(&state, &id).await?;
    let sent = webhooks::send_once(&state.store, (&id, receiver), None).await?;
    Ok(axum::Json(sent))
}

/// Lists the last 20 attempts to send something to a webhook, the newest first.
#[utoipa::path(get, operation_id = "list_webhook_deliveries", path = "/api/v1/webhooks/{webhook}/deliveries", tag = "webhooks",
    params(("webhook" = String, Path)), responses((status = 200, body = Page<WebhookDelivery>)))]
pub(super) async fn deliveries(
    State(state): State<ApiState>,
    _admin: Admin,
    Params(id): Params<String>,
) -> Result<axum::Json<Page<WebhookDelivery>>, Problem> {
    state.store.webhook(&id).await?.ok_or_else(unknown)?;
    let items = state.store.webhook_attempts(&id).await?;
    Ok(axum::Json(Page { items, next: None }))
}

/// Sends the message of a listed attempt again, at once and once, and tells whether it was taken. It has the id that it had
/// before.
#[utoipa::path(post, operation_id = "resend_webhook_delivery", path = "/api/v1/webhooks/{webhook}/deliveries/{delivery}/resend", tag = "webhooks",
    params(("webhook" = String, Path), ("delivery" = String, Path)), responses((status = 200, body = WebhookTest)))]
pub(super) async fn resend(
    State(state): State<ApiState>,
    _admin: Admin,
    Params((id, delivery)): Params<(String, String)>,
) -> Result<axum::Json<WebhookTest>, Problem> {
    let receiver = receiver(&state, &id).await?;
    let unknown = || {
        Problem::not_found(
            "no such delivery of this webhook is kept: list its deliveries to see their ids",
        )
    };
    let number = delivery.parse().map_err(|_| unknown())?;
    let before = state.store.sent_before(&id, number).await?;
    let before = before.ok_or_else(unknown)?;
    let sent = webhooks::send_once(&state.store, (&id, receiver), Some(before)).await?;
    Ok(axum::Json(sent))
}

async fn receiver(state: &ApiState, id: &str) -> Result<Receiver, Problem> {
    match state.store.receiver(id).await? {
        Addressed::At(receiver) => Ok(receiver),
        Addressed::Sealed => Err(Problem::conflict(
            "the secret of this webhook is sealed with a key that this controller does not have: start it with --secret-key-file, or make the webhook anew",
        )
        .coded("webhook-sealed")),
        Addressed::Unknown => Err(unknown()),
    }
}

fn check_url(text: &str) -> Result<&str, Problem> {
    let fits = |uri: Uri| {
        let scheme = uri
            .scheme_str()
            .is_some_and(|s| s == "https" || s == "http");
        let place = uri.authority().is_some_and(|authority| {
            !authority.host().is_empty() && !authority.as_str().contains('@')
        });
        scheme && place
    };
    if text.len() <= LONGEST_URL && text.parse().is_ok_and(fits) {
        Ok(text)
    } else {
        Err(Problem::invalid(
            "url must be a http or https URL without user and password, of at most 2048 characters",
        ))
    }
}

fn check_events(mut events: Vec<String>) -> Result<Vec<String>, Problem> {
    if !events.iter().all(|kind| EVENTS.contains(&kind.as_str())) {
        return Err(Problem::invalid(format!(
            "events may hold: {}; leave them out for all",
            EVENTS.join(", ")
        )));
    }
    events.sort_unstable();
    events.dedup();
    Ok(events)
}

fn unknown() -> Problem {
    Problem::not_found("there is no such webhook: list webhooks to see their ids")
}
