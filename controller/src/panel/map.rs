//! How members reach each other: a picture, and the same as a table.

use std::collections::BTreeMap;

use axum::{
    extract::{Path, Query},
    http::StatusCode,
    response::Response,
};
use maud::{Markup, html};
use tombolo_proto::{
    api::{LinkCarrier, LinkPath, Member, MemberLinks, Network, Page, PeerLink},
    id::NodeId,
};

use super::{figures, layout, network, networks::Place, visit::SignedIn};
use crate::api::Problem;

mod circle;

/// Members that are looked at.
const MAX_MEMBERS: u32 = 1000;
/// Rows of a page of the table.
const ROWS: usize = 200;

/// A pair of members that talk.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pair {
    ends: (NodeId, NodeId),
    relayed: bool,
    /// The smaller of what both ends measured, in microseconds.
    latency: Option<u32>,
}

/// Everything there is to show.
struct View {
    network: Network,
    members: Vec<Member>,
    told: BTreeMap<NodeId, MemberLinks>,
}

/// The page.
pub(super) async fn show(
    by: SignedIn,
    Path(id): Path<String>,
    Query(place): Query<Place>,
) -> Result<Response, Response> {
    let view = View::load(&by, &id).await.map_err(layout::told(&by))?;
    let texts = &by.visitor.texts().map;
    let at = network::path(&id);
    let title = format!("{} · {}", texts.links, view.network.name);
    let content = html! {
        (layout::way_back(&at, &view.network.name))
        div.head data-links="2" { h1 { (texts.links) } }
        section.card aria-labelledby="links" {
            h2.hidden #links { (texts.links) }
            p.soft { (texts.links_lead) }
            div data-part="map" { (picture(&by, &view)) }
        }
        section.card aria-labelledby="table" {
            h2 #table { (by.visitor.texts().members) }
            (table(&by, &view, &at, &place))
        }
    };
    Ok(layout::page(&by, StatusCode::OK, &title, None, &content))
}

impl View {
    async fn load(by: &SignedIn, id: &str) -> Result<Self, Problem> {
        let at = network::path(id);
        let network: Network = by.api.get(&at).await?;
        let members: Page<Member> = by
            .api
            .get(&format!("{at}/members?authorized=true&limit={MAX_MEMBERS}"))
            .await?;
        let told: Page<MemberLinks> = by
            .api
            .get(&format!("{at}/links?limit={MAX_MEMBERS}"))
            .await?;
        Ok(Self {
            network,
            members: members.items,
            told: told
                .items
                .into_iter()
                .map(|told| (told.node, told))
                .collect(),
        })
    }

    /// Each pair once, whoever of the two told of it.
    fn pairs(&self) -> Vec<Pair> {
        let mut pairs: BTreeMap<(NodeId, NodeId), Pair> = BTreeMap::new();
        for told in self.told.values() {
            for link in &told.links {
                let ends = (told.node.min(link.node), told.node.max(link.node));
                let relayed = link.path == LinkPath::Relay;
                let pair = pairs.entry(ends).or_insert(Pair {
                    ends,
                    relayed,
                    latency: link.latency_us,
                });
                pair.relayed |= relayed;
                pair.latency = [pair.latency, link.latency_us].into_iter().flatten().min();
            }
        }
        pairs.into_values().collect()
    }

    fn name(&self, node: NodeId) -> String {
        let member = self.members.iter().find(|member| member.node == node);
        member.map_or_else(|| node.to_string(), |member| member.name.clone())
    }
}

fn picture(by: &SignedIn, view: &View) -> Markup {
    let texts = &by.visitor.texts().map;
    let pairs = view.pairs();
    if pairs.is_empty() {
        return html! { p { (texts.nothing) } };
    }
    let drawing = circle::draw(texts, &view.members, &view.told, &pairs);
    html! {
        @if drawing.members < view.members.len() {
            p.soft { ((texts.members_drawn)(drawing.members, view.members.len())) }
        }
        @if drawing.pairs < pairs.len() { p.soft { ((texts.drawn)(drawing.pairs, pairs.len())) } }
        // A picture that is wider than a phone is moved by the keyboard as well.
        div.map tabindex="0" { (drawing.svg) }
        ul.legend aria-label=(texts.legend) {
            li { span.line.direct {} (texts.direct) }
            li { span.line.relayed {} (texts.relayed) }
            li { span.dot.silent {} (texts.none) }
        }
    }
}

