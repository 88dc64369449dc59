//! Whose address packets carry between the overlay and what this member carries.
//!
//! Docker's masquerading would hide a container behind its host. A packet that has been translated once, be it to itself,
//! is not translated again, so a chain just before Docker's says: to itself. Machines on a LAN are the other case: they
//! could not answer an overlay address, so what comes to them is masqueraded.

use std::{collections::BTreeSet, fmt::Write as _};

use tombolo_engine::reconcile::Carried;

/// Removes our table, whether or not there is one.
pub(super) const NOTHING: &str =
    "add table inet tombolo_carried\ndelete table inet tombolo_carried\n";

/// The script for nft that replaces our table. Without Docker nobody hides containers, and without a rule the kernel is
/// spared the tracking of connections.
pub(super) fn script(carried: &BTreeSet<Carried>, docker: bool) -> String {
    let mut rules = String::new();
    for Carried {
        link,
        prefix,
        on_lan,
    } in carried
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
    if rules.is_empty() {
        return NOTHING.to_owned();
    }
    format!(
        "{NOTHING}table inet tombolo_carried {{\n  chain postrouting {{\n    type nat hook postrouting priority srcnat - 1;\n\
         {rules}  }}\n}}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_keep_their_address_where_docker_would_hide_it() {
        let carried = BTreeSet::from([
            a_carried("172.28.1.0/24", false),
            a_carried("fc9c::/80", false),
        ]);

        let with_docker = script(&carried, true);

        assert!(with_docker.contains(
            "oifname tmb0 ip saddr 172.28.1.0/24 snat ip prefix to ip saddr map { 172.28.1.0/24 : 172.28.1.0/24 }"
        ));
        assert!(with_docker.contains("oifname tmb0 ip6 saddr fc9c::/80 snat ip6 prefix"));
        assert_eq!(script(&carried, false), NOTHING);
    }

    #[test]
    fn machines_on_a_lan_see_the_hosts_address() {
        let script = script(
            &BTreeSet::from([a_carried("192.168.88.192/27", true)]),
            false,
        );

        assert!(script.contains("iifname tmb0 ip daddr 192.168.88.192/27 masquerade"));
    }

    #[test]
    fn nothing_carried_leaves_no_table() {
        assert_eq!(script(&BTreeSet::new(), true), NOTHING);
    }

    fn a_carried(prefix: &str, on_lan: bool) -> Carried {
        Carried {
            link: "tmb0".parse().expect("a link name"),
            prefix: prefix.parse().expect("a prefix"),
            on_lan,
        }
    }
}
