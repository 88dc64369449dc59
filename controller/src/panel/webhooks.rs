//! Webhooks: who is told of changes by HTTP, and whether they take it.

use axum::{
    extract::{Path, Query},
    http::StatusCode,
    response::Response,
};
use maud::{Markup, html};
use tombolo_proto::api::{CreatedWebhook, NewWebhook, Page, Webhook, WebhookPatch, WebhookTest};

use super::{
    layout::{self, Notice},
    network_choice::Networks,
    networks::Place,
    texts::Webhooks,
    visit::{Action, Fields, SignedIn},
};
use crate::api::Problem;

pub(super) mod one;

const PATH: &str = "/webhooks";

/// The list.
pub(super) async fn list(by: SignedIn, Query(place): Query<Place>) -> Result<Response, Response> {
    listed(&by, StatusCode::OK, None, &place, &Fields::default()).await
}

async fn listed(
    by: &SignedIn,
    status: StatusCode,
    notice: Option<&Notice>,
    place: &Place,
    fields: &Fields,
) -> Result<Response, Response> {
    let told = layout::told(by);
    let all = by.visitor.texts();
    let texts = &all.webhooks;
    let path = format!("{PATH}?{}", place.query().trim_start_matches('&'));
    let page: Page<Webhook> = by.api.get(&path).await.map_err(told)?;
    let networks = Networks::of(by).await.map_err(told)?;
    let content = html! {
        div.head { h1 { (texts.title) } }
        section.card data-part="webhooks" {
            p.soft { (texts.lead) }
            @if page.items.is_empty() { p { (texts.nothing) } } @else {
                table.stacked.plain {
                    thead { tr {
                        th scope="col" { (texts.url) }
                        th scope="col" { (texts.events) }
                        th scope="col" { (texts.network) }
                        th scope="col" { (all.status) }
                        th scope="col" { (all.actions) }
                    } }
                    tbody { @for webhook in &page.items { (row(by, &networks, webhook)) } }
                }
            }
            (layout::next_page(by, PATH, page.next.as_deref()))
        }
        section.card aria-labelledby="new-webhook" {
            h2 #new-webhook { (texts.new) }
            form.stack.half method="post" action=(PATH) {
                (layout::csrf(by))
                label for="url" { (texts.url) }
                input #url type="url" name="url" value=(fields.get("url")) maxlength="2048" placeholder="https://example.org/tombolo" autocomplete="off" required;
                fieldset {
                    legend { (texts.events) }
                    @for (kind, text) in kinds(texts) {
                        label.check {
                            input type="checkbox" name="event" value=(kind) checked[fields.all("event").any(|chosen| chosen == kind)];
                            (text)
                        }
                    }
                    small { (texts.events_hint) }
                }
                label for="network" { (texts.network) }
                (networks.choice("network", texts.every_network, fields.get("network")))
                button type="submit" { (texts.create) }
            }
        }
    };
    Ok(layout::page(by, status, texts.title, notice, &content))
}

/// Events as the API calls them, and what they mean.
const fn kinds(texts: &Webhooks) -> [(&'static str, &'static str); 4] {
    [
        ("changed", texts.changed),
        ("requests", texts.requests),
        ("online", texts.online),
        ("deleted", texts.deleted),
    ]
}

fn row(by: &SignedIn, networks: &Networks, webhook: &Webhook) -> Markup {
    let texts = &by.visitor.texts().webhooks;
    let at = format!("{PATH}/{}", webhook.id);
    let (verb, is_on) = match webhook.disabled_at {
        Some(_) => (texts.turn_on, "true"),
        None => (texts.turn_off, "false"),
    };
    let labelled = |word: &str| format!("{word}: {}", webhook.url);
    html! {
        tr {
            td { a.name href=(at) { code { (webhook.url) } } }
            td data-label=(texts.events) {
                @if webhook.events.is_empty() { (texts.every_event) }
                @for (kind, text) in kinds(texts) {
                    @if webhook.events.iter().any(|event| event == kind) { span.tag { (text) } " " }
                }
            }
            td data-label=(texts.network) {
                @match webhook.network { Some(id) => (networks.name(id)), None => (texts.every_network) }
            }
            td data-label=(by.visitor.texts().status) { (state(texts, webhook)) }
            td {
                div.actions {
                    form method="post" action={ (at) "/test" } {
                        (layout::csrf(by))
                        button.quiet.small type="submit" aria-label=(labelled(texts.test)) { (texts.test) }
                    }
                    a.button.quiet.small href=(at) aria-label=(labelled(texts.deliveries)) { (texts.deliveries) }
                    form method="post" action={ (at) "/enabled" } {
                        (layout::csrf(by))
                        input type="hidden" name="enabled" value=(is_on);
                        button.quiet.small type="submit" aria-label=(labelled(verb)) { (verb) }
                    }
                    (layout::ask(by, &format!("{at}/remove"), by.visitor.texts().remove, &(texts.remove)(&webhook.url)))
                }
            }
        }
    }
}

