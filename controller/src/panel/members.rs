//! Members: the table on a network's page, [`one`] member's own page, and what can be done to them ([`deciding`]).

use maud::{Markup, html};
use serde::Deserialize;
use tombolo_proto::{
    api::{self, Member, Role},
    id::NetworkId,
};

use super::{figures, layout, map, network, visit::SignedIn};
use crate::api::Problem;

pub(super) mod deciding;
pub(super) mod one;

/// Rows of a page.
const ROWS: u32 = 50;
/// Members that are decided on at once: what one page can tick.
const MAX_AT_ONCE: usize = 2 * ROWS as usize;

/// What of the members is shown.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Filter {
    #[serde(default)]
    q: String,
    #[serde(default)]
    show: String,
    #[serde(default)]
    after: String,
}

impl Filter {
    fn is_on(&self) -> bool {
        !self.q.trim().is_empty() || !self.show.is_empty()
    }

    /// The query of the API for those that wait, or do not.
    fn query(&self, waiting: bool) -> Option<String> {
        let state = match (self.show.as_str(), waiting) {
            ("waiting", true) | ("", _) => "",
            ("authorized", false) => "&authorized=true",
            ("denied", false) => "&authorized=false",
            _ => return None,
        };
        let q = match self.q.trim() {
            "" => String::new(),
            text => format!("&q={}", layout::encoded(text)),
        };
        Some(format!("limit={ROWS}&waiting={waiting}{state}{q}"))
    }

    /// The same filter on another page.
    fn address(&self, network: NetworkId, after: &str) -> String {
        let [q, show, after] = [&self.q, &self.show, after].map(layout::encoded);
        format!("/networks/{network}?q={q}&show={show}&after={after}")
    }
}

/// A page of members.
pub(super) struct Listed {
    /// Those that wait come first.
    rows: Vec<Member>,
    next: Option<String>,
    /// Whether the network has access rules, which some of them may not enforce.
    has_rules: bool,
}

/// The members to show.
pub(super) async fn list(
    by: &SignedIn,
    network: NetworkId,
    filter: &Filter,
    has_rules: bool,
) -> Result<Listed, Problem> {
    let mut rows = Vec::new();
    if filter.after.is_empty()
        && let Some(query) = filter.query(true)
    {
        let page: api::Page<Member> = by
            .api
            .get(&format!("/networks/{network}/members?{query}"))
            .await?;
        rows.extend(page.items);
    }
    let mut next = None;
    if let Some(query) = filter.query(false) {
        let after = match filter.after.as_str() {
            "" => String::new(),
            after => format!("&after={}", layout::encoded(after)),
        };
        let page: api::Page<Member> = by
            .api
            .get(&format!("/networks/{network}/members?{query}{after}"))
            .await?;
        rows.extend(page.items);
        next = page.next;
    }
    Ok(Listed {
        rows,
        next,
        has_rules,
    })
}

/// The part of the network's page.
pub(super) fn section(
    by: &SignedIn,
    network: NetworkId,
    listed: &Listed,
    filter: &Filter,
) -> Markup {
    let texts = by.visitor.texts();
    let may_decide = network::role(by, network) >= Role::Operator;
    let choices = [
        ("", texts.all),
        ("waiting", texts.waiting),
        ("authorized", texts.authorized),
        ("denied", texts.not_authorized),
    ];
    html! {
        section.card aria-labelledby="members" {
            div.head { h2 #members { (texts.members) } a href={ "/networks/" (network) "/map" } { (texts.map.open) } }
            form.row method="get" action={ "/networks/" (network) } role="search" {
                div.field {
                    label for="q" { (texts.search) }
                    input #q type="search" name="q" value=(filter.q) placeholder=(texts.search_hint);
                }
                div.field.short {
                    label for="show" { (texts.status) }
                    select #show name="show" {
                        @for (word, text) in choices { option value=(word) selected[filter.show == word] { (text) } }
                    }
                }
                button.quiet type="submit" { (texts.filter) }
            }
            div.scroll {
                table.stacked {
                    thead { tr {
                        @if may_decide { th scope="col" { span.hidden { (texts.actions) } } }
                        th scope="col" { (texts.member) }
                        th scope="col" { (texts.addresses) }
                        th scope="col" { (texts.status) }
                        th scope="col" { (texts.map.links) }
                        th scope="col" { (texts.version) }
                        th scope="col" { (texts.last_seen) }
                        th scope="col" { (texts.authorized) }
                    } }
                    tbody data-part="members" data-links="10" {
                        @for member in &listed.rows { (row(by, network, member, may_decide, listed.has_rules)) }
                    }
                }
            }
            div data-part="members-foot" {
                @if listed.rows.is_empty() {
                    p.soft { @if filter.is_on() { (texts.no_match) } @else { (texts.no_members) } }
                }
                div.foot {
                    @if may_decide && !listed.rows.is_empty() {
                        form #bulk.row method="post" action={ "/networks/" (network) "/members" } {
                            (layout::csrf(by))
                            button.quiet.small type="submit" name="authorized" value="true" { (texts.authorize_selected) }
                            button.quiet.small type="submit" name="authorized" value="false" { (texts.deauthorize_selected) }
                        }
                    }
                    nav aria-label=(texts.members) {
                        @if !filter.after.is_empty() { a.button.quiet href=(filter.address(network, "")) { (texts.first_page) } " " }
                        @if let Some(next) = &listed.next { a.button.quiet href=(filter.address(network, next)) rel="next" { (texts.next_page) } }
                    }
                }
            }
        }
    }
}