fn table(by: &SignedIn, view: &View, at: &str, place: &Place) -> Markup {
    let all = by.visitor.texts();
    let texts = &all.map;
    let after: Option<NodeId> = place.after().parse().ok();
    let mut rows = view
        .members
        .iter()
        .filter(|member| after.is_none_or(|after| member.node > after));
    let page: Vec<&Member> = rows.by_ref().take(ROWS).collect();
    let next = rows
        .next()
        .and(page.last())
        .map(|last| last.node.to_string());
    html! {
        table.stacked.plain {
            thead { tr {
                th scope="col" { (all.member) }
                th scope="col" { (texts.path) }
                th scope="col" { (texts.latency) }
                th scope="col" { (texts.sent) }
                th scope="col" { (texts.received) }
            } }
            tbody data-part="links" { @for member in page { (row(by, view, at, member)) } }
        }
        (layout::next_page(by, &format!("{at}/map"), next.as_deref()))
    }
}

fn row(by: &SignedIn, view: &View, at: &str, member: &Member) -> Markup {
    let texts = &by.visitor.texts().map;
    let told = view.told.get(&member.node);
    html! {
        tr id={ "links-" (member.node) } {
            td { a.name href={ (at) "/members/" (member.node) } { (member.name) } }
            td data-label=(texts.path) { (counts(by, member)) @if let Some(told) = told { (relayed_peers(by, view, told)) } }
            td data-label=(texts.latency) { @if let Some(latency) = member.links.as_ref().and_then(|links| links.latency_us) { (figures::latency(latency)) } }
            td data-label=(texts.sent) { @if let Some(told) = told { (figures::rate(told.sent)) } }
            td data-label=(texts.received) { @if let Some(told) = told { (figures::rate(told.received)) } }
        }
    }
}

/// How many peers a member reaches, and how.
pub(super) fn counts(by: &SignedIn, member: &Member) -> Markup {
    let texts = &by.visitor.texts().map;
    match &member.links {
        Some(links) => {
            let class = if links.relayed > 0 {
                "state wait"
            } else {
                "state on"
            };
            html! {
                span class=(class) { ((texts.counts)(links.direct, links.relayed)) }
                @if links.by_tcp > 0 { " " small { (links.by_tcp) " " (texts.by_tcp) } }
            }
        }
        None => html! { span.state { (texts.none) } },
    }
}

fn relayed_peers(by: &SignedIn, view: &View, told: &MemberLinks) -> Markup {
    const MOST: usize = 5;
    let relayed = told
        .links
        .iter()
        .filter(|link| link.path == LinkPath::Relay);
    html! {
        @for link in relayed.take(MOST) {
            br; small { (view.name(link.node)) " " (via(by, link, |node| view.name(node))) }
        }
    }
}

/// By which relay, in words.
fn via(by: &SignedIn, link: &PeerLink, name: impl Fn(NodeId) -> String) -> String {
    let texts = &by.visitor.texts().map;
    let relay = link.via.map_or_else(|| texts.controller.to_owned(), name);
    (texts.via)(&relay)
}

/// The links of one member, on its own page.
pub(super) fn of_member(by: &SignedIn, at: &str, told: &MemberLinks, names: &[Member]) -> Markup {
    let texts = &by.visitor.texts().map;
    let name = |node: NodeId| {
        let member = names.iter().find(|member| member.node == node);
        member.map_or_else(|| node.to_string(), |member| member.name.clone())
    };
    html! {
        table.stacked.plain {
            thead { tr {
                th scope="col" { (texts.peer) }
                th scope="col" { (texts.path) }
                th scope="col" { (texts.latency) }
            } }
            tbody {
                @for link in &told.links {
                    tr {
                        td { a.name href={ (at) "/members/" (link.node) } { (name(link.node)) } }
                        td data-label=(texts.path) {
                            @match link.path {
                                LinkPath::Direct => span.state.on { (texts.direct) },
                                LinkPath::Relay => span.state.wait { (texts.relayed) " " (via(by, link, name)) },
                            }
                            @if link.carrier == LinkCarrier::Tcp { " " small { (texts.by_tcp) } }
                        }
                        td data-label=(texts.latency) { @if let Some(latency) = link.latency_us { (figures::latency(latency)) } }
                    }
                }
            }
        }
    }
}
