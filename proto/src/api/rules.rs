//! Access rules as JSON.

use serde::{Deserialize, Serialize};

use crate::rules::{Action, Rule, RuleError};

json! {
    /// The access rules of a network: the first that matches decides, at the member that receives.
    #[serde(deny_unknown_fields)]
    pub struct AccessRules {
        /// For what no rule matches: `allow` or `deny`.
        #[cfg_attr(feature = "openapi", schema(value_type = String, example = "deny"))]
        pub default: Action,
        /// In the order in which they are tried; at most 1,000.
        pub rules: Vec<AccessRule>,
    }

    /// An access rule.
    #[serde(deny_unknown_fields)]
    pub struct AccessRule {
        /// `allow` or `deny`.
        #[cfg_attr(feature = "openapi", schema(value_type = String, example = "allow"))]
        pub action: Action,
        /// `any` (default), `tcp`, `udp`, `icmp`, or a number.
        #[serde(default = "any")]
        #[cfg_attr(feature = "openapi", schema(example = "tcp"))]
        pub protocol: String,
        /// Destination ports and ranges of them, of `tcp` and `udp` only; none for all.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(example = json!(["22", "8000-8100"])))]
        pub ports: Vec<String>,
        /// Whom packets come from: `tag:TAG`, `member:NAME` (or a node address), a prefix or an address; none for anybody.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(example = json!(["tag:admin"])))]
        pub from: Vec<String>,
        /// Whom they go to, likewise.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(example = json!(["member:db", "172.28.1.0/24"])))]
        pub to: Vec<String>,
    }
}

fn any() -> String {
    "any".to_owned()
}

impl From<&Rule<String>> for AccessRule {
    fn from(rule: &Rule<String>) -> Self {
        let words =
            |words: &[_]| -> Vec<String> { words.iter().map(ToString::to_string).collect() };
        Self {
            action: rule.action,
            protocol: rule.protocol.to_string(),
            ports: rule.ports.iter().map(ToString::to_string).collect(),
            from: words(&rule.from),
            to: words(&rule.to),
        }
    }
}

impl TryFrom<&AccessRule> for Rule<String> {
    type Error = RuleError;

    fn try_from(rule: &AccessRule) -> Result<Self, RuleError> {
        let rule = Self {
            action: rule.action,
            protocol: rule.protocol.parse()?,
            ports: parsed(&rule.ports)?,
            from: parsed(&rule.from)?,
            to: parsed(&rule.to)?,
        };
        rule.checked()
    }
}

fn parsed<T: std::str::FromStr<Err = RuleError>>(words: &[String]) -> Result<Vec<T>, RuleError> {
    words.iter().map(|word| word.parse()).collect()
}
