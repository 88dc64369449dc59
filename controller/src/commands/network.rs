//! `controller network`

use std::fmt::Write as _;

use tombolo_proto::{
    api::{MemberRoutes, Network, NetworkPatch, NetworkSettings, NewNetwork},
    config::{Ipv4Range, V6Mode},
};

use super::{
    Client, Failure, Output,
    client::network_path,
    table::{Table, joined, yes},
};
use crate::cli::{self, NetworkVerb, V6Modes};

pub(super) fn run(verb: &NetworkVerb, client: &Client, out: &Output) -> Result<(), Failure> {
    match verb {
        NetworkVerb::Create { name, settings } => {
            let body = NewNetwork {
                name: name.clone(),
                v4: settings.v4.clone(),
                settings: wanted(settings)?,
            };
            out.object(&client.post("/networks", &body)?, describe);
        }
        NetworkVerb::Ls => out.list(&client.all("/networks")?, table),
        NetworkVerb::Show { network } => out.object(&client.network(network)?, describe),
        NetworkVerb::Set {
            network,
            name,
            settings,
        } => {
            let body = NetworkPatch {
                name: name.clone(),
                v4: settings.v4.clone(),
                settings: wanted(settings)?,
            };
            let path = network_path(client.network(network)?.id);
            out.object(&client.patch(&path, &body)?, describe);
        }
        NetworkVerb::Rm { network } => {
            let found = client.network(network)?;
            client.delete(&network_path(found.id))?;
            out.done(&format!("network {} ({}) deleted", found.name, found.id));
        }
    }
    Ok(())
}

fn wanted(settings: &cli::NetworkSettings) -> Result<NetworkSettings, Failure> {
    let ranges: Vec<Ipv4Range> = settings
        .v4_pools
        .iter()
        .map(|text| range(text))
        .collect::<Result<_, _>>()?;
    let none_and_more = settings.v6_modes.contains(&V6Modes::None) && settings.v6_modes.len() > 1;
    if none_and_more {
        return Err(Failure::Usage(
            "--v6-modes takes either none, or 6plane and rfc4193".to_owned(),
        ));
    }
    let modes = settings.v6_modes.iter().filter_map(|mode| match mode {
        V6Modes::SixPlane => Some(V6Mode::SixPlane),
        V6Modes::Rfc4193 => Some(V6Mode::Rfc4193),
        V6Modes::None => None,
    });
    Ok(NetworkSettings {
        private: settings.private,
        mtu: settings.mtu,
        v4_pools: (!ranges.is_empty()).then_some(ranges),
        subnet_pools: (!settings.subnet_pools.is_empty()).then(|| settings.subnet_pools.clone()),
        member_routes: settings.member_routes.map(|routes| match routes {
            cli::MemberRoutes::Approve => MemberRoutes::Approve,
            cli::MemberRoutes::Auto => MemberRoutes::Auto,
            cli::MemberRoutes::Off => MemberRoutes::Off,
        }),
        v6_modes: (!settings.v6_modes.is_empty()).then(|| modes.collect()),
    })
}

pub(super) fn range(text: &str) -> Result<Ipv4Range, Failure> {
    text.split_once('-')
        .and_then(|(start, end)| {
            Some(Ipv4Range {
                start: start.trim().parse().ok()?,
                end: end.trim().parse().ok()?,
            })
        })
        .ok_or_else(|| {
            Failure::Usage(format!(
                "{text:?} is not a range: write two IPv4 addresses, such as 172.27.1.1-172.27.1.254"
            ))
        })
}

fn table(networks: &[Network]) -> Table {
    Table::new(
        ["ID", "NAME", "IPV4", "IPV6", "ROUTES", "PRIVATE"],
        networks.iter().map(|network| {
            [
                network.id.to_string(),
                network.name.clone(),
                joined(&network.on_link),
                modes(network),
                network.routes.len().to_string(),
                yes(network.private),
            ]
        }),
    )
}

fn modes(network: &Network) -> String {
    let names: Vec<&str> = network
        .v6_modes
        .iter()
        .map(|mode| match mode {
            V6Mode::SixPlane => "6plane",
            V6Mode::Rfc4193 => "rfc4193",
        })
        .collect();
    joined(&names)
}

fn describe(network: &Network) -> String {
    let ranges: Vec<String> = network
        .v4_pools
        .iter()
        .map(|range| format!("{}-{}", range.start, range.end))
        .collect();
    let member_routes = match network.member_routes {
        MemberRoutes::Approve => "approve",
        MemberRoutes::Auto => "auto",
        MemberRoutes::Off => "off",
    };
    let lines = [
        ("network", network.id.to_string()),
        ("name", network.name.clone()),
        ("private", yes(network.private)),
        ("mtu", network.mtu.to_string()),
        ("on-link", joined(&network.on_link)),
        ("pools", joined(&ranges)),
        ("ipv6", modes(network)),
        ("subnet pools", joined(&network.subnet_pools)),
        ("member routes", member_routes.to_owned()),
        ("routes", network.routes.len().to_string()),
        ("revision", network.revision.to_string()),
        ("join", format!("tombolo join {}", network.join_link)),
    ];
    let mut text = String::new();
    for (name, value) in lines {
        writeln!(text, "{name:<13} {value}").expect("writing to a String never fails");
    }
    text
}