/// Whether it takes what it is told, since when not, and why.
fn state(texts: &Webhooks, webhook: &Webhook) -> Markup {
    let why = html! { @if let Some(error) = &webhook.last_error { br; small { (error) } } };
    html! {
        @match (webhook.disabled_at, webhook.failing_since) {
            (Some(since), _) => { span.state.wait { (texts.off) } " " small { (layout::moment(since)) } (why) }
            (None, Some(since)) => { span.state.wait { (texts.failing) } " " small { (layout::moment(since)) } (why) }
            (None, None) => @match webhook.delivered_at {
                Some(at) => { span.state.on { (texts.taken) } " " small { (layout::moment(at)) } }
                None => span.state { (texts.untold) },
            }
        }
        @if webhook.waiting > 0 { br; small { ((texts.waiting)(webhook.waiting)) } }
    }
}

/// Makes a webhook. Its secret is shown on the page that answers, and never again.
pub(super) async fn create(Action { by, fields }: Action) -> Result<Response, Response> {
    let new = NewWebhook {
        url: fields.get("url").trim().to_owned(),
        events: fields.all("event").map(str::to_owned).collect(),
        network: fields.filled("network"),
    };
    let created: Result<CreatedWebhook, Problem> = by.api.post(PATH, &new).await;
    match created {
        Ok(created) => {
            let notice = Notice::Secret {
                text: by.visitor.texts().webhooks.created,
                secret: created.secret,
            };
            let status = StatusCode::CREATED;
            listed(
                &by,
                status,
                Some(&notice),
                &Place::default(),
                &Fields::default(),
            )
            .await
        }
        Err(problem) => {
            let notice = Notice::of(&by.visitor, &problem);
            let place = Place::default();
            listed(&by, problem.status(), Some(&notice), &place, &fields).await
        }
    }
}

/// Sends a message that says nothing, and tells what came of it.
pub(super) async fn test(
    Path(webhook): Path<String>,
    Action { by, fields }: Action,
) -> Result<Response, Response> {
    let done = send(&by, &format!("{}/test", path(&webhook))).await;
    if fields.get("back") == "webhook" {
        return one::finish(&by, &webhook, done).await;
    }
    finish(&by, done).await
}

/// Has a message sent once, and tells what came of it.
async fn send(by: &SignedIn, path: &str) -> Result<String, Problem> {
    let texts = &by.visitor.texts().webhooks;
    let sent: WebhookTest = by.api.post(path, &()).await?;
    match sent.error {
        None => Ok(texts.test_taken.to_owned()),
        Some(error) => Err(Problem::conflict((texts.test_failed)(&error)).coded("webhook-test")),
    }
}

/// Turns it off, or on again.
pub(super) async fn enable(
    Path(webhook): Path<String>,
    Action { by, fields }: Action,
) -> Result<Response, Response> {
    let texts = &by.visitor.texts().webhooks;
    let enabled = fields.get("enabled") == "true";
    let patch = WebhookPatch {
        enabled: Some(enabled),
        ..WebhookPatch::default()
    };
    let changed: Result<Webhook, Problem> = by.api.patch(&path(&webhook), &patch).await;
    let text = if enabled {
        texts.turned_on
    } else {
        texts.turned_off
    };
    finish(&by, changed.map(|_| text.to_owned())).await
}

/// Removes it, with what it was still to be told.
pub(super) async fn remove(
    Path(webhook): Path<String>,
    Action { by, .. }: Action,
) -> Result<Response, Response> {
    let removed = by.api.delete(&path(&webhook)).await;
    let done = removed.map(|()| by.visitor.texts().webhooks.removed.to_owned());
    finish(&by, done).await
}

async fn finish(by: &SignedIn, done: Result<String, Problem>) -> Result<Response, Response> {
    match done {
        Ok(text) => Ok(layout::go(by, PATH, text)),
        Err(problem) => {
            let notice = Notice::of(&by.visitor, &problem);
            let (status, fields) = (problem.status(), Fields::default());
            listed(by, status, Some(&notice), &Place::default(), &fields).await
        }
    }
}

fn path(id: &str) -> String {
    format!("{PATH}/{}", layout::encoded(id))
}
