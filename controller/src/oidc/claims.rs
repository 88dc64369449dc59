//! What a provider says about somebody, by the names of the settings.

use std::collections::BTreeSet;

use serde_json::Value;

/// The claims of an ID token, and those of the user info beside them.
#[derive(Debug, Default)]
pub(super) struct Claims(Vec<Value>);

impl Claims {
    /// Adds claims; those that were there win.
    pub(super) fn add(&mut self, claims: Value) {
        self.0.push(claims);
    }

    /// A claim. `realm.roles` is the claim of that name or, if there is none, `roles` within `realm`.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        let nested = |claims| {
            name.split('.')
                .try_fold(claims, |within: &Value, part| within.get(part))
        };
        self.0
            .iter()
            .find_map(|claims| claims.get(name).or_else(|| nested(claims)))
            .filter(|value| !value.is_null())
    }

    /// A claim that is a text and not empty. An address that the provider has not verified names nobody: anyone could
    /// write there what they like.
    pub(super) fn name(&self, claim: &str) -> Option<&str> {
        if claim == "email" && self.get("email_verified") != Some(&Value::Bool(true)) {
            return None;
        }
        self.get(claim)?.as_str().filter(|text| !text.is_empty())
    }

    /// A claim that is a text or a list of texts.
    pub(super) fn texts(&self, claim: &str) -> BTreeSet<String> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        match self.get(claim) {
            Some(Value::Array(values)) => values.iter().filter_map(text).collect(),
            Some(value) => text(value).into_iter().collect(),
            None => BTreeSet::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn claims_are_found_by_name_or_within_others_and_the_id_token_wins() {
        let mut claims = Claims::default();
        claims.add(json!({"name": "alice", "realm": {"roles": ["a", 1, "b"]}, "none": null}));
        claims.add(json!({"name": "mallory", "a.b": "c", "none": "x"}));

        assert_eq!(claims.name("name"), Some("alice"));
        assert_eq!(claims.texts("realm.roles"), set(&["a", "b"]));
        assert_eq!(claims.texts("a.b"), set(&["c"]));
        assert_eq!(claims.texts("realm"), set(&[]));
        assert_eq!(claims.name("realm.roles"), None);
        assert_eq!(claims.get("missing"), None);
    }

    #[test]
    fn an_address_counts_only_if_it_was_verified() {
        for (verified, name) in [
            (json!(true), Some("a@example.org")),
            (json!(false), None),
            (json!("yes"), None),
            (json!(null), None),
        ] {
            let mut claims = Claims::default();
            claims.add(json!({"email": "a@example.org", "email_verified": verified}));
            assert_eq!(claims.name("email"), name, "{verified}");
        }
    }

    fn set(of: &[&str]) -> BTreeSet<String> {
        of.iter().map(|&text| text.to_owned()).collect()
    }
}
