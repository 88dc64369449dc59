//! Relays: the part of the network's page, and who may be one.

use axum::{extract::Path, response::Response};
use maud::{Markup, html};
use tombolo_proto::{
    api::{ControllerRelay, Member, MemberPatch, MemberRelay, NetworkRelays, Role},
    id::NetworkId,
};

use super::{
    figures, layout, members, network,
    texts::Relays,
    undo::{Done, Undo},
    visit::{Action, SignedIn},
};
use crate::api::Problem;

/// Rows of either kind: those that nobody needs follow those that somebody does.
const ROWS: usize = 12;

/// Who relays in the network.
pub(super) async fn load(by: &SignedIn, network: NetworkId) -> Result<NetworkRelays, Problem> {
    by.api.get(&format!("/networks/{network}/relays")).await
}

/// The part of the network's page.
pub(super) fn section(by: &SignedIn, network: NetworkId, relays: &NetworkRelays) -> Markup {
    let all = by.visitor.texts();
    let texts = &all.relays;
    let may_decide = network::role(by, network) >= Role::Operator;
    let allowed = relays.members.iter().take(ROWS);
    let unlisted = relays.members_allowed - allowed.len() as u64;
    html! {
        section.card aria-labelledby="relays" {
            h2 #relays { (texts.title) }
            p.soft { (texts.lead) }
            div data-part="relays" data-links="10" {
                table.stacked.plain {
                    thead { tr {
                        th scope="col" { (texts.relay) }
                        th scope="col" { (all.status) }
                        th scope="col" { (texts.used_by) }
                        th scope="col" { (texts.carried) }
                        th scope="col" { (texts.allowed) }
                    } }
                    tbody {
                        @for controller in &relays.controllers { (of_controller(by, controller, relays)) }
                        @for member in allowed {
                            (of_member(by, network, member, true, may_decide))
                        }
                        @for member in relays.others.iter().take(ROWS) {
                            (of_member(by, network, member, false, may_decide))
                        }
                    }
                }
                p.soft { (texts.counted) }
                @if unlisted > 0 { p.soft { ((texts.unlisted)(unlisted)) } }
                @if relays.members_allowed == 0 { p { (texts.none) } }
            }
        }
    }
}

fn of_controller(by: &SignedIn, controller: &ControllerRelay, relays: &NetworkRelays) -> Markup {
    let all = by.visitor.texts();
    let texts = &all.relays;
    // Members tell that they use a controller, not which.
    let is_only = relays.controllers.len() == 1;
    let links = match relays.controller_links {
        0 => "0".to_owned(),
        links if is_only => links.to_string(),
        links => (texts.together)(links),
    };
    html! {
        tr {
            td {
                span.name { (texts.controller) }
                @for endpoint in &controller.endpoints { " " code.soft { (endpoint) } }
            }
            td data-label=(all.status) {
                @if controller.alive { span.state.on { (all.system.alive) } } @else { span.state.wait { (all.system.silent) } }
            }
            td data-label=(texts.used_by) { (links) }
            td data-label=(texts.carried) { (carried(texts, controller.bytes, controller.clients)) }
            td.soft data-label=(texts.allowed) { (texts.always) }
        }
    }
}

fn carried(texts: &Relays, bytes: u64, clients: u64) -> Markup {
    html! { (figures::amount(bytes)) " " small { ((texts.clients)(clients)) } }
}

fn of_member(
    by: &SignedIn,
    network: NetworkId,
    member: &MemberRelay,
    is_allowed: bool,
    may_decide: bool,
) -> Markup {
    let all = by.visitor.texts();
    let texts = &all.relays;
    let at = members::path(&network.to_string(), &member.node.to_string());
    let named = format!("relay-{}", member.node);
    html! {
        tr {
            td { a.name id=(named) href=(at) { (member.name) } }
            td data-label=(all.status) {
                @if member.online { span.state.on { (all.online) } } @else { span.state { (all.offline) } }
            }
            td data-label=(texts.used_by) { @if is_allowed { (member.links) } }
            td data-label=(texts.carried) {
                @match (member.bytes, member.clients) {
                    (Some(bytes), Some(clients)) => { (carried(texts, bytes, clients)) }
                    _ => span.soft { (texts.untold) },
                }
            }
            td data-label=(texts.allowed) {
                @if may_decide {
                    form method="post" action={ (at) "/relay" } {
                        (layout::csrf(by))
                        button.switch type="submit" name="relay" value=(!is_allowed) role="switch" aria-checked=(is_allowed.to_string())
                            aria-label=(texts.allowed) aria-describedby=(named) title=(texts.allowed) {}
                    }
                } @else if is_allowed { (texts.yes) } @else { (texts.no) }
            }
        }
    }
}

/// Lets a member relay, or not any more.
pub(super) async fn set(
    Path((id, node)): Path<(String, String)>,
    Action { by, fields }: Action,
) -> Result<Response, Response> {
    let texts = &by.visitor.texts().relays;
    let relay = fields.get("relay") == "true";
    let patch = MemberPatch {
        relay: Some(relay),
        ..MemberPatch::default()
    };
    let changed: Result<Member, Problem> = by.api.patch(&members::path(&id, &node), &patch).await;
    let done = changed.map(|member| {
        let told = if relay {
            texts.allowed_done
        } else {
            texts.refused_done
        };
        let undo = id.parse().map(|network| Undo::Relay {
            network,
            node: member.node,
            relay: !relay,
        });
        Done {
            text: told(&member.name),
            undo: undo.ok(),
        }
    });
    network::after(&by, &id, done).await
}
