//! IPv4 ranges to choose from, marked where they are in use already.

use ipnet::{IpNet, Ipv4Net};
use maud::{Markup, html};
use tombolo_proto::{
    api::{Member, Network, Page},
    config::Ipv4Range,
};

use super::{network, visit::SignedIn};
use crate::api::Problem;

/// Ranges for members, those first that few have at home (RFC 1918).
pub(super) const SUGGESTED: [&str; 10] = [
    "172.27.0.0/16",
    "172.26.0.0/16",
    "172.23.0.0/16",
    "10.147.0.0/16",
    "10.191.0.0/16",
    "10.244.0.0/16",
    "192.168.191.0/24",
    "192.168.192.0/24",
    "192.168.193.0/24",
    "100.64.0.0/16",
];
/// Networks and members that are asked what they use.
const MOST: u32 = 200;

/// A range, and who uses a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Range {
    prefix: Ipv4Net,
    used_by: Option<String>,
}

/// Ranges that the network does not have yet.
pub(super) async fn load(by: &SignedIn, network: &Network) -> Result<Vec<Range>, Problem> {
    let texts = &by.visitor.texts().map;
    let networks: Page<Network> = by.api.get(&format!("/networks?limit={MOST}")).await?;
    let at = network::path(&network.id.to_string());
    let members: Page<Member> = by.api.get(&format!("{at}/members?limit={MOST}")).await?;
    let mut used: Vec<(IpNet, String)> = Vec::new();
    for other in networks.items.iter().filter(|other| other.id != network.id) {
        let prefixes = other.on_link.iter().copied().map(IpNet::V4);
        used.extend(prefixes.map(|prefix| (prefix, (texts.range_of_network)(&other.name))));
    }
    // In a default route is everything.
    for route in network.routes.iter().filter(|route| !route.default_route) {
        used.push((route.target, (texts.range_of_route)(&route.via_name)));
    }
    for member in &members.items {
        let clashes = member.clashes.iter().flat_map(|clash| prefixes(clash));
        used.extend(clashes.map(|prefix| (prefix, (texts.range_of_host)(&member.name))));
    }
    Ok(mark(network, &used))
}

fn mark(network: &Network, used: &[(IpNet, String)]) -> Vec<Range> {
    let is_new = |prefix: &Ipv4Net| !network.on_link.iter().any(|known| overlap(known, prefix));
    SUGGESTED
        .iter()
        .filter_map(|text| text.parse().ok())
        .filter(is_new)
        .map(|prefix| {
            let user = used.iter().find(|(other, _)| match other {
                IpNet::V4(other) => overlap(other, &prefix),
                IpNet::V6(_) => false,
            });
            Range {
                prefix,
                used_by: user.map(|(_, who)| who.clone()),
            }
        })
        .collect()
}

fn overlap(one: &Ipv4Net, other: &Ipv4Net) -> bool {
    one.contains(other) || other.contains(one)
}

/// The prefixes that a sentence names.
fn prefixes(sentence: &str) -> Vec<IpNet> {
    let separators = |letter: char| !(letter.is_ascii_hexdigit() || ".:/".contains(letter));
    sentence
        .split(separators)
        .filter_map(|word| word.trim_matches(['.', ':']).parse().ok())
        .collect()
}

/// All members' addresses of a prefix.
pub(super) fn whole(text: &str) -> Option<Ipv4Range> {
    let prefix: Ipv4Net = text.parse().ok()?;
    let (first, last) = (prefix.network().to_bits(), prefix.broadcast().to_bits());
    (last - first > 2).then(|| Ipv4Range {
        start: (first + 1).into(),
        end: (last - 1).into(),
    })
}

/// The ranges as boxes to tick.
pub(super) fn choice(by: &SignedIn, ranges: &[Range]) -> Markup {
    let texts = &by.visitor.texts().map;
    html! {
        @if !ranges.is_empty() {
            details {
                summary { (texts.ranges) }
                fieldset aria-describedby="ranges-hint" {
                    legend.hidden { (texts.ranges) }
                    small #ranges-hint { (texts.ranges_hint) }
                    @for range in ranges {
                        label.check {
                            input type="checkbox" name="range" value=(range.prefix);
                            (range.prefix)
                            @if let Some(who) = &range.used_by { " " span.clash { (who) } }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suggested_range_is_one() {
        for text in SUGGESTED {
            let range = whole(text).expect("a range of members");
            assert!(range.start < range.end, "{text}");
        }
        assert_eq!(whole("10.0.0.0/31"), None);
        assert_eq!(whole("fd00::/64"), None);
    }

    #[test]
    fn sentences_name_prefixes() {
        let sentence = "the pool 172.27.0.0/16 is not installed: 172.27.3.0/24 (eth0) is this host's own, fd00::/8 too.";
        let found: Vec<String> = prefixes(sentence).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["172.27.0.0/16", "172.27.3.0/24", "fd00::/8"]);
    }
}
