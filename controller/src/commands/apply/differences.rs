//! What differs between what is there and what a file declares, as people and scripts read it.

use serde::Serialize;

/// One difference between the file and the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Difference {
    pub(super) what: String,
    pub(super) now: String,
    pub(super) wanted: String,
}

pub(super) fn difference(what: &str, now: &str, wanted: &str) -> Difference {
    Difference {
        what: what.to_owned(),
        now: now.to_owned(),
        wanted: wanted.to_owned(),
    }
}

/// What differs between one thing and its declaration.
#[derive(Default)]
pub(super) struct Differences {
    of: String,
    pub(super) found: Vec<Difference>,
}

impl Differences {
    pub(super) fn of(what: String) -> Self {
        Self {
            of: what,
            found: Vec::new(),
        }
    }

    /// Compares a field as `show` writes it: the wanted value where the file names one and it differs.
    pub(super) fn field<T: Clone>(
        &mut self,
        what: &str,
        now: &T,
        wanted: Option<&T>,
        show: impl Fn(&T) -> String,
    ) -> Option<T> {
        let wanted = wanted?;
        self.note(what, &show(now), &show(wanted))
            .then(|| wanted.clone())
    }

    /// Notes a difference, if it is one. Tells whether.
    pub(super) fn note(&mut self, what: &str, now: &str, wanted: &str) -> bool {
        if now == wanted {
            return false;
        }
        let what = format!("{} {what}", self.of);
        self.found.push(difference(what.trim(), now, wanted));
        true
    }
}

/// A list without an order of its own, as text.
pub(super) fn listed(values: impl IntoIterator<Item = impl ToString>) -> String {
    let mut texts: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
    texts.sort();
    texts.join(", ")
}

/// The name of a value that JSON writes as a string.
pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_value(value)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}
