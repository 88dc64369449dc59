//! A message to a webhook: its body, and its signature as Standard Webhooks has it (standardwebhooks.com).
//!
//! ```text
//! signature = "v1," base64(HMAC-SHA256(secret, id "." timestamp "." body))
//! ```

use data_encoding::BASE64;
use ring::hmac;
use serde::Serialize;

use crate::moment;

/// What secrets begin with in text.
const SECRET_PREFIX: &str = "whsec_";

/// The body of a message.
#[derive(Debug, Serialize)]
struct Body<'a, T> {
    #[serde(rename = "type")]
    kind: &'a str,
    timestamp: String,
    data: &'a T,
}

/// The body of a message about something that happened at `at`.
pub(super) fn body(kind: &str, at: u64, data: &impl Serialize) -> String {
    let body = Body {
        kind,
        timestamp: moment::utc(at),
        data,
    };
    serde_json::to_string(&body).expect("API types always become JSON")
}

/// The header `webhook-signature`.
pub(super) fn sign(secret: &[u8], id: &str, timestamp: u64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let signed = format!("{id}.{timestamp}.{body}");
    let tag = hmac::sign(&key, signed.as_bytes());
    format!("v1,{}", BASE64.encode(tag.as_ref()))
}

/// A secret as receivers are configured with it.
pub(crate) fn secret_text(secret: &[u8]) -> String {
    format!("{SECRET_PREFIX}{}", BASE64.encode(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_specification() {
        // The example of the specification's reference libraries.
        let secret = BASE64
            .decode(b"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
            .expect("base64");

        let signature = sign(
            &secret,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            "{\"test\": 2432232314}",
        );

        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(
            secret_text(&secret),
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        );
    }
}
