//! The page of a network: how to join it, its members, routes, join tokens and settings.

use axum::{
    extract::{Path, Query},
    http::StatusCode,
    response::Response,
};
use ipnet::IpNet;
use maud::{Markup, html};
use tombolo_proto::{
    api::{
        JoinToken, MemberRoutes, Network, NetworkPatch, NetworkSettings, NetworkSummary, Page, Role,
    },
    config::{Ipv4Range, V6Mode},
    id::NetworkId,
};

use super::{
    join_tokens,
    layout::{self, Notice},
    members::{self, Filter},
    networks, qr, routes,
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
    let notice = Notice::from(problem);
    shown(by, id, problem.status(), Some(&notice), &Filter::default()).await
}

/// What came of an action: the page, which tells it.
pub(super) async fn after(
    by: &SignedIn,
    id: &str,
    done: Result<String, Problem>,
) -> Result<Response, Response> {
    match done {
        Ok(text) => Ok(layout::go(by, &path(id), text)),
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
    let told = |problem: Problem| layout::failure(&by.visitor, &problem);
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
    tokens: Vec<JoinToken>,
}

impl Content {
    async fn load(by: &SignedIn, id: &str, filter: &Filter) -> Result<Self, Problem> {
        let at = path(id);
        let network: Network = by.api.get(&at).await?;
        let tokens: Page<JoinToken> = by.api.get(&format!("{at}/join-tokens")).await?;
        Ok(Self {
            summary: by.api.get(&format!("{at}/summary")).await?,
            members: members::list(by, network.id, filter).await?,
            tokens: tokens.items,
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
            div.columns {
                (join_tokens::section(by, network.id, &self.tokens))
                @if role >= Role::Admin { (settings(by, network)) }
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

fn settings(by: &SignedIn, network: &Network) -> Markup {
    let texts = by.visitor.texts();
    let at = path(&network.id.to_string());
    let ranges: Vec<String> = network
        .v4_pools
        .iter()
        .map(|range| format!("{}-{}", range.start, range.end))
        .collect();
    let prefixes: Vec<String> = network.subnet_pools.iter().map(IpNet::to_string).collect();
    let choices = [
        (
            MemberRoutes::Approve,
            "approve",
            texts.member_routes_approve,
        ),
        (MemberRoutes::Auto, "auto", texts.member_routes_auto),
        (MemberRoutes::Off, "off", texts.member_routes_off),
    ];
    html! {
        section.card aria-labelledby="settings" data-part="settings" {
            h2 #settings { (texts.settings) }
            form.stack method="post" action={ (at) "/settings" } {
                (layout::csrf(by))
                label for="network-name" { (texts.name) }
                input #network-name name="name" value=(network.name) maxlength="63" required;
                label for="v4-pools" { (texts.v4_pools) }
                textarea #v4-pools name="v4_pools" rows="2" aria-describedby="v4-pools-hint" { (ranges.join("\n")) }
                small #v4-pools-hint { (texts.v4_pools_hint) }
                label for="subnet-pools" { (texts.subnet_pools) }
                textarea #subnet-pools name="subnet_pools" rows="2" aria-describedby="subnet-pools-hint" { (prefixes.join("\n")) }
                small #subnet-pools-hint { (texts.subnet_pools_hint) }
                label.check { input type="checkbox" name="6plane" checked[network.v6_modes.contains(&V6Mode::SixPlane)]; (texts.v6_6plane) }
                label.check { input type="checkbox" name="rfc4193" checked[network.v6_modes.contains(&V6Mode::Rfc4193)]; (texts.v6_rfc4193) }
                label.check { input type="checkbox" name="private" checked[network.private]; (texts.private) }
                label for="member-routes" { (texts.member_routes) }
                select #member-routes name="member_routes" {
                    @for (choice, word, text) in choices {
                        option value=(word) selected[network.member_routes == choice] { (text) }
                    }
                }
                label for="mtu" { (texts.mtu) }
                input #mtu name="mtu" inputmode="numeric" value=(network.mtu) required;
                button type="submit" { (texts.save) }
            }
            details.danger {
                summary { (texts.remove_network) "…" }
                p { (texts.remove_network_lead) }
                form method="post" action={ (at) "/remove" } data-plain {
                    (layout::csrf(by))
                    button.danger type="submit" { (texts.remove_network) }
                }
            }
        }
    }
}

/// Changes the settings.
pub(super) async fn configure(
    Path(id): Path<String>,
    Action { by, fields }: Action,
) -> Result<Response, Response> {
    let done = async {
        let patch = patch(&by, &fields)?;
        let _: Network = by.api.patch(&path(&id), &patch).await?;
        Ok(by.visitor.texts().saved.to_owned())
    };
    after(&by, &id, done.await).await
}

fn patch(by: &SignedIn, fields: &Fields) -> Result<NetworkPatch, Problem> {
    let texts = by.visitor.texts();
    let lines = |name: &str| -> Vec<String> {
        let lines = fields.get(name).lines().map(str::trim);
        lines
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let range = |line: &String| -> Result<Ipv4Range, Problem> {
        let ends = line.split_once('-').and_then(|(start, end)| {
            let (start, end) = (start.trim().parse().ok()?, end.trim().parse().ok()?);
            Some(Ipv4Range { start, end })
        });
        ends.ok_or_else(|| Problem::invalid((texts.not_a_range)(line)))
    };
    let modes = [("6plane", V6Mode::SixPlane), ("rfc4193", V6Mode::Rfc4193)];
    let is_ticked = |name: &str| !fields.get(name).is_empty();
    Ok(NetworkPatch {
        name: fields.filled("name"),
        v4: None,
        settings: NetworkSettings {
            private: Some(is_ticked("private")),
            mtu: Some(number(by, fields, "mtu", texts.mtu)?),
            v4_pools: Some(
                lines("v4_pools")
                    .iter()
                    .map(range)
                    .collect::<Result<_, _>>()?,
            ),
            subnet_pools: Some(lines("subnet_pools")),
            member_routes: Some(match fields.get("member_routes") {
                "auto" => MemberRoutes::Auto,
                "off" => MemberRoutes::Off,
                _ => MemberRoutes::Approve,
            }),
            v6_modes: Some(
                modes
                    .into_iter()
                    .filter(|(name, _)| is_ticked(name))
                    .map(|(_, mode)| mode)
                    .collect(),
            ),
        },
    })
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
