//! The settings of a network: the part of its page, and how they are changed.

use axum::{extract::Path, response::Response};
use ipnet::IpNet;
use maud::{Markup, html};
use tombolo_proto::{
    api::{MemberRoutes, Network, NetworkPatch, NetworkSettings},
    config::{Ipv4Range, V6Mode},
};

use super::{
    layout, network,
    ranges::{self, Range},
    visit::{Action, Fields, SignedIn},
};
use crate::api::Problem;

/// The part of the network's page.
pub(super) fn section(by: &SignedIn, network: &Network, offered: &[Range]) -> Markup {
    let texts = by.visitor.texts();
    let at = network::path(&network.id.to_string());
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
                (ranges::choice(by, offered))
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
        let _: Network = by.api.patch(&network::path(&id), &patch).await?;
        Ok(by.visitor.texts().saved.to_owned())
    };
    network::after(&by, &id, done.await).await
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
    let mut pools = lines("v4_pools")
        .iter()
        .map(range)
        .collect::<Result<Vec<_>, _>>()?;
    pools.extend(fields.all("range").filter_map(ranges::whole));
    let modes = [("6plane", V6Mode::SixPlane), ("rfc4193", V6Mode::Rfc4193)];
    let is_ticked = |name: &str| !fields.get(name).is_empty();
    Ok(NetworkPatch {
        name: fields.filled("name"),
        v4: None,
        settings: NetworkSettings {
            private: Some(is_ticked("private")),
            mtu: Some(network::number(by, fields, "mtu", texts.mtu)?),
            v4_pools: Some(pools),
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
