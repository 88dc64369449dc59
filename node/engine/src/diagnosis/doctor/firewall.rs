//! What a firewall of nftables does to what comes in at a port, read from what `nft list ruleset` prints. Rules of iptables
//! are there too, as far as they are kept by nftables.

use std::collections::BTreeMap;

/// Chains that lead to each other further than this are not followed.
const DEPTH: usize = 8;

/// What carries packets to a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Udp,
    Tcp,
}

impl Protocol {
    /// For people.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        }
    }

    const fn keyword(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// A chain that lets nobody in at a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Closed {
    family: String,
    table: String,
    chain: String,
}

impl Closed {
    /// The command that opens the port. A rule that accepts elsewhere would not help: every chain has to let a packet pass.
    pub(super) fn open(&self, protocol: Protocol, port: u16) -> String {
        let Self {
            family,
            table,
            chain,
        } = self;
        let protocol = protocol.keyword();
        let iptables = match (family.as_str(), table.as_str(), chain.as_str()) {
            ("ip", "filter", "INPUT") => "iptables",
            ("ip6", "filter", "INPUT") => "ip6tables",
            _ => {
                return format!(
                    "nft insert rule {family} {table} {chain} {protocol} dport {port} accept"
                );
            }
        };
        format!("{iptables} -I INPUT -p {protocol} --dport {port} -j ACCEPT")
    }
}

/// A chain and its rules.
#[derive(Debug, Default)]
pub(super) struct Chain<'a> {
    /// The line that says where it is hooked in, if it is.
    base: &'a str,
    pub(super) drops_by_default: bool,
    pub(super) rules: Vec<&'a str>,
}

impl Chain<'_> {
    /// Whether it is hooked in there.
    pub(super) fn is_base(&self, kind: &str, hook: &str) -> bool {
        let mut words = self.base.split_whitespace();
        words.next() == Some("type")
            && words.next() == Some(kind)
            && words.next() == Some("hook")
            && words.next() == Some(hook)
    }
}

/// A table's family and name, and its chains by name.
pub(super) type Table<'a> = ([&'a str; 2], BTreeMap<&'a str, Chain<'a>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Accept,
    Drop,
}

/// The chains that let nobody in at a port.
pub(super) fn closed(ruleset: &str, protocol: Protocol, port: u16) -> Vec<Closed> {
    let mut closed = Vec::new();
    for ([family, table], chains) in tables(ruleset) {
        for (name, chain) in chains
            .iter()
            .filter(|(_, chain)| chain.is_base("filter", "input"))
        {
            let verdict = judge(&chains, chain, protocol, port, 0);
            if verdict == Some(Verdict::Drop) || (verdict.is_none() && chain.drops_by_default) {
                closed.push(Closed {
                    family: family.to_owned(),
                    table: table.to_owned(),
                    chain: (*name).to_owned(),
                });
            }
        }
    }
    closed
}

/// What `nft list ruleset` printed, by tables and chains.
pub(super) fn tables(ruleset: &str) -> Vec<Table<'_>> {
    let mut tables: Vec<Table<'_>> = Vec::new();
    let mut current: Option<&str> = None;
    for line in ruleset.lines().map(str::trim) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match (words.as_slice(), tables.last_mut(), current) {
            (["table", family, name, "{"], ..) => tables.push(([family, name], BTreeMap::new())),
            (["chain", name, "{"], Some((_, chains)), _) => {
                chains.insert(name, Chain::default());
                current = Some(name);
            }
            (["}"], ..) => current = None,
            (_, Some((_, chains)), Some(name)) => {
                let chain = chains.entry(name).or_default();
                if line.starts_with("type ") {
                    chain.base = line;
                    chain.drops_by_default = line.contains("policy drop");
                } else {
                    chain.rules.push(line);
                }
            }
            _ => {}
        }
    }
    tables
}

/// What becomes of a packet to the port that begins a flow; none if no rule says. Of rules that look at more than the port
/// those that accept count: somebody gets in.
fn judge(
    chains: &BTreeMap<&str, Chain<'_>>,
    chain: &Chain<'_>,
    protocol: Protocol,
    port: u16,
    depth: usize,
) -> Option<Verdict> {
    for rule in &chain.rules {
        let rule = Rule::read(rule);
        let is_ours = rule.covers(protocol, port);
        let verdict = match rule.verdict.as_slice() {
            ["accept"] if is_ours || rule.is_bare() => Some(Verdict::Accept),
            ["drop"] | ["reject", ..] if (is_ours && !rule.is_narrowed) || rule.is_bare() => {
                Some(Verdict::Drop)
            }
            ["jump" | "goto", to] if depth < DEPTH && (is_ours || rule.ports.is_none()) => {
                let verdict = chains
                    .get(to)
                    .and_then(|to| judge(chains, to, protocol, port, depth + 1));
                // Only some of the packets get there.
                verdict.filter(|verdict| *verdict == Verdict::Accept || !rule.is_narrowed)
            }
            _ => None,
        };
        if verdict.is_some() {
            return verdict;
        }
    }
    None
}

/// What a rule does that looks at nothing.
pub(super) fn verdict_alone(rule: &str) -> Option<&str> {
    let rule = Rule::read(rule);
    let is_bare = rule.is_bare();
    rule.verdict.first().copied().filter(|_| is_bare)
}

/// A rule, as far as it is understood.
#[derive(Debug)]
struct Rule<'a> {
    /// The protocols that it speaks of.
    protocols: Option<Vec<&'a str>>,
    /// The destination ports.
    ports: Option<Vec<&'a str>>,
    /// Whether it looks at anything else.
    is_narrowed: bool,
    /// What it does.
    verdict: Vec<&'a str>,
}

