//! The page of one member.

use std::net::IpAddr;

use axum::{extract::Path, http::StatusCode, response::Response};
use maud::{Markup, html};
use tombolo_proto::api::{Member, MemberLinks, MemberPatch, Network, Page, Role};

use super::{path, seen, state, switch, word};
use crate::{
    api::Problem,
    panel::{
        layout::{self, Notice},
        map, network,
        visit::{Action, Fields, SignedIn},
    },
};

/// Members whose names the list of links may need.
const MAX_NAMES: u32 = 1000;

/// The page of one member.
pub(in crate::panel) async fn show(
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
    let told = layout::told(by);
    let at = path(id, node);
    let network: Network = by.api.get(&network::path(id)).await.map_err(told)?;
    let member: Member = by.api.get(&at).await.map_err(told)?;
    let links = Links::load(by, id, &member).await.map_err(told)?;
    let may_decide = network::role(by, network.id) >= Role::Operator;
    let content = html! {
        (layout::way_back(&network::path(id), &network.name))
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
        @if let Some(links) = &links {
            section.card aria-labelledby="links" data-part="member-links" data-links="5" {
                h2 #links { (texts.map.links) }
                (map::of_member(by, &network::path(id), &links.told, &links.names))
            }
        }
        @if !member.routes.is_empty() {
            section.card aria-labelledby="behind" data-part="member-routes" {
                h2 #behind { (texts.map.containers) }
                p { @for route in &member.routes { code { (route.target) } " " } }
            }
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
pub(in crate::panel) async fn update(
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
            let notice = Notice::of(&by.visitor, &problem);
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

/// What the member told of its links, and who its peers are.
struct Links {
    told: MemberLinks,
    names: Vec<Member>,
}

impl Links {
    async fn load(by: &SignedIn, id: &str, member: &Member) -> Result<Option<Self>, Problem> {
        if member.links.is_none() {
            return Ok(None);
        }
        let at = network::path(id);
        let told: Result<MemberLinks, Problem> =
            by.api.get(&format!("{at}/links/{}", member.node)).await;
        let told = match told {
            // It became too old between the two questions.
            Err(problem) if problem.status() == StatusCode::NOT_FOUND => return Ok(None),
            told => told?,
        };
        let names: Page<Member> = by
            .api
            .get(&format!("{at}/members?authorized=true&limit={MAX_NAMES}"))
            .await?;
        Ok(Some(Self {
            told,
            names: names.items,
        }))
    }
}
