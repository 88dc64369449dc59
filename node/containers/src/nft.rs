//! Our own nftables table: who may send to containers, and with which address containers go out.
//!
//! Nobody else writes to it, so it is replaced whole, in one transaction, whenever it should look different. Verdicts of
//! ours never override Docker's: a packet has to pass the chains of both.

use std::{
    collections::{BTreeSet, hash_map::DefaultHasher},
    fmt::Write as _,
    hash::{Hash as _, Hasher as _},
};

use ipnet::IpNet;

use crate::firewall::{COMMENT, Masquerade, Opening};

/// The table's name.
pub const TABLE: &str = "inet tombolo_docker";

/// The table as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NftTable {
    /// For `nft -f -`: replaces or removes the table in one transaction.
    pub script: String,
    /// Stands in a comment of the table if that is what `script` made; none if there should be no table.
    pub mark: Option<String>,
}

/// The table for these openings; `links` are all TUN devices of this node.
#[must_use]
pub fn table(openings: &[&Opening], links: &BTreeSet<String>) -> NftTable {
    // Adding first makes deleting work whether or not the table exists.
    let removal = format!("add table {TABLE}\ndelete table {TABLE}\n");
    if openings.is_empty() {
        return NftTable {
            script: removal,
            mark: None,
        };
    }
    let mut hasher = DefaultHasher::new();
    let rules = [
        chain(
            "guard",
            "filter hook forward priority -10",
            &guard(openings),
        ),
        chain(
            "keep",
            "nat hook postrouting priority srcnat - 1",
            &keep(openings),
        ),
        chain(
            "out",
            "nat hook postrouting priority srcnat",
            &out(openings, links),
        ),
    ]
    .concat();
    rules.hash(&mut hasher);
    let mark = format!("{COMMENT}{:016x}", hasher.finish());
    NftTable {
        script: format!("{removal}table {TABLE} {{\n  comment \"{mark}\"\n{rules}}}\n"),
        mark: Some(mark),
    }
}

fn chain(name: &str, hook: &str, rules: &[String]) -> String {
    let mut text = format!("  chain {name} {{\n    type {hook}; policy accept;\n");
    for rule in rules {
        let _ = writeln!(text, "    {rule}");
    }
    text.push_str("  }\n");
    text
}

/// Only the overlay, the bridge itself, answers, and published ports.
fn guard(openings: &[&Opening]) -> Vec<String> {
    let mut rules = vec![
        "ct state established,related accept".to_owned(),
        "ct status dnat accept".to_owned(),
    ];
    for opening in openings {
        let Opening { bridge, link, .. } = opening;
        for subnet in &opening.subnets {
            let family = family(subnet);
            rules.push(format!(
                "{family} daddr {subnet} iifname != {{ \"{link}\", \"{bridge}\" }} counter drop"
            ));
        }
        if opening.internal {
            rules.push(format!(
                "iifname \"{bridge}\" oifname != {{ \"{link}\", \"{bridge}\" }} counter reject"
            ));
        }
    }
    rules
}

/// Docker masquerades whatever leaves the bridge. Whose address has been decided already it leaves alone, so towards the
/// overlay every address is translated to itself.
fn keep(openings: &[&Opening]) -> Vec<String> {
    let dockers = openings
        .iter()
        .filter(|opening| opening.masquerade == Masquerade::Dockers);
    dockers
        .flat_map(|opening| {
            opening.subnets.iter().map(|subnet| {
                let family = family(subnet);
                format!(
                    "oifname \"{}\" {family} saddr {subnet} snat {family} prefix to {family} saddr map {{ {subnet} : {subnet} }}",
                    opening.link
                )
            })
        })
        .collect()
}

/// Towards the world, but towards no overlay: there, another address than its own would be another sender.
fn out(openings: &[&Opening], links: &BTreeSet<String>) -> Vec<String> {
    let mut rules = Vec::new();
    for opening in openings {
        let inside = links
            .iter()
            .chain([&opening.bridge])
            .map(|link| format!("\"{link}\""))
            .collect::<Vec<_>>()
            .join(", ");
        for subnet in &opening.subnets {
            let masquerades = match opening.masquerade {
                Masquerade::Ours => true,
                // Docker before 27 leaves IPv6 alone; a unique local address (RFC 4193) gets no answer from the world.
                Masquerade::Dockers => is_unique_local(subnet),
                Masquerade::Off => false,
            };
            if masquerades {
                let family = family(subnet);
                rules.push(format!(
                    "{family} saddr {subnet} oifname != {{ {inside} }} masquerade"
                ));
            }
        }
    }
    rules
}

const fn family(prefix: &IpNet) -> &'static str {
    match prefix {
        IpNet::V4(_) => "ip",
        IpNet::V6(_) => "ip6",
    }
}

fn is_unique_local(prefix: &IpNet) -> bool {
    match prefix {
        IpNet::V4(_) => false,
        IpNet::V6(prefix) => prefix.network().is_unique_local(),
    }
}
