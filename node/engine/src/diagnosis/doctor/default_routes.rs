//! Default routes: whether this member, where it carries one, can let others out; and where this host itself leaves.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{
    Facts,
    firewall::{self, Chain},
};
use crate::{
    diagnosis::Finding,
    reconcile::{DEFAULT_TABLE, Family, MARK},
};

/// A network whose default route this member carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The network's id.
    pub network: String,
    /// Its interface.
    pub interface: String,
    /// `0.0.0.0/0` or `::/0`.
    pub prefix: IpNet,
    /// Where its members have their addresses.
    pub ranges: Vec<IpNet>,
}

/// What is known of ways out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ways {
    /// Interfaces of the host's own default routes: IPv4, IPv6.
    pub own: [Vec<String>; 2],
    /// The network whose default route is installed here: IPv4, IPv6.
    pub overlay: [Option<String>; 2],
    /// The networks that leave the overlay here.
    pub exits: Vec<Exit>,
    /// Rules and routes of somebody else's that use [`MARK`] or [`DEFAULT_TABLE`]: what they are, and what removes them.
    pub intruders: Vec<super::Obstacle>,
    /// `src_valid_mark`, and the IPv4 ways out whose `rp_filter` is strict.
    pub strict: (Option<bool>, Vec<String>),
}

/// A family for people.
const fn name(family: Family) -> &'static str {
    match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}

const fn index(family: Family) -> usize {
    match family {
        Family::V4 => 0,
        Family::V6 => 1,
    }
}

pub(super) fn default_routes(facts: &Facts) -> Vec<Finding> {
    let ways = &facts.ways;
    let mut findings: Vec<Finding> = ways.exits.iter().flat_map(|at| exit(facts, at)).collect();
    findings.extend(leaving(ways));
    findings.extend(ways.intruders.iter().map(|intruder| {
        Finding::warning(
            "policy",
            format!(
                "{}: this overlay uses mark {MARK:#x} and routing table {DEFAULT_TABLE} for default routes",
                intruder.said
            ),
            intruder.mend.clone(),
        )
    }));
    if let ([Some(_), _], (Some(false), strict)) = (&ways.overlay, &ways.strict)
        && !strict.is_empty()
    {
        findings.push(Finding::warning(
            "rp_filter",
            format!(
                "{} drops what comes for ports that containers publish, because the default route leads into the overlay",
                strict.join(", ")
            ),
            "sysctl -w net.ipv4.conf.all.src_valid_mark=1",
        ));
    }
    findings
}

/// By which way this host's own packets for anywhere leave, where that is not the same for both families.
fn leaving(ways: &Ways) -> Vec<Finding> {
    Family::ALL
        .into_iter()
        .filter_map(|family| {
            let network = ways.overlay[index(family)].as_ref()?;
            let other = Family::ALL[1 - index(family)];
            let leaks = ways.overlay[index(other)].is_none() && !ways.own[index(other)].is_empty();
            Some(if leaks {
                let prefix = match other {
                    Family::V4 => "0.0.0.0/0",
                    Family::V6 => "::/0",
                };
                Finding::warning(
                    "default",
                    format!(
                        "{} leaves by the overlay, {} by this host itself",
                        name(family),
                        name(other)
                    ),
                    format!(
                        "tombolo-controller route add {network} {prefix} --via EXIT (if that is to leave by the overlay, too)"
                    ),
                )
            } else {
                Finding::ok("default", format!("{} leaves by the overlay", name(family)))
            })
        })
        .collect()
}

fn exit(facts: &Facts, exit: &Exit) -> Vec<Finding> {
    let Exit {
        network,
        interface,
        prefix,
        ..
    } = exit;
    let family = Family::of_prefix(prefix);
    let own = &facts.ways.own[index(family)];
    let Some(uplink) = own.first() else {
        return vec![Finding::broken(
            "exit",
            format!(
                "this member carries {prefix}, but this host has no {} default route of its own",
                name(family)
            ),
            format!(
                "tombolo-controller route ls {network} (and remove {prefix} by this member, or give this host {})",
                name(family)
            ),
        )];
    };
    let Some(ruleset) = &facts.ruleset else {
        return vec![Finding::unknown(
            "exit",
            format!("whether {prefix} is translated on the way out cannot be seen without nft"),
        )];
    };
    let mut findings = vec![if is_translated(ruleset, exit, own) {
        Finding::ok(
            "exit",
            format!("members leave by {uplink}, with this host's address ({prefix})"),
        )
    } else {
        Finding::broken(
            "exit",
            format!(
                "members that leave here ({prefix}) keep their overlay addresses, which nobody outside can answer"
            ),
            format!(
                "nft add table inet exit; nft add chain inet exit out '{{ type nat hook postrouting priority srcnat; }}'; nft add rule inet exit out iifname {interface} oifname {uplink} masquerade"
            ),
        )
    }];
    findings.extend(held_up(ruleset, family, interface).into_iter().map(|at| {
        Finding::broken(
            "exit",
            format!("the firewall holds up members that leave here ({prefix})"),
            format!(
                "nft insert rule {at} iifname {interface} accept; nft insert rule {at} oifname {interface} ct state established,related accept"
            ),
        )
    }));
    findings
}

