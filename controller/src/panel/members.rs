//! Members: the table on a network's page, one member's own page, and what can be done to them.

use std::net::IpAddr;

use axum::{extract::Path, http::StatusCode, response::Response};
use maud::{Markup, html};
use serde::Deserialize;
use tombolo_proto::{
    api::{self, Member, MemberPatch, Role},
    id::NetworkId,
};

use super::{
    layout::{self, Notice},
    network,
    visit::{Action, Fields, SignedIn},
};
use crate::api::Problem;

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
}

/// The members to show.
pub(super) async fn list(
    by: &SignedIn,
    network: NetworkId,
    filter: &Filter,
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
    Ok(Listed { rows, next })
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
            h2 #members { (texts.members) }
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
                        th scope="col" { (texts.version) }
                        th scope="col" { (texts.last_seen) }
                        th scope="col" { (texts.authorized) }
                    } }
                    tbody data-part="members" {
                        @for member in &listed.rows { (row(by, network, member, may_decide)) }
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

fn row(by: &SignedIn, network: NetworkId, member: &Member, may_decide: bool) -> Markup {
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
                @if !member.clashes.is_empty() { span.clash { (texts.clashes) } }
            }
            td data-label=(texts.addresses) {
                @for address in &member.addresses { code { (address) } }
                @if let Some(prefix) = &member.prefix { code.soft { (prefix) } }
            }
            td data-label=(texts.status) { (state(by, member)) }
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

/// Lets one in or puts one out.
pub(super) async fn decide(
    Path((id, node)): Path<(String, String)>,
    Action { by, fields }: Action,
) -> Result<Response, Response> {
    let authorized = fields.get("authorized") == "true";
    match set(&by, &id, &node, authorized).await {
        Ok(done) if fields.get("back") == "member" => Ok(layout::go(&by, &path(&id, &node), done)),
        done => network::after(&by, &id, done).await,
    }
}

async fn set(by: &SignedIn, id: &str, node: &str, authorized: bool) -> Result<String, Problem> {
    let texts = by.visitor.texts();
    let patch = MemberPatch {
        authorized: Some(authorized),
        ..MemberPatch::default()
    };
    let member: Member = by.api.patch(&path(id, node), &patch).await?;
    let told = if authorized {
        texts.authorized_done
    } else {
        texts.deauthorized_done
    };
    Ok(told(&member.name))
}

/// Lets many in or puts them out. Stops at the first that does not work, which is told.
pub(super) async fn decide_many(
    Path(id): Path<String>,
    Action { by, fields }: Action,
) -> Result<Response, Response> {
    let texts = by.visitor.texts();
    let authorized = fields.get("authorized") == "true";
    let nodes: Vec<&str> = fields.all("node").take(MAX_AT_ONCE).collect();
    let done = async {
        if nodes.is_empty() {
            return Err(Problem::invalid(texts.nothing_selected));
        }
        for node in &nodes {
            set(&by, &id, node, authorized).await?;
        }
        let told = if authorized {
            texts.authorized_many
        } else {
            texts.deauthorized_many
        };
        Ok(told(nodes.len()))
    };
    network::after(&by, &id, done.await).await
}

/// The page of one member.
pub(super) async fn show(
    by: SignedIn,
    Path((id, node)): Path<(String, String)>,
) -> Result<Response, Response> {
    shown(&by, &id, &node, StatusCode::OK, None).await
}

async fn shown(
    by: &SignedIn,
    id: &str,
    node: &str,
    status: StatusCode,
    notice: Option<&Notice>,
) -> Result<Response, Response> {
    let texts = by.visitor.texts();
    let told = |problem: Problem| layout::failure(&by.visitor, &problem);
    let at = path(id, node);
    let network: api::Network = by.api.get(&network::path(id)).await.map_err(told)?;
    let member: Member = by.api.get(&at).await.map_err(told)?;
    let may_decide = network::role(by, network.id) >= Role::Operator;
    let content = html! {
        nav { a href=(network::path(id)) { "← " (network.name) } }
        div.head data-part="member-head" {
            h1 #member-name { (member.name) }
            div {
                (state(by, &member))
                @if may_decide { (switch(by, &at, &member, "member-name", "member")) } @else { (word(by, &member)) }
            }
        }
        @if !member.clashes.is_empty() {
            section.card { h2 { (texts.clashes) } ul { @for clash in &member.clashes { li { (clash) } } } }
        }
        section.card data-part="member" {
            p { small { (texts.node) } " " code { (member.node) } }
            @if let Some(prefix) = &member.prefix { p { small { (texts.prefix) } " " code { (prefix) } } }
            p { small { (texts.last_seen) } " " (seen(by, &member)) }
            @if may_decide && (member.authorized || !member.addresses.is_empty()) { (form(by, &at, &member)) }
        }
        @if may_decide {
            section.card {
                details.danger {
                    summary { (texts.remove_member) "…" }
                    p { (texts.remove_member_lead) }
                    form method="post" action={ (at) "/remove" } data-plain {
                        (layout::csrf(by))
                        button.danger type="submit" { (texts.remove) }
                    }
                }
            }
        }
    };
    Ok(layout::page(by, status, &member.name, notice, &content))
}

fn form(by: &SignedIn, at: &str, member: &Member) -> Markup {
    let texts = by.visitor.texts();
    let addresses: Vec<String> = member
        .addresses
        .iter()
        .filter(|address| address.is_ipv4())
        .map(IpAddr::to_string)
        .collect();
    html! {
        form.stack method="post" action=(at) {
            (layout::csrf(by))
            label for="name" { (texts.name) }
            input #name name="name" value=(member.name) maxlength="63" required;
            label for="addresses" { (texts.v4_addresses) }
            input #addresses name="addresses" value=(addresses.join(" ")) aria-describedby="addresses-hint";
            small #addresses-hint { (texts.v4_addresses_hint) }
            label for="tags" { (texts.tags) }
            input #tags name="tags" value=(member.tags.join(" ")) aria-describedby="tags-hint";
            small #tags-hint { (texts.tags_hint) }
            label.check { input type="checkbox" name="relay" checked[member.relay]; (texts.relay) }
            button type="submit" { (texts.save) }
        }
    }
}

/// Changes name, addresses, tags and relaying.
pub(super) async fn update(
    Path((id, node)): Path<(String, String)>,
    Action { by, fields }: Action,
) -> Result<Response, Response> {
    let at = path(&id, &node);
    let done: Result<Member, Problem> = match patch(&by, &fields) {
        Ok(patch) => by.api.patch(&at, &patch).await,
        Err(problem) => Err(problem),
    };
    match done {
        Ok(_) => Ok(layout::go(&by, &at, by.visitor.texts().saved.to_owned())),
        Err(problem) => {
            let notice = Notice::from(&problem);
            shown(&by, &id, &node, problem.status(), Some(&notice)).await
        }
    }
}

fn patch(by: &SignedIn, fields: &Fields) -> Result<MemberPatch, Problem> {
    let words = |name: &str| -> Vec<String> {
        let separators = |letter: char| letter.is_whitespace() || letter == ',';
        let words = fields.get(name).split(separators);
        words
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let address = |text: &String| -> Result<IpAddr, Problem> {
        let wrong = |_| Problem::invalid((by.visitor.texts().not_an_address)(text));
        text.parse().map_err(wrong)
    };
    Ok(MemberPatch {
        authorized: None,
        name: fields.filled("name"),
        addresses: Some(
            words("addresses")
                .iter()
                .map(address)
                .collect::<Result<_, _>>()?,
        ),
        tags: Some(words("tags")),
        relay: Some(!fields.get("relay").is_empty()),
    })
}

/// Deletes a member.
pub(super) async fn remove(
    Path((id, node)): Path<(String, String)>,
    Action { by, .. }: Action,
) -> Result<Response, Response> {
    let done = async {
        let at = path(&id, &node);
        let member: Member = by.api.get(&at).await?;
        by.api.delete(&at).await?;
        Ok((by.visitor.texts().member_removed)(&member.name))
    };
    network::after(&by, &id, done.await).await
}

fn path(id: &str, node: &str) -> String {
    format!("{}/members/{}", network::path(id), layout::encoded(node))
}
