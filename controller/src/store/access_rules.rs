//! How access rules stand in their column: as the text that people read, with members by key.

use serde::{Deserialize, Serialize};
use tombolo_proto::rules::{AccessRules, Action, Rule};

#[derive(Serialize, Deserialize)]
struct Column {
    default: Action,
    rules: Vec<String>,
}

/// The column of these rules: empty if there are none.
pub(super) fn to_text(rules: &AccessRules) -> String {
    if rules.is_empty() {
        return String::new();
    }
    let column = Column {
        default: rules.default,
        rules: rules.rules.iter().map(ToString::to_string).collect(),
    };
    serde_json::to_string(&column).expect("plain data always becomes JSON")
}

/// The inverse of [`to_text`].
pub(super) fn from_text(text: &str) -> Option<AccessRules> {
    if text.is_empty() {
        return Some(AccessRules::default());
    }
    let column: Column = serde_json::from_str(text).ok()?;
    let rules = column.rules.iter().map(|line| {
        let written: Rule<String> = line.parse().ok()?;
        written.rename_members(|key| key.parse()).ok()
    });
    Some(AccessRules {
        default: column.default,
        rules: rules.collect::<Option<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use tombolo_proto::key::IdentityKey;

    use super::*;

    #[test]
    fn rules_come_back_from_their_column_and_anything_else_is_damage() {
        let key = IdentityKey([7; 32]);
        let rules = AccessRules {
            default: Action::Deny,
            rules: [
                format!("allow tcp 22,80-90 from tag:a,member:{key} to 10.0.0.0/8"),
                "deny 47 from any to any".to_owned(),
            ]
            .iter()
            .map(|line| {
                let written: Rule<String> = line.parse().expect("a rule");
                written.rename_members(|key| key.parse()).expect("a key")
            })
            .collect(),
        };
        assert_eq!(from_text(&to_text(&rules)), Some(rules));
        assert_eq!(to_text(&AccessRules::default()), "");
        assert_eq!(from_text(""), Some(AccessRules::default()));
        for damaged in ["{}", "[]", r#"{"default":"deny","rules":["permit"]}"#] {
            assert_eq!(from_text(damaged), None, "{damaged}");
        }
    }
}