impl<'a> Rule<'a> {
    fn read(text: &'a str) -> Self {
        let text = text.split(" comment ").next().unwrap_or_default();
        let mut rule = Self {
            protocols: None,
            ports: None,
            is_narrowed: false,
            verdict: Vec::new(),
        };
        let mut words = text.split_whitespace().peekable();
        while let Some(word) = words.next() {
            match word {
                "counter" | "packets" | "bytes" | "log" => {}
                number if number.parse::<u64>().is_ok() => {}
                "meta" if words.peek() == Some(&"l4proto") => {
                    words.next();
                    rule.protocols = Some(set(&mut words));
                }
                "udp" | "tcp" | "th" if words.peek() == Some(&"dport") => {
                    words.next();
                    if word != "th" {
                        rule.protocols = Some(vec![word]);
                    }
                    rule.ports = Some(set(&mut words));
                }
                "accept" | "drop" | "reject" | "jump" | "goto" => {
                    rule.verdict = [word].into_iter().chain(words.by_ref()).collect();
                }
                _ => rule.is_narrowed = true,
            }
        }
        rule
    }

    /// Whether it is about every packet.
    const fn is_bare(&self) -> bool {
        self.protocols.is_none() && self.ports.is_none() && !self.is_narrowed
    }

    /// Whether it is about packets of this protocol to this port.
    fn covers(&self, protocol: Protocol, port: u16) -> bool {
        let names_protocol = match &self.protocols {
            Some(named) => named.contains(&protocol.keyword()),
            None => self.ports.is_some(),
        };
        let Some(ports) = &self.ports else {
            return names_protocol;
        };
        let holds = |range: &str| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let parse = |text: &str| text.parse::<u16>().ok();
            parse(first).is_some_and(|first| first <= port)
                && parse(last).is_some_and(|last| port <= last)
        };
        names_protocol && ports.iter().any(|range| holds(range))
    }
}

/// One element, or several in braces.
fn set<'a>(words: &mut impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    match words.next() {
        Some("{") => words
            .take_while(|word| *word != "}")
            .map(|word| word.trim_end_matches(','))
            .collect(),
        other => other.into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_that_drops_by_default_is_closed_unless_a_rule_opens_the_port() {
        for (rule, is_open) in [
            ("tcp dport 22 accept", false),
            ("udp dport 9790 accept", true),
            (
                "udp dport { 22, 9790 } counter packets 3 bytes 9 accept",
                true,
            ),
            ("udp dport 9000-9999 accept", true),
            (
                "meta l4proto udp udp dport 9790 counter packets 0 bytes 0 accept",
                true,
            ),
            ("th dport 9790 accept", true),
            ("tcp dport 9790 accept", false),
            ("udp dport 19790 accept", false),
            ("udp dport 22 counter packets 9790 bytes 9790 accept", false),
            ("udp dport 9790 drop", false),
            ("ip saddr 192.0.2.0/24 udp dport 9790 accept", true),
            ("ct state established,related accept", false),
            ("counter packets 1 bytes 2 accept", true),
            ("iifname \"lo\" accept", false),
            ("jump services", true),
            ("goto nowhere", false),
        ] {
            let closed = closed(&a_firewall("drop", rule), Protocol::Udp, 9790);
            assert_eq!(closed.is_empty(), is_open, "{rule}");
        }
    }

    #[test]
    fn a_chain_that_accepts_by_default_is_open_unless_a_rule_closes_the_port() {
        for (rule, is_open) in [
            ("udp dport 9790 drop", false),
            ("udp dport 9790 reject with icmp port-unreachable", false),
            ("meta l4proto udp drop", false),
            (
                "meta l4proto { tcp, udp } th dport { 53, 9790 } drop",
                false,
            ),
            ("reject with icmpx admin-prohibited", false),
            ("meta l4proto tcp drop", true),
            ("ip saddr 192.0.2.7 udp dport 9790 drop", true),
            ("udp dport 53 drop", true),
        ] {
            let closed = closed(&a_firewall("accept", rule), Protocol::Udp, 9790);
            assert_eq!(closed.is_empty(), is_open, "{rule}");
        }
    }

    #[test]
    fn the_command_names_the_chain_that_is_closed() {
        let ruleset = a_firewall("drop", "tcp dport 22 accept");
        let iptables = ruleset
            .replace("inet fw", "ip filter")
            .replace("chain in ", "chain INPUT ");

        let commands: Vec<String> = closed(&(ruleset + &iptables), Protocol::Tcp, 9790)
            .iter()
            .map(|chain| chain.open(Protocol::Tcp, 9790))
            .collect();

        assert_eq!(
            commands,
            [
                "nft insert rule inet fw in tcp dport 9790 accept",
                "iptables -I INPUT -p tcp --dport 9790 -j ACCEPT"
            ]
        );
    }

    /// Nothing that a host prints may make it fail.
    #[test]
    fn chains_that_lead_to_each_other_and_junk_are_no_obstacle() {
        let ruleset = a_firewall("drop", "jump in");
        assert_eq!(closed(&ruleset, Protocol::Udp, 9790).len(), 1);
        for junk in [
            "",
            "}",
            "table",
            "chain x {",
            "table inet x {\n}\nudp dport",
        ] {
            assert!(closed(junk, Protocol::Udp, 9790).is_empty());
        }
    }

    fn a_firewall(policy: &str, rule: &str) -> String {
        format!(
            "table inet fw {{\n\tset allowed {{\n\t\ttype ipv4_addr\n\t}}\n\n\tchain in {{\n\t\ttype filter hook input priority filter; policy {policy};\n\t\t{rule}\n\t}}\n\n\tchain services {{\n\t\tudp dport 9790 accept\n\t}}\n\n\tchain forward {{\n\t\ttype filter hook forward priority filter; policy drop;\n\t}}\n}}\n"
        )
    }
}