/// Whether a firewall table of this family ("ip", "ip6", "inet") sees packets of a family.
fn sees(table: &str, family: Family) -> bool {
    match family {
        Family::V4 => matches!(table, "ip" | "inet"),
        Family::V6 => matches!(table, "ip6" | "inet"),
    }
}

/// Whether some rule translates what comes from the overlay and leaves by one of the ways out. A rule that looks at sources
/// counts if it names a range of the network.
fn is_translated(ruleset: &str, exit: &Exit, own: &[String]) -> bool {
    let family = Family::of_prefix(&exit.prefix);
    let other = match family {
        Family::V4 => "nfproto ipv6",
        Family::V6 => "nfproto ipv4",
    };
    let translates = |rule: &str| {
        let does = [
            "masquerade",
            "MASQUERADE",
            "snat to",
            "snat ip to",
            "snat ip6 to",
        ];
        let named = |keyword: &str, names: &[&str]| match rule.split_once(keyword) {
            None => true,
            Some((_, rest)) => {
                let is_other = rest.trim_start().starts_with("!=");
                let rest = rest.trim_start().trim_start_matches("!= ");
                let is_named = names
                    .iter()
                    .any(|name| rest.trim_start_matches('"').starts_with(name));
                is_named != is_other
            }
        };
        let own: Vec<&str> = own.iter().map(String::as_str).collect();
        let source = rule.split_once("saddr ").and_then(|(_, rest)| {
            let word = rest.split_whitespace().next()?;
            let single = || {
                word.parse()
                    .ok()
                    .map(|address: std::net::IpAddr| address.into())
            };
            word.parse::<IpNet>().ok().or_else(single)
        });
        let is_of_network = !rule.contains("saddr ")
            || source.is_some_and(|source| exit.ranges.iter().any(|range| source.contains(range)));
        does.iter().any(|word| rule.contains(word))
            && !rule.contains(other)
            && named("iifname ", &[&exit.interface])
            && named("oifname ", &own)
            && is_of_network
    };
    firewall::tables(ruleset)
        .iter()
        .filter(|([kind, _], _)| sees(kind, family))
        .any(|(_, chains)| {
            let translating = chains
                .values()
                .any(|chain| chain.is_base("nat", "postrouting"));
            let mut rules = chains.values().flat_map(|chain| &chain.rules);
            translating && rules.any(|rule| translates(rule))
        })
}