fn row(
    by: &SignedIn,
    network: NetworkId,
    member: &Member,
    may_decide: bool,
    has_rules: bool,
) -> Markup {
    let texts = by.visitor.texts();
    let node = member.node;
    let named = format!("name-{node}");
    let at = path(&network.to_string(), &node.to_string());
    html! {
        tr id={ "member-" (node) } {
            @if may_decide {
                td.pick { input type="checkbox" form="bulk" name="node" value=(node) aria-label=((texts.select)(&member.name)); }
            }
            td.who-cell {
                a.name id=(named) href=(at) { (member.name) }
                @if member.name != node.to_string() { code.soft { (node) } }
                @for tag in &member.tags { span.tag { (tag) } }
                @for route in &member.routes { code.soft title=(texts.map.containers) { (route.target) } }
                @if !member.clashes.is_empty() { span.clash { (texts.clashes) } }
                @if has_rules && member.version.is_some() && !member.enforces_rules {
                    span.clash title=(texts.unruled_hint) { (texts.unruled) }
                }
            }
            td data-label=(texts.addresses) {
                @for address in &member.addresses { code { (address) } }
                @if let Some(prefix) = &member.prefix { code.soft { (prefix) } }
            }
            td data-label=(texts.status) { (state(by, member)) }
            td data-label=(texts.map.links) {
                @if let Some(links) = &member.links {
                    (map::counts(by, member))
                    @if let Some(latency) = links.latency_us { br; small { (figures::latency(latency)) } }
                }
            }
            td data-label=(texts.version) { @if let Some(version) = &member.version { (version) } }
            td data-label=(texts.last_seen) { (seen(by, member)) }
            td.act { @if may_decide { (switch(by, &at, member, &named, "network")) } @else { (word(by, member)) } }
        }
    }
}

fn state(by: &SignedIn, member: &Member) -> Markup {
    let texts = by.visitor.texts();
    // A member that was put out keeps its addresses.
    let is_waiting = !member.authorized && member.addresses.is_empty();
    html! {
        @if is_waiting { span.state.wait { (texts.waiting) } " " }
        @if member.online { span.state.on { (texts.online) } } @else { span.state { (texts.offline) } }
    }
}

fn seen(by: &SignedIn, member: &Member) -> Markup {
    let texts = by.visitor.texts();
    match member.last_seen {
        _ if member.online => html! { (texts.now) },
        Some(at) => layout::moment(at),
        None => html! { (texts.never) },
    }
}

/// One click, either way. `described` is what names the member; `back` is the page to stay on.
fn switch(by: &SignedIn, at: &str, member: &Member, described: &str, back: &str) -> Markup {
    let texts = by.visitor.texts();
    let is_on = if member.authorized { "true" } else { "false" };
    html! {
        form method="post" action={ (at) "/authorized" } {
            (layout::csrf(by))
            input type="hidden" name="back" value=(back);
            button.switch type="submit" name="authorized" value=(!member.authorized) role="switch" aria-checked=(is_on)
                aria-label=(texts.authorized) aria-describedby=(described) title=(texts.authorized) {}
        }
    }
}

/// The same for those who may only look.
const fn word(by: &SignedIn, member: &Member) -> &'static str {
    let texts = by.visitor.texts();
    if member.authorized {
        texts.authorized
    } else {
        texts.not_authorized
    }
}

pub(super) fn path(id: &str, node: &str) -> String {
    format!("{}/members/{}", network::path(id), layout::encoded(node))
}
