//! What was done, and who is told.

use serde::{Deserialize, Serialize};

use crate::id::NetworkId;

json! {
    /// One line of the audit log. Each line's hash covers the line and the hash before it.
    pub struct AuditEntry {
        /// Its place: 1 for the first line, then one more each.
        pub id: u64,
        /// When.
        pub at: u64,
        /// Who: `user <name>`, `token <id>`, `node <address>` or `controller`.
        pub actor: String,
        /// What was done.
        pub action: String,
        /// In which network.
        #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
        pub network: Option<NetworkId>,
        /// To what.
        pub subject: String,
        /// What it was before, as far as it changed; null if it was not there.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
        pub before: Option<serde_json::Value>,
        /// What it is now, as far as it changed; null if it is gone.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
        pub after: Option<serde_json::Value>,
        /// SHA-256 over the line and the hash before it: hexadecimal.
        #[serde(default)]
        pub hash: String,
    }

    /// The end of the audit log: whoever notes it can tell later whether the log was rewritten.
    #[derive(Default)]
    pub struct AuditHead {
        /// The place of the last line; 0 before the first.
        pub id: u64,
        /// Its hash: hexadecimal.
        pub hash: String,
        /// The place of the last line that was forgotten on purpose; 0 if none was. The next line is the first there is.
        #[serde(default)]
        pub forgotten_id: u64,
        /// Its hash, with which the next line is verified.
        #[serde(default)]
        pub forgotten_hash: String,
    }

    /// Somebody who is told of changes by HTTP.
    pub struct Webhook {
        /// Names the webhook.
        pub id: String,
        /// Where messages go.
        pub url: String,
        /// Which events, as the event stream calls them; all if there are none.
        pub events: Vec<String>,
        /// Only of this network.
        #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
        pub network: Option<NetworkId>,
        /// When it was made.
        pub created_at: u64,
        /// When a message was taken last.
        pub delivered_at: Option<u64>,
        /// Since when no message was taken; null if the last one was.
        pub failing_since: Option<u64>,
        /// Why.
        pub last_error: Option<String>,
        /// Since when it is told nothing: it was turned off, was gone, or took nothing for three days.
        pub disabled_at: Option<u64>,
        /// How many messages wait.
        pub waiting: u64,
    }

    /// Creates a webhook.
    #[serde(deny_unknown_fields)]
    pub struct NewWebhook {
        /// Where messages go: http or https, without user and password. Redirections are not followed.
        pub url: String,
        /// Which events: `changed`, `requests`, `deleted`, `online`; all by default.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub events: Vec<String>,
        /// Only of the network with this id.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub network: Option<String>,
    }

    /// A new webhook's secret, shown once.
    pub struct CreatedWebhook {
        /// Names the webhook.
        pub id: String,
        /// What messages are signed with: `whsec_` and base64.
        pub secret: String,
    }

    /// Changes a webhook.
    #[serde(deny_unknown_fields)]
    #[derive(Default)]
    pub struct WebhookPatch {
        /// Where messages go.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub url: Option<String>,
        /// Which events; none for all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub events: Option<Vec<String>>,
        /// Whether it is told anything. What waited when it was turned off is not told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub enabled: Option<bool>,
    }

    /// An attempt to send a message to a webhook.
    pub struct WebhookDelivery {
        /// Names the attempt.
        pub id: String,
        /// Names the message: the same in every attempt to send it.
        pub message: String,
        /// What it tells; null for a test.
        pub event: Option<Event>,
        /// When it was sent.
        pub at: u64,
        /// 1 for the first attempt.
        pub attempt: u64,
        /// Whether it was taken.
        pub delivered: bool,
        /// What the receiver answered, if it did.
        pub status: Option<u16>,
        /// What was wrong, if it was not taken.
        pub error: Option<String>,
    }

    /// How a message that is sent once, and not again by itself, was taken.
    pub struct WebhookTest {
        /// Whether it was.
        pub delivered: bool,
        /// What the receiver answered, if it did.
        pub status: Option<u16>,
        /// What is wrong, if it was not taken.
        pub error: Option<String>,
    }

    /// A change, as the event stream tells it.
    pub struct Event {
        /// In which network.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        pub network: NetworkId,
        /// The network's revision after the change, if it has one.
        pub revision: Option<u64>,
        /// `changed`, `requests` (waiting nodes), `deleted`, `online` (a node came or went), or `links` (members told
        /// how they reach each other).
        pub kind: String,
    }
}
