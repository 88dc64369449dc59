//! The page of a network: how to join it, its members, routes, join tokens and settings.

use axum::{
    extract::{Path, Query},
    http::StatusCode,
    response::Response,
};
use maud::{Markup, html};
use tombolo_proto::{
    api::{AccessRules, JoinToken, Network, NetworkRelays, NetworkSummary, Page, Role},
    id::NetworkId,
    rules::Action as Verdict,
};

use super::{
    join_tokens,
    layout::{self, Notice},
    members::{self, Filter},
    networks, qr,
    ranges::{self, Range},
    relays, routes, rules, settings,
    undo::Done,
    visit::{Action, Fields, SignedIn},
};
use crate::api::Problem;

/// The page.
pub(super) async fn show(
    by: SignedIn,
    Path(id): Path<String>,
    Query(filter): Query<Filter>,
) -> Result<Response, Response> {
    shown(&by, &id, StatusCode::OK, None, &filter).await
}

/// The page again, with what went wrong.
pub(super) async fn failed(
    by: &SignedIn,
    id: &str,
    problem: &Problem,
) -> Result<Response, Response> {
    let notice = Notice::of(&by.visitor, problem);
    shown(by, id, problem.status(), Some(&notice), &Filter::default()).await
}

/// What came of an action: the page, which tells it.
pub(super) async fn after(
    by: &SignedIn,
    id: &str,
    done: Result<impl Into<Done>, Problem>,
) -> Result<Response, Response> {
    match done {
        Ok(done) => Ok(layout::go(by, &path(id), done)),
        Err(problem) => failed(by, id, &problem).await,
    }
}

/// Where the page is. Ids come from addresses, so they may be anything.
pub(super) fn path(id: &str) -> String {
    format!("/networks/{}", layout::encoded(id))
}

/// The page with a message and any status.
pub(super) async fn shown(
    by: &SignedIn,
    id: &str,
    status: StatusCode,
    notice: Option<&Notice>,
    filter: &Filter,
) -> Result<Response, Response> {
    let told = layout::told(by);
    let content = Content::load(by, id, filter).await.map_err(told)?;
    Ok(layout::page(
        by,
        status,
        &content.network.name,
        notice,
        &content.markup(by, filter),
    ))
}

struct Content {
    network: Network,
    summary: NetworkSummary,
    members: members::Listed,
    relays: NetworkRelays,
    tokens: Vec<JoinToken>,
    ranges: Vec<Range>,
    rules: AccessRules,
}

impl Content {
    async fn load(by: &SignedIn, id: &str, filter: &Filter) -> Result<Self, Problem> {
        let at = path(id);
        let network: Network = by.api.get(&at).await?;
        let ranges = if role(by, network.id) >= Role::Admin {
            ranges::load(by, &network).await?
        } else {
            Vec::new()
        };
        let tokens: Page<JoinToken> = by.api.get(&format!("{at}/join-tokens")).await?;
        let rules: AccessRules = by.api.get(&format!("{at}/rules")).await?;
        let has_rules = !rules.rules.is_empty() || rules.default == Verdict::Deny;
        Ok(Self {
            summary: by.api.get(&format!("{at}/summary")).await?,
            members: members::list(by, network.id, filter, has_rules).await?,
            relays: relays::load(by, network.id).await?,
            tokens: tokens.items,
            ranges,
            rules,
            network,
        })
    }

    fn markup(&self, by: &SignedIn, filter: &Filter) -> Markup {
        let texts = by.visitor.texts();
        let network = &self.network;
        let role = role(by, network.id);
        html! {
            div.head data-part="head" {
                h1 { (network.name) }
                div {
                    (networks::counts(by, &self.summary)) " "
                    @if self.summary.waiting > 0 { span.state.wait { ((texts.waiting_count)(self.summary.waiting)) } }
                }
            }
            (add_server(by, network))
            (members::section(by, network.id, &self.members, filter))
            (routes::section(by, network))
            (rules::section(by, network, &self.rules))
            (relays::section(by, network.id, &self.relays))
            div.columns {
                (join_tokens::section(by, network.id, &self.tokens))
                @if role >= Role::Admin { (settings::section(by, network, &self.ranges)) }
            }
        }
    }
}

/// What the user may do in a network.
pub(super) fn role(by: &SignedIn, network: NetworkId) -> Role {
    by.api.caller().rights.within(network)
}

fn add_server(by: &SignedIn, network: &Network) -> Markup {
    let texts = by.visitor.texts();
    let command = format!("tombolo join {}", network.join_link);
    html! {
        section.card aria-labelledby="add-server" {
            h2 #add-server { (texts.add_server) }
            p { (texts.add_server_lead) }
            (layout::copyable(&by.visitor, "join-command", &command))
            div.row {
                div { small { (texts.network_id) } (layout::copyable(&by.visitor, "network-id", &network.id.to_string())) }
            }
            details.qr {
                summary { (texts.show_qr) }
                @if let Some(code) = qr::svg(&network.join_link, texts.qr_label) { (code) }
            }
        }
    }
}

/// A field as a number; `label` is what the page calls it.
pub(super) fn number<T: std::str::FromStr>(
    by: &SignedIn,
    fields: &Fields,
    name: &str,
    label: &str,
) -> Result<T, Problem> {
    let wrong = |_| Problem::invalid((by.visitor.texts().not_a_number)(label));
    fields.get(name).trim().parse().map_err(wrong)
}

/// Deletes the network.
pub(super) async fn remove(
    Path(id): Path<String>,
    Action { by, .. }: Action,
) -> Result<Response, Response> {
    let done = async {
        let network: Network = by.api.get(&path(&id)).await?;
        by.api.delete(&path(&id)).await?;
        Ok((by.visitor.texts().network_removed)(&network.name))
    };
    match done.await {
        Ok(text) => Ok(layout::go(&by, "/", text)),
        Err(problem) => failed(&by, &id, &problem).await,
    }
}
