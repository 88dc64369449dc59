//! The audit log.

use axum::{extract::Query, http::StatusCode, response::Response};
use maud::{Markup, html};
use serde::Deserialize;
use tombolo_proto::api::{AuditEntry, AuditHead, Page};

use super::{layout, network_choice::Networks, visit::SignedIn};

const PATH: &str = "/audit";
/// Rows of a page.
const ROWS: u32 = 100;

/// Which lines are shown.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Filter {
    #[serde(default)]
    actor: String,
    #[serde(default)]
    action: String,
    #[serde(default)]
    network: String,
    #[serde(default)]
    after: String,
}

impl Filter {
    /// As a query, of the API and of this page alike.
    fn query(&self, after: &str) -> String {
        let fields = [
            ("actor", self.actor.trim()),
            ("action", self.action.trim()),
            ("network", self.network.trim()),
            ("after", after),
        ];
        let filled = fields.into_iter().filter(|(_, value)| !value.is_empty());
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(filled)
            .finish()
    }
}

/// The page.
pub(super) async fn show(by: SignedIn, Query(filter): Query<Filter>) -> Result<Response, Response> {
    let all = by.visitor.texts();
    let texts = &all.audit;
    let query = filter.query(&filter.after);
    let path = format!("{PATH}?limit={ROWS}&order=newest&{query}");
    let page: Page<AuditEntry> = by.api.get(&path).await.map_err(layout::told(&by))?;
    let head: AuditHead = by.api.get("/audit/head").await.map_err(layout::told(&by))?;
    let networks = Networks::of(&by).await.map_err(layout::told(&by))?;
    let content = html! {
        div.head { h1 { (texts.title) } }
        section.card {
            p.soft {
                (texts.lead)
                @if head.forgotten_id > 0 { " " ((texts.forgotten)(head.forgotten_id)) }
            }
            form.row method="get" action=(PATH) role="search" {
                (field("actor", texts.actor, &filter.actor, "user alice"))
                (field("action", texts.action, &filter.action, "member.authorize"))
                (field("network", all.network_id, &filter.network, ""))
                button.quiet type="submit" { (all.filter) }
            }
            div data-part="audit" {
                @if page.items.is_empty() { p { (texts.nothing) } } @else {
                    table.stacked.plain {
                        thead { tr {
                            th scope="col" { (texts.time) }
                            th scope="col" { (texts.actor) }
                            th scope="col" { (texts.action) }
                            th scope="col" { (texts.network) }
                            th scope="col" { (texts.subject) }
                            th scope="col" { (texts.change) }
                        } }
                        tbody { @for entry in &page.items { (row(&by, &networks, entry)) } }
                    }
                }
            }
            @if let Some(next) = &page.next {
                p { a.button.quiet href={ (PATH) "?" (filter.query(next)) } rel="next" { (all.next_page) } }
            }
        }
    };
    Ok(layout::page(
        &by,
        StatusCode::OK,
        texts.title,
        None,
        &content,
    ))
}

fn field(name: &str, label: &str, value: &str, hint: &str) -> Markup {
    html! {
        div.field {
            label for=(name) { (label) }
            input id=(name) name=(name) value=(value) placeholder=(hint) autocomplete="off";
        }
    }
}

fn row(by: &SignedIn, networks: &Networks, entry: &AuditEntry) -> Markup {
    let texts = &by.visitor.texts().audit;
    html! {
        tr {
            td data-label=(texts.time) { (layout::moment(entry.at)) }
            td data-label=(texts.actor) { (entry.actor) }
            td data-label=(texts.action) { code { (entry.action) } }
            td data-label=(texts.network) { @if let Some(network) = entry.network { a href={ "/networks/" (network) } title=(network) { (networks.name(network)) } } }
            td.long data-label=(texts.subject) { (entry.subject) @if let Some(source) = source(entry) { " " small { ((texts.from)(source)) } } }
            td data-label=(texts.change) { (change(by, entry)) }
        }
    }
}

/// The address that somebody signed in from, or tried to.
fn source(entry: &AuditEntry) -> Option<&str> {
    entry.after.as_ref()?.get("source")?.as_str()
}

fn change(by: &SignedIn, entry: &AuditEntry) -> Markup {
    let texts = &by.visitor.texts().audit;
    let states = [(texts.before, &entry.before), (texts.after, &entry.after)];
    html! {
        @if states.iter().any(|(_, state)| state.is_some()) {
            details {
                summary { (texts.change) span.hidden { " " (entry.id) } }
                @for (label, state) in states {
                    @if let Some(state) = state { p { small { (label) } } pre tabindex="0" { (format!("{state:#}")) } }
                }
            }
        }
    }
}
