//! The API document (OpenAPI 3.1): what the handlers say of themselves, and what holds for all of them alike.

use serde_json::{Map, Value, json};
use utoipa::{
    Modify, OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tombolo controller",
        description = "Networks, members, routes, tokens, users, webhooks and the audit log. Every path but this document, \
                       /healthz and /readyz needs `Authorization: Bearer <token>`; every error is application/problem+json \
                       (RFC 9457). Lists come in pages: give `next` as `after`. A resource with an `ETag` is changed only as \
                       you saw it if you send `If-Match`. A POST with an `Idempotency-Key` may be sent again within a day."
    ),
    components(schemas(
        tombolo_proto::api::Problem,
        tombolo_proto::api::Event,
        tombolo_proto::api::AddressRange
    )),
    security(("token" = [])),
    modifiers(&Bearer)
)]
pub(super) struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// How a parameter of a path looks.
const PATTERNS: [(&str, &str); 7] = [
    ("id", "^[0-9a-f]{16}$"),
    ("node", "^[0-9a-f]{10}$"),
    ("nwid", "^[0-9a-f]{10}([0-9a-f]{6}|______)$"),
    ("route", "^[0-9a-f]{8}$"),
    ("token_id", "^[0-9a-f]{12}$"),
    ("user", "^[0-9a-f]{12}$"),
    ("webhook", "^[0-9a-f]{12}$"),
];

/// Every problem that a request may meet, and what it means.
const PROBLEMS: [(&str, &str); 12] = [
    (
        "400",
        "The path, the query, a header or the JSON cannot be read.",
    ),
    ("401", "There is no valid token."),
    ("403", "The token does not allow this."),
    ("404", "There is no such thing."),
    ("408", "The body did not come in time."),
    ("409", "It clashes with what is there."),
    ("412", "It changed since the ETag in `If-Match`."),
    ("413", "The body is too long."),
    ("415", "The body is not JSON."),
    ("422", "It makes no sense, or the rules refuse it."),
    ("429", "Too many wrong credentials, or too much at once."),
    (
        "503",
        "The store does not answer, or this replica may not sign.",
    ),
];

/// The document with what holds for all operations.
pub(super) fn complete(document: &utoipa::openapi::OpenApi) -> Value {
    let mut document = serde_json::to_value(document).expect("an OpenAPI document is JSON");
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    for item in paths.into_iter().flat_map(Map::values_mut) {
        let operations = item.as_object_mut();
        for (method, operation) in operations.into_iter().flatten() {
            describe(method, operation);
        }
    }
    document
}

fn describe(method: &str, operation: &mut Value) {
    let Some(operation) = operation.as_object_mut() else {
        return;
    };
    if operation.contains_key("security") {
        // It needs no token and takes nothing.
        return;
    }
    let has_body = operation.contains_key("requestBody");
    let changes = method != "get";
    let parameters = operation.entry("parameters").or_insert_with(|| json!([]));
    let Value::Array(parameters) = parameters else {
        return;
    };
    let of_path = parameters.iter_mut().filter(|one| one["in"] == "path");
    let is_within = of_path.map(describe_path).count() > 0;
    let is_asked = !parameters.is_empty();
    if method == "post" {
        parameters.push(idempotency_key());
    }
    let responses = operation.entry("responses").or_insert_with(|| json!({}));
    let Value::Object(responses) = responses else {
        return;
    };
    for (status, description) in PROBLEMS {
        let may_come = match status {
            "400" => is_asked || has_body || changes,
            "404" => is_within,
            "408" | "413" | "415" => has_body,
            "422" => has_body || method == "post",
            "409" | "412" => changes,
            _ => true,
        };
        if may_come {
            responses
                .entry(status)
                .or_insert_with(|| problem(description));
        }
    }
}

fn describe_path(parameter: &mut Value) {
    let name = parameter["name"].as_str().unwrap_or_default();
    let pattern = PATTERNS.iter().find(|(known, _)| *known == name);
    if let Some((_, pattern)) = pattern {
        parameter["schema"] = json!({ "type": "string", "pattern": pattern });
    }
}

fn idempotency_key() -> Value {
    json!({
        "name": "Idempotency-Key",
        "in": "header",
        "required": false,
        "description": "Names this request: sent again within a day it is answered again, and not carried out again.",
        "schema": { "type": "string", "pattern": "^[!#-\\[\\]-~]{1,255}$" },
    })
}

fn problem(description: &str) -> Value {
    json!({
        "description": description,
        "content": {
            "application/problem+json": {
                "schema": { "$ref": "#/components/schemas/Problem" },
            },
        },
    })
}
