//! JSON as controllers for ZeroTier read it: unknown fields are passed over, a flag may be a number or a word, and what
//! has another type than expected counts as not sent.

use axum::{
    body::to_bytes,
    extract::{FromRequest, Request},
};
use serde_json::{Map, Value};

use super::super::Problem;

/// The fields of an object.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    /// Reads an object; nothing at all is an object without fields.
    pub(crate) fn read(text: &[u8]) -> Result<Self, String> {
        if text.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        match serde_json::from_slice(text) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err("the JSON is not an object: write {\"name\": …}".to_owned()),
            Err(error) => Err(format!("this is not JSON: {error}")),
        }
    }

    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        flag(self.0.get(name)?)
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        match self.0.get(name)? {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.trim().parse().ok(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// A text that is not empty.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let text = self.0.get(name)?.as_str()?.trim();
        Some(text).filter(|text| !text.is_empty())
    }

    pub(crate) fn list(&self, name: &str) -> Option<&[Value]> {
        self.0.get(name)?.as_array().map(Vec::as_slice)
    }

    /// The objects of a list; whatever else stands in it is passed over.
    pub(crate) fn objects(&self, name: &str) -> Option<Vec<Self>> {
        let objects = self.list(name)?.iter();
        Some(objects.filter_map(Self::of).collect())
    }

    /// Modes that are on: an object of flags, or words with commas between, as older tools write them.
    pub(crate) fn modes<'a>(&self, name: &str, known: &[&'a str]) -> Option<Vec<&'a str>> {
        let sent = self.0.get(name)?;
        let is_on = |mode: &str| match sent {
            Value::String(words) => words.split(',').any(|word| word.trim() == mode),
            Value::Object(flags) => flags.get(mode).and_then(flag).unwrap_or_default(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => false,
        };
        Some(known.iter().copied().filter(|mode| is_on(mode)).collect())
    }

    fn of(value: &Value) -> Option<Self> {
        value.as_object().cloned().map(Self)
    }
}

fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::Number(number) => number.as_f64().map(|number| number > 0.0),
        Value::String(text) => Some(text.starts_with(['t', 'T', '1'])),
        Value::Array(items) => Some(!items.is_empty()),
        Value::Null | Value::Object(_) => None,
    }
}

/// Tools send bodies as forms, as text, and as JSON without saying so.
impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        // Bodies were read, and their length checked, before.
        let body = to_bytes(request.into_body(), usize::MAX)
            .await
            .map_err(|_| Problem::internal())?;
        Self::read(&body).map_err(Problem::bad_request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Fields {
        Fields::read(text.as_bytes()).expect("an object")
    }

    #[test]
    fn flags_are_read_as_forms_send_them_and_other_types_count_as_not_sent() {
        let sent = fields(
            r#"{"a":true,"b":"true","c":1,"d":"1","e":"false","f":0,"g":null,"h":{},"i":[]}"#,
        );
        let read = |name| sent.flag(name);

        for on in ["a", "b", "c", "d"] {
            assert_eq!(read(on), Some(true), "{on}");
        }
        for off in ["e", "f", "i"] {
            assert_eq!(read(off), Some(false), "{off}");
        }
        for unsent in ["g", "h", "z"] {
            assert_eq!(read(unsent), None, "{unsent}");
        }
        assert_eq!((sent.text("a"), sent.number("g")), (None, None));
    }

    #[test]
    fn modes_are_flags_or_words() {
        const KNOWN: [&str; 3] = ["rfc4193", "zt", "6plane"];
        let modes = |text: &str| fields(text).modes("m", &KNOWN);

        assert_eq!(
            modes(r#"{"m":{"6plane":true,"zt":"false"}}"#),
            Some(vec!["6plane"])
        );
        assert_eq!(modes(r#"{"m":"zt, rfc4193"}"#), Some(vec!["rfc4193", "zt"]));
        assert_eq!(modes(r#"{"m":null}"#), Some(vec![]));
        assert_eq!(modes("{}"), None);
    }

    #[test]
    fn only_objects_are_read() {
        assert_eq!(Fields::read(b" \n"), Ok(Fields::default()));
        for text in ["[]", "1", "{", "{\"a\":1} x", "\u{fffd}"] {
            assert!(Fields::read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
