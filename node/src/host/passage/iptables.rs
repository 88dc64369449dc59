//! The rules that accept packets for carried prefixes, and out of the overlay at an exit.

use std::collections::BTreeSet;

use ipnet::IpNet;
use tombolo_containers::{
    firewall::{self, Rule},
    ruleset::{Backend, Saved, Table},
};
use tombolo_engine::reconcile::Family;

use super::Passing;

/// The comment on each of them.
pub(super) const MARK: &str = "tombolo-carried";

/// The rules that there should be in a firewall that looks like `saved`.
pub(super) fn rules(backend: Backend, saved: &Saved, passing: &Passing) -> BTreeSet<Rule> {
    let Some(chain) = firewall::forward_chain(saved) else {
        return BTreeSet::new();
    };
    let rule = |table, chain: &str, matches: &[&str]| {
        let end = ["-m", "comment", "--comment", MARK, "-j", "ACCEPT"];
        let words = matches.iter().chain(&end).map(|word| (*word).to_owned());
        Rule {
            backend,
            table,
            chain: chain.to_owned(),
            words: words.collect(),
        }
    };
    let of_family = |prefix: &IpNet| prefix.addr().is_ipv4() == (backend == Backend::V4);
    let mut rules = BTreeSet::new();
    let carried = passing.carried.iter();
    for one in carried.filter(|one| of_family(&one.prefix)) {
        let (link, prefix) = (one.link.as_str(), one.prefix.to_string());
        rules.insert(rule(Table::Filter, chain, &["-d", &prefix, "-i", link]));
        rules.insert(rule(Table::Filter, chain, &["-s", &prefix, "-o", link]));
        if firewall::has_docker(saved) {
            // Docker from 28 on drops here what comes to a container from elsewhere.
            let matches = ["-d", &prefix, "-i", link];
            rules.insert(rule(Table::Raw, "PREROUTING", &matches));
        }
    }
    let exits = passing.exits.iter();
    for exit in exits.filter(|exit| (exit.family == Family::V4) == (backend == Backend::V4)) {
        let (link, uplink) = (exit.link.as_str(), exit.uplink.as_str());
        let out = ["-i", link, "-o", uplink];
        let back = [
            "-i",
            uplink,
            "-o",
            link,
            "-m",
            "conntrack",
            "--ctstate",
            "RELATED,ESTABLISHED",
        ];
        rules.insert(rule(Table::Filter, chain, &out));
        rules.insert(rule(Table::Filter, chain, &back));
    }
    rules
}

#[cfg(test)]
mod tests {
    use tombolo_engine::reconcile::{Carried, Exit};

    use super::*;

    #[test]
    fn with_docker_each_prefix_is_accepted_both_ways_and_before_dockers_own_drops() {
        assert_eq!(
            steps(Backend::V4, DOCKER),
            [
                "iptables -w -t filter -I DOCKER-USER -d 172.28.1.0/24 -i tmb0 -m comment --comment tombolo-carried -j ACCEPT",
                "iptables -w -t filter -I DOCKER-USER -s 172.28.1.0/24 -o tmb0 -m comment --comment tombolo-carried -j ACCEPT",
                "iptables -w -t raw -I PREROUTING -d 172.28.1.0/24 -i tmb0 -m comment --comment tombolo-carried -j ACCEPT",
            ]
        );
    }

    #[test]
    fn at_an_exit_members_get_out_and_answers_get_in() {
        let exit = Exit {
            link: "tmb0".parse().expect("a link name"),
            uplink: "eth0".to_owned(),
            family: Family::V4,
        };
        let passing = Passing {
            exits: [exit].into(),
            ..Passing::default()
        };
        let steps = |backend| -> Vec<String> {
            let saved = Saved::parse(backend, DOCKER);
            let wanted = rules(backend, &saved, &passing);
            let steps = firewall::actions_among(MARK, &wanted, &saved);
            steps.iter().map(ToString::to_string).collect()
        };

        assert_eq!(
            steps(Backend::V4),
            [
                "iptables -w -t filter -I DOCKER-USER -i eth0 -o tmb0 -m conntrack --ctstate RELATED,ESTABLISHED -m comment --comment tombolo-carried -j ACCEPT",
                "iptables -w -t filter -I DOCKER-USER -i tmb0 -o eth0 -m comment --comment tombolo-carried -j ACCEPT",
            ]
        );
        assert!(steps(Backend::V6).is_empty());
    }

    #[test]
    fn families_are_kept_apart() {
        let steps = steps(Backend::V6, DOCKER);

        assert_eq!(steps.len(), 3);
        assert!(
            steps
                .iter()
                .all(|step| step.starts_with("ip6tables") && step.contains("fc9c::/80"))
        );
    }

    #[test]
    fn a_host_that_drops_without_docker_gets_two_rules_and_one_that_accepts_gets_none() {
        let drops = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\nCOMMIT\n";

        let where_dropped = steps(Backend::V4, drops);

        assert_eq!(where_dropped.len(), 2);
        assert!(
            where_dropped
                .iter()
                .all(|step| step.contains("-I FORWARD "))
        );
        assert!(steps(Backend::V4, &drops.replace("DROP", "ACCEPT")).is_empty());
        assert!(steps(Backend::V4, "").is_empty());
    }

    #[test]
    fn what_is_there_already_stays_what_is_carried_no_more_goes_and_other_peoples_rules_are_left_alone()
     {
        let there = "-A DOCKER-USER -d 172.28.1.0/24 -i tmb0 -m comment --comment tombolo-carried -j ACCEPT\n\
                     -A DOCKER-USER -s 172.28.1.0/24 -o tmb0 -m comment --comment \"tombolo-carried\" -j ACCEPT\n\
                     -A DOCKER-USER -d 10.9.0.0/24 -i tmb0 -m comment --comment tombolo-carried -j ACCEPT\n\
                     -A DOCKER-USER -d 10.8.0.0/24 -i tmb0 -m comment --comment tombolo:1 -j ACCEPT\n\
                     -A DOCKER-USER -d 10.7.0.0/24 -i tmb0 -j ACCEPT\n";
        let saved = DOCKER.replace("COMMIT\n*raw", &format!("{there}COMMIT\n*raw"));

        let steps = steps(Backend::V4, &saved);

        assert_eq!(steps.len(), 2, "{steps:?}");
        assert!(steps[0].contains("-D DOCKER-USER -d 10.9.0.0/24"));
        assert!(steps[1].contains("-t raw -I PREROUTING"));
    }

    const DOCKER: &str = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:DOCKER-USER - [0:0]\n\
                          -A FORWARD -j DOCKER-USER\nCOMMIT\n*raw\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n";

    fn steps(backend: Backend, saved: &str) -> Vec<String> {
        let carried = ["172.28.1.0/24", "fc9c::/80"]
            .map(|prefix| Carried {
                link: "tmb0".parse().expect("a link name"),
                prefix: prefix.parse().expect("a prefix"),
                on_lan: false,
            })
            .into();
        let carried = Passing {
            carried,
            ..Passing::default()
        };
        let saved = Saved::parse(backend, saved);
        firewall::actions_among(MARK, &rules(backend, &saved, &carried), &saved)
            .iter()
            .map(ToString::to_string)
            .collect()
    }
}
