//! What programs leave on a host: firewall rules, links, addresses, routes, Docker networks. Taken before and after, and
//! compared.
//!
//! Counters are left out, and so are tables and chains without a rule: `iptables` and Docker make those and never remove
//! them.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::Value;

use crate::{
    docker::Docker,
    netns::{Host, Namespace},
};

/// How a host looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footprint(BTreeMap<&'static str, Vec<String>>);

impl Footprint {
    /// Looks at a host, and at what its Docker knows.
    ///
    /// # Panics
    /// When one of the tools is missing.
    #[must_use]
    #[track_caller]
    pub fn of(host: &Host, docker: Option<&Docker>) -> Self {
        let inside = &host.namespace;
        let networks = docker.map_or_else(String::new, |docker| {
            docker.run("network ls --no-trunc --format {{.ID}}:{{.Name}}:{{.Driver}}")
        });
        Self(BTreeMap::from([
            ("iptables", rules(&inside.run("iptables-save"))),
            ("ip6tables", rules(&inside.run("ip6tables-save"))),
            ("nft", nft_rules(inside)),
            ("addresses", lines(&inside.run("ip -br addr show"))),
            ("routes", routes(&inside.run("ip route show table all"))),
            (
                "routes6",
                lines(&inside.run("ip -6 route show table main proto static")),
            ),
            (
                "policy rules",
                lines(&(inside.run("ip rule show") + &inside.run("ip -6 rule show"))),
            ),
            ("docker networks", lines(&networks)),
        ]))
    }

    /// Asserts that nothing was added and nothing is gone.
    ///
    /// # Panics
    /// With the lines that differ.
    #[track_caller]
    pub fn assert_same_as(&self, other: &Self) {
        let mut differences = String::new();
        for (what, lines) in &self.0 {
            let others = &other.0[what];
            for (mark, here, there) in [("-", lines, others), ("+", others, lines)] {
                for line in here.iter().filter(|line| !there.contains(line)) {
                    let _ = writeln!(differences, "{mark} {what}: {line}");
                }
            }
        }
        assert!(differences.is_empty(), "the host changed:\n{differences}");
    }
}

/// Without the anycast addresses that come with IPv6 forwarding, which stays on, because others rely on it too; and without
/// what the kernel derives from an interface's own addresses, which are compared themselves: for IPv6 it makes that only
/// when duplicate address detection is over.
fn routes(text: &str) -> Vec<String> {
    let mut routes = lines(text);
    routes.retain(|line| {
        let derived = line.starts_with("local") && line.contains("proto kernel");
        !derived && !line.starts_with("anycast")
    });
    routes
}

fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<_> = text.lines().map(|line| line.trim().to_owned()).collect();
    lines.sort();
    lines
}

/// `*-save` with every rule behind its table, and the chains that do not accept what passes them.
fn rules(saved: &str) -> Vec<String> {
    let mut table = "";
    let mut found = Vec::new();
    for line in saved.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name;
        } else if line.starts_with("-A") {
            found.push(format!("{table}: {line}"));
        } else if let Some(chain) = line
            .strip_prefix(':')
            .filter(|line| line.contains(" DROP "))
        {
            let policy = chain.split(" [").next().unwrap_or(chain);
            found.push(format!("{table}: {policy}"));
        }
    }
    found
}

/// Rules of nftables that are not shown by `iptables-save`, without handles and counters.
fn nft_rules(inside: &Namespace) -> Vec<String> {
    let listing = inside.run("nft -j list ruleset");
    let listing: Value = serde_json::from_str(&listing).expect("nft -j prints JSON");
    let mut found = Vec::new();
    for entry in listing["nftables"].as_array().into_iter().flatten() {
        let mut rule = entry["rule"].clone();
        let Some(fields) = rule.as_object_mut() else {
            continue;
        };
        if fields["family"] != "inet" {
            continue;
        }
        fields.remove("handle");
        if let Some(parts) = fields.get_mut("expr").and_then(Value::as_array_mut) {
            parts.retain(|part| part.get("counter").is_none());
        }
        found.push(rule.to_string());
    }
    found.sort();
    found
}
