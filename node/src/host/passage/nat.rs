//! Whose address packets carry between the overlay and what this member carries.
//!
//! Docker's masquerading would hide a container behind its host. A packet that has been translated once, be it to itself,
//! is not translated again, so a chain just before Docker's says: to itself. Machines on a LAN are the other case: they
//! could not answer an overlay address, so what comes to them is masqueraded; and so is what leaves the overlay at an exit.
//!
//! The other chain is for hosts whose own default route leads into the overlay. Who calls such a host at one of its other
//! addresses gets its answers by the underlay, because a policy rule knows the address. Answers of containers whose ports
//! are published bear it only when they leave, so all that belongs to such a connection is marked as the underlay's.

use std::{fmt::Write as _, net::IpAddr};

use tombolo_engine::reconcile::{Carried, Exit, Family, MARK};

use super::Passing;

/// Removes our table, whether or not there is one.
pub(super) const NOTHING: &str =
    "add table inet tombolo_carried\ndelete table inet tombolo_carried\n";

/// The script for nft that replaces our table. Without Docker nobody hides containers, and without a rule the kernel is
/// spared the tracking of connections.
pub(super) fn script(passing: &Passing, docker: bool) -> String {
    let chains = [
        chain(
            "postrouting",
            "nat hook postrouting priority srcnat - 1",
            &translations(passing, docker),
        ),
        chain(
            "prerouting",
            "filter hook prerouting priority mangle",
            &marks(passing),
        ),
    ]
    .concat();
    if chains.is_empty() {
        return NOTHING.to_owned();
    }
    format!("{NOTHING}table inet tombolo_carried {{\n{chains}}}\n")
}

fn chain(name: &str, hook: &str, rules: &str) -> String {
    if rules.is_empty() {
        return String::new();
    }
    format!("  chain {name} {{\n    type {hook};\n{rules}  }}\n")
}

fn translations(passing: &Passing, docker: bool) -> String {
    let mut rules = String::new();
    for Carried {
        link,
        prefix,
        on_lan,
    } in &passing.carried
    {
        let family = if prefix.addr().is_ipv4() { "ip" } else { "ip6" };
        if *on_lan {
            let _ = writeln!(
                rules,
                "    iifname {link} {family} daddr {prefix} masquerade"
            );
        } else if docker {
            let _ = writeln!(
                rules,
                "    oifname {link} {family} saddr {prefix} snat {family} prefix to {family} saddr map {{ {prefix} : {prefix} }}"
            );
        }
    }
    for Exit {
        link,
        uplink,
        family,
    } in &passing.exits
    {
        let family = match family {
            Family::V4 => "ipv4",
            Family::V6 => "ipv6",
        };
        let _ = writeln!(
            rules,
            "    iifname {link} oifname \"{uplink}\" meta nfproto {family} masquerade"
        );
    }
    rules
}

fn marks(passing: &Passing) -> String {
    let mut rules = String::new();
    for (family, is_v4) in [("ip", true), ("ip6", false)] {
        let answering = passing.answering.iter();
        let addresses: Vec<String> = answering
            .filter(|address| address.is_ipv4() == is_v4)
            .map(IpAddr::to_string)
            .collect();
        if !addresses.is_empty() {
            let addresses = addresses.join(", ");
            let _ = writeln!(
                rules,
                "    ct original {family} daddr {{ {addresses} }} meta mark set {MARK:#x}"
            );
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn containers_keep_their_address_where_docker_would_hide_it() {
        let carried = BTreeSet::from([
            a_carried("172.28.1.0/24", false),
            a_carried("fc9c::/80", false),
        ]);

        let with_docker = of(carried.clone(), true);

        assert!(with_docker.contains(
            "oifname tmb0 ip saddr 172.28.1.0/24 snat ip prefix to ip saddr map { 172.28.1.0/24 : 172.28.1.0/24 }"
        ));
        assert!(with_docker.contains("oifname tmb0 ip6 saddr fc9c::/80 snat ip6 prefix"));
        assert_eq!(of(carried, false), NOTHING);
    }

    #[test]
    fn machines_on_a_lan_see_the_hosts_address() {
        let script = of([a_carried("192.168.88.192/27", true)].into(), false);

        assert!(script.contains("iifname tmb0 ip daddr 192.168.88.192/27 masquerade"));
    }

    #[test]
    fn nothing_carried_leaves_no_table() {
        assert_eq!(of(BTreeSet::new(), true), NOTHING);
    }

    #[test]
    fn who_leaves_at_an_exit_gets_the_hosts_address_in_both_families() {
        let exits = Family::ALL.map(|family| Exit {
            link: "tmb0".parse().expect("a link name"),
            uplink: "eth0".to_owned(),
            family,
        });

        let script = script(
            &Passing {
                exits: exits.into(),
                ..Passing::default()
            },
            false,
        );

        for family in ["ipv4", "ipv6"] {
            let rule = format!("iifname tmb0 oifname \"eth0\" meta nfproto {family} masquerade");
            assert!(script.contains(&rule), "{script}");
        }
        assert!(!script.contains("prerouting"), "{script}");
    }

    #[test]
    fn connections_to_the_hosts_own_addresses_are_the_underlays() {
        let addresses = ["203.0.113.7", "10.0.0.1", "2001:db8::7"];
        let passing = Passing {
            answering: addresses
                .map(|text| text.parse().expect("an address"))
                .into(),
            ..Passing::default()
        };

        let script = script(&passing, true);

        assert!(
            script.contains("ct original ip daddr { 10.0.0.1, 203.0.113.7 } meta mark set 0x1050")
        );
        assert!(script.contains("ct original ip6 daddr { 2001:db8::7 } meta mark set 0x1050"));
        assert!(!script.contains("postrouting"), "{script}");
    }

    fn of(carried: BTreeSet<Carried>, docker: bool) -> String {
        let passing = Passing {
            carried,
            ..Passing::default()
        };
        script(&passing, docker)
    }

    fn a_carried(prefix: &str, on_lan: bool) -> Carried {
        Carried {
            link: "tmb0".parse().expect("a link name"),
            prefix: prefix.parse().expect("a prefix"),
            on_lan,
        }
    }
}