/// The chains that let nothing through from the overlay: those that drop by default, in tables that do not know it.
fn held_up(ruleset: &str, family: Family, interface: &str) -> Vec<String> {
    let quoted = format!("\"{interface}\"");
    let lets_through = |rule: &&str| {
        let is_bare = matches!(firewall::verdict_alone(rule), Some("accept"));
        is_bare || rule.contains(&quoted) && rule.contains("accept")
    };
    let tables = firewall::tables(ruleset);
    let seen = tables.iter().filter(|([kind, _], _)| sees(kind, family));
    seen.flat_map(|([kind, table], chains)| {
        let is_known = chains
            .values()
            .flat_map(|chain: &Chain<'_>| &chain.rules)
            .any(lets_through);
        let dropping = chains.iter().filter(move |(_, chain)| {
            chain.is_base("filter", "forward") && chain.drops_by_default && !is_known
        });
        dropping.map(move |(name, _)| format!("{kind} {table} {name}"))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::{Health, doctor::Obstacle, worst};

    const OURS: &str = "table inet tombolo_carried {\n chain postrouting {\n  type nat hook postrouting priority 99; policy accept;\n  iifname \"tmb0\" oifname \"eth0\" meta nfproto ipv4 masquerade\n }\n}\n";

    #[test]
    fn an_exit_has_to_translate_what_leaves_by_its_way_out() {
        for (rule, translates) in [
            (
                "iifname \"tmb0\" oifname \"eth0\" meta nfproto ipv4 masquerade",
                true,
            ),
            (
                "oifname \"eth0\" counter packets 1 bytes 2 masquerade",
                true,
            ),
            ("ip saddr 172.27.0.0/16 oifname \"eth0\" masquerade", true),
            ("ip saddr 172.16.0.0/12 snat to 203.0.113.7", true),
            ("masquerade", true),
            ("oifname != \"lo\" masquerade", true),
            ("oifname != \"eth0\" masquerade", false),
            ("ip saddr 10.0.0.0/8 oifname \"eth0\" masquerade", false),
            ("iifname \"docker0\" masquerade", false),
            ("oifname \"wlan0\" masquerade", false),
            ("iifname \"tmb0\" meta nfproto ipv6 masquerade", false),
            ("iifname \"tmb0\" accept", false),
        ] {
            let ruleset = format!(
                "table ip nat {{\n chain POSTROUTING {{\n  type nat hook postrouting priority srcnat; policy accept;\n  {rule}\n }}\n}}\n"
            );
            assert_eq!(
                is_translated(&ruleset, &an_exit("0.0.0.0/0"), &eth0()),
                translates,
                "{rule}"
            );
            assert!(
                !is_translated(&ruleset, &an_exit("::/0"), &eth0()),
                "of the other family"
            );
        }
    }

    #[test]
    fn an_exit_says_what_keeps_members_from_leaving() {
        let closed = "table inet fw {\n chain forward {\n  type filter hook forward priority filter; policy drop;\n  ct state established accept\n }\n}\n";
        let opened = closed.replace("ct state established", "iifname \"tmb0\"");
        for (prefix, ruleset, health, mend) in [
            ("0.0.0.0/0", OURS.to_owned(), Health::Ok, ""),
            (
                "0.0.0.0/0",
                String::new(),
                Health::Broken,
                "nft add table inet exit; ",
            ),
            (
                "0.0.0.0/0",
                format!("{OURS}{closed}"),
                Health::Broken,
                "nft insert rule inet fw forward iifname tmb0 accept; ",
            ),
            ("0.0.0.0/0", format!("{OURS}{opened}"), Health::Ok, ""),
            (
                "::/0",
                OURS.to_owned(),
                Health::Broken,
                "tombolo-controller route ls 8056c2e21c000001",
            ),
        ] {
            let facts = Facts {
                ruleset: Some(ruleset),
                ways: Ways {
                    own: [eth0(), Vec::new()],
                    exits: vec![an_exit(prefix)],
                    ..Ways::default()
                },
                ..Facts::default()
            };

            let findings = default_routes(&facts);

            let worst = worst(&findings).expect("a finding");
            assert_eq!(worst.health, health, "{findings:?}");
            let said = worst.mend.as_deref().unwrap_or_default();
            assert!(said.starts_with(mend), "{said}");
        }
    }

    #[test]
    fn a_family_that_leaves_by_another_way_is_told_of() {
        let ways = |own_v6: &[&str]| Ways {
            own: [eth0(), own_v6.iter().map(ToString::to_string).collect()],
            overlay: [Some("8056c2e21c000001".to_owned()), None],
            ..Ways::default()
        };

        assert_eq!(leaving(&ways(&["eth0"]))[0].health, Health::Warning);
        assert_eq!(leaving(&ways(&[]))[0].health, Health::Ok);
        assert_eq!(leaving(&Ways::default()), []);
    }

    #[test]
    fn who_else_uses_the_mark_or_the_table_and_strict_filters_are_told_of() {
        let mut facts = Facts {
            ways: Ways {
                intruders: vec![Obstacle {
                    said: "a policy rule looks at table 93".to_owned(),
                    mend: "ip rule del priority 5".to_owned(),
                }],
                strict: (Some(false), eth0()),
                ..Ways::default()
            },
            ..Facts::default()
        };
        assert_eq!(default_routes(&facts).len(), 1);

        facts.ways.overlay[0] = Some("8056c2e21c000001".to_owned());
        let findings = default_routes(&facts);
        assert!(findings.iter().any(|finding| finding.check == "rp_filter"));
        facts.ways.strict.0 = Some(true);
        let findings = default_routes(&facts);
        assert!(!findings.iter().any(|finding| finding.check == "rp_filter"));
    }

    fn an_exit(prefix: &str) -> Exit {
        Exit {
            network: "8056c2e21c000001".to_owned(),
            interface: "tmb0".to_owned(),
            prefix: prefix.parse().expect("a prefix"),
            ranges: vec!["172.27.0.0/16".parse().expect("a prefix")],
        }
    }

    fn eth0() -> Vec<String> {
        vec!["eth0".to_owned()]
    }
}
