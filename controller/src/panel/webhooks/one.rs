//! The page of one webhook: what was sent to it last, and what came of that.

use axum::{extract::Path, http::StatusCode, response::Response};
use maud::{Markup, html};
use tombolo_proto::api::{Page, Webhook, WebhookDelivery};

use super::{PATH, path, send, state};
use crate::{
    api::Problem,
    panel::{
        layout::{self, Notice},
        network_choice::Networks,
        visit::{Action, SignedIn},
    },
};

/// The page.
pub(in crate::panel) async fn show(
    by: SignedIn,
    Path(webhook): Path<String>,
) -> Result<Response, Response> {
    shown(&by, &webhook, StatusCode::OK, None).await
}

async fn shown(
    by: &SignedIn,
    id: &str,
    status: StatusCode,
    notice: Option<&Notice>,
) -> Result<Response, Response> {
    let told = layout::told(by);
    let all = by.visitor.texts();
    let texts = &all.webhooks;
    let at = path(id);
    let webhook: Webhook = by.api.get(&at).await.map_err(told)?;
    let deliveries: Result<Page<WebhookDelivery>, Problem> =
        by.api.get(&format!("{at}/deliveries")).await;
    let deliveries = deliveries.map_err(told)?.items;
    let networks = Networks::of(by).await.map_err(told)?;
    let content = html! {
        (layout::way_back(PATH, texts.title))
        div.head data-part="webhook-head" data-links="5" {
            h1.long { (webhook.url) }
            div { span { (state(texts, &webhook)) } }
        }
        section.card aria-labelledby="deliveries" {
            div.head {
                h2 #deliveries { (texts.deliveries) }
                form method="post" action={ (at) "/test" } {
                    (layout::csrf(by))
                    input type="hidden" name="back" value="webhook";
                    button.small type="submit" { (texts.send_test) }
                }
            }
            p.soft { (texts.deliveries_lead) }
            div data-part="deliveries" {
                @if deliveries.is_empty() { p { (texts.untold) } } @else {
                    table.stacked.plain {
                        thead { tr {
                            th scope="col" { (all.audit.time) }
                            th scope="col" { (texts.events) }
                            th scope="col" { (texts.network) }
                            th scope="col" { (texts.attempt) }
                            th scope="col" { (all.status) }
                            th scope="col" { (all.actions) }
                        } }
                        tbody { @for delivery in &deliveries { (row(by, &networks, &at, delivery)) } }
                    }
                }
            }
        }
    };
    Ok(layout::page(by, status, texts.title, notice, &content))
}

fn row(by: &SignedIn, networks: &Networks, at: &str, delivery: &WebhookDelivery) -> Markup {
    let all = by.visitor.texts();
    let texts = &all.webhooks;
    let event = delivery.event.as_ref();
    let kind = event.map_or("test", |event| event.kind.as_str());
    let named = super::kinds(texts)
        .into_iter()
        .find(|(word, _)| *word == kind);
    let label = format!("{}: {}", texts.send_again, delivery.message);
    html! {
        tr {
            td { (layout::moment(delivery.at)) br; code.soft { (delivery.message) } }
            td data-label=(texts.events) { (named.map_or(texts.test, |(_, text)| text)) }
            td data-label=(texts.network) { @if let Some(event) = event { (networks.name(event.network)) } }
            td data-label=(texts.attempt) { (delivery.attempt) }
            td data-label=(all.status) {
                @if delivery.delivered { span.state.on { (texts.taken) } } @else { span.state.wait { (texts.not_taken) } }
                @match (&delivery.error, delivery.status) {
                    (Some(error), _) => { br; small.long { (error) } }
                    (None, Some(status)) => { " " small { (status) } }
                    (None, None) => {}
                }
            }
            td {
                form method="post" action={ (at) "/deliveries/" (delivery.id) "/resend" } {
                    (layout::csrf(by))
                    button.quiet.small type="submit" aria-label=(label) { (texts.send_again) }
                }
            }
        }
    }
}

/// Sends a message again, and tells what came of it.
pub(in crate::panel) async fn resend(
    Path((webhook, delivery)): Path<(String, String)>,
    Action { by, .. }: Action,
) -> Result<Response, Response> {
    let delivery = layout::encoded(&delivery);
    let resend = format!("{}/deliveries/{delivery}/resend", path(&webhook));
    let done = send(&by, &resend).await;
    finish(&by, &webhook, done).await
}

/// The page again, which tells what was done.
pub(super) async fn finish(
    by: &SignedIn,
    webhook: &str,
    done: Result<String, Problem>,
) -> Result<Response, Response> {
    match done {
        Ok(text) => Ok(layout::go(by, &path(webhook), text)),
        Err(problem) => {
            let notice = Notice::of(&by.visitor, &problem);
            shown(by, webhook, problem.status(), Some(&notice)).await
        }
    }
}
