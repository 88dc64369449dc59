//! Keeps neighbours on other interfaces from speaking in the name of overlay members.
//!
//! Linux accepts a packet for any of its addresses on any interface. So a host on the same LAN could send a packet
//! with an overlay source address, and services that trust the overlay would believe it. One nftables rule drops what
//! has an overlay source and arrives on another interface than the kernel's route back to that source.

use std::{collections::BTreeSet, fmt::Write as _};

use ipnet::IpNet;

use super::nftables;

/// Our nftables table; nobody else writes to it.
const TABLE: &str = "inet tombolo";

/// The rule, as far as it is in force.
#[derive(Debug, Default)]
pub struct WeakHostRule {
    in_force: BTreeSet<IpNet>,
    unavailable: bool,
}

impl WeakHostRule {
    /// Brings the rule to exactly these overlay prefixes; none removes it. Says once if it cannot.
    pub async fn set(&mut self, prefixes: BTreeSet<IpNet>) {
        if self.unavailable || prefixes == self.in_force {
            return;
        }
        match nftables::load(&script(&prefixes)).await {
            Ok(()) => self.in_force = prefixes,
            Err(error) => {
                self.unavailable = true;
                tracing::warn!(
                    "Neighbours on other interfaces can pretend to be overlay members: {error:#}; install nftables and restart"
                );
            }
        }
    }
}

/// Replaces the whole table in one transaction.
fn script(prefixes: &BTreeSet<IpNet>) -> String {
    // Adding first makes deleting work whether or not the table exists.
    let mut script = format!("add table {TABLE}\ndelete table {TABLE}\n");
    if prefixes.is_empty() {
        return script;
    }
    let aggregated = IpNet::aggregate(&prefixes.iter().copied().collect());
    let _ = writeln!(
        script,
        "table {TABLE} {{\n  chain prerouting {{\n    type filter hook prerouting priority raw;"
    );
    for (family, is_v4) in [("ip", true), ("ip6", false)] {
        let elements: Vec<String> = aggregated
            .iter()
            .filter(|prefix| prefix.addr().is_ipv4() == is_v4)
            .map(IpNet::to_string)
            .collect();
        if !elements.is_empty() {
            let elements = elements.join(", ");
            let _ = writeln!(
                script,
                "    iif != lo {family} saddr {{ {elements} }} fib saddr . iif oif missing counter drop"
            );
        }
    }
    script.push_str("  }\n}\n");
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_are_guarded_and_the_table_is_replaced_whole() {
        let prefixes =
            ["172.27.0.0/16", "fc9c:56c2:e300::/40"].map(|text| text.parse().expect("a prefix"));

        let script = script(&prefixes.into());

        assert!(script.starts_with("add table inet tombolo\ndelete table inet tombolo\n"));
        assert!(script.contains("ip saddr { 172.27.0.0/16 } fib saddr . iif oif missing"));
        assert!(script.contains("ip6 saddr { fc9c:56c2:e300::/40 } fib saddr . iif oif missing"));
    }

    #[test]
    fn no_prefix_removes_the_table() {
        assert_eq!(
            script(&BTreeSet::new()),
            "add table inet tombolo\ndelete table inet tombolo\n"
        );
    }
}
