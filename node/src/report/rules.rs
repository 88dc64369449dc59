//! What access rules do at this node.

use std::{net::IpAddr, time::Duration};

use serde::{Deserialize, Serialize};
use tombolo_engine::{
    control::{RulesStatus, Stopped},
    diagnosis::ago,
};
use tombolo_proto::{id::NodeId, rules::Action};

/// The access rules of a network, as this node enforces them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulesReport {
    /// For what no rule matches.
    pub default: Action,
    /// In the order in which they are tried.
    pub rules: Vec<RuleReport>,
    /// Packets that no rule allowed.
    pub stopped_by_default: u64,
    /// Flows under way, whose answers pass.
    pub flows: usize,
    /// What was stopped lately, newest first.
    pub stopped: Vec<StoppedReport>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleReport {
    /// As text.
    pub rule: String,
    /// Packets that it stopped here.
    pub stopped: u64,
}

/// A flow that was stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoppedReport {
    /// The number of the rule; null for the default.
    pub rule: Option<usize>,
    /// The rule as text, or `default deny`.
    pub text: String,
    /// Who sent it; null if that is no member any more.
    pub node: Option<NodeId>,
    /// The sender's name.
    pub name: Option<String>,
    /// From where.
    pub source: IpAddr,
    /// To where.
    pub destination: IpAddr,
    /// `tcp`, `udp`, `icmp` or a number.
    pub protocol: String,
    /// Destination port.
    pub port: Option<u16>,
    /// How many packets.
    pub packets: u64,
    /// Since the last one.
    pub seconds_ago: u64,
}

impl RulesReport {
    /// All packets that were stopped.
    #[must_use]
    pub fn all_stopped(&self) -> u64 {
        let by_rules: u64 = self.rules.iter().map(|rule| rule.stopped).sum();
        by_rules + self.stopped_by_default
    }
}

impl From<RulesStatus> for RulesReport {
    fn from(status: RulesStatus) -> Self {
        let rules = status.rules.into_iter();
        Self {
            default: status.default,
            rules: rules
                .map(|(rule, stopped)| RuleReport { rule, stopped })
                .collect(),
            stopped_by_default: status.stopped_by_default,
            flows: status.flows,
            stopped: status.lately.into_iter().map(StoppedReport::from).collect(),
        }
    }
}

impl From<Stopped> for StoppedReport {
    fn from(stopped: Stopped) -> Self {
        let (node, name) = stopped.peer.unzip();
        Self {
            rule: stopped.rule,
            text: stopped.text,
            node,
            name,
            source: stopped.source,
            destination: stopped.destination,
            protocol: stopped.protocol.to_string(),
            port: stopped.port,
            packets: stopped.packets,
            seconds_ago: stopped.ago.as_secs(),
        }
    }
}

impl StoppedReport {
    /// In words: which rule stopped what.
    #[must_use]
    pub fn sentence(&self) -> String {
        let rule = match self.rule {
            Some(number) => format!("rule {number} ({})", self.text),
            None => "no rule allows it: the default".to_owned(),
        };
        let port = self
            .port
            .map_or_else(String::new, |port| format!("/{port}"));
        let sender = self
            .name
            .as_deref()
            .map_or_else(String::new, |name| format!(" ({name})"));
        format!(
            "{rule} stopped {} packet(s) from {}{sender} to {} {}{port}, the last {}",
            self.packets,
            self.source,
            self.destination,
            self.protocol,
            ago(Duration::from_secs(self.seconds_ago))
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stopped_is_told_in_one_sentence() {
        let stopped = StoppedReport {
            rule: Some(3),
            text: "deny tcp 22 from any to any".to_owned(),
            node: None,
            name: Some("alpha".to_owned()),
            source: IpAddr::from([172, 27, 0, 5]),
            destination: IpAddr::from([172, 27, 0, 6]),
            protocol: "tcp".to_owned(),
            port: Some(22),
            packets: 4,
            seconds_ago: 2,
        };
        assert_eq!(
            stopped.sentence(),
            "rule 3 (deny tcp 22 from any to any) stopped 4 packet(s) from 172.27.0.5 (alpha) to 172.27.0.6 tcp/22, the last 2 s ago"
        );
    }
}
