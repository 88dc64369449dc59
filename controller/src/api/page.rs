//! `/api`: the API document as a page to read. Whole without scripts, and nothing on it comes from elsewhere.

use axum::{
    http::{HeaderName, HeaderValue, header},
    response::{Html, IntoResponse as _, Response},
};
use maud::{DOCTYPE, Markup, html};
use serde_json::{Map, Value};

use crate::panel::style_address;

const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
const HEADERS: [(HeaderName, HeaderValue); 1] = [(header::CONTENT_SECURITY_POLICY, POLICY)];
/// Schemas within schemas are told so deep: deeper ones have names.
const DEPTH: usize = 4;

/// The page.
pub(super) fn render(document: &Value) -> Html<String> {
    let info = &document["info"];
    let sections = sections(document);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (text(&info["title"])) " API" }
                link rel="stylesheet" href=(style_address());
            }
            body {
                main.wide {
                    h1 { (text(&info["title"])) " API" }
                    p { (text(&info["description"])) }
                    p { a href="/api/v1/openapi.json" { "OpenAPI " (text(&document["openapi"])) } }
                    nav aria-label="Operations" {
                        ul {
                            @for (tag, operations) in &sections {
                                li {
                                    strong { (tag) }
                                    ul {
                                        @for operation in operations {
                                            li { a href={ "#" (operation.name()) } { (operation.method) " " (operation.path) } }
                                        }
                                    }
                                }
                            }
                        }
                    }
                    @for (tag, operations) in &sections {
                        section {
                            h2 { (tag) }
                            @for operation in operations { (operation.markup()) }
                        }
                    }
                    section {
                        h2 { "Schemas" }
                        @for (name, schema) in schemas(document) {
                            article id={ "schema-" (name) } {
                                h3 { (name) }
                                (described(schema))
                                (shape(schema))
                            }
                        }
                    }
                }
            }
        }
    };
    Html(page.into_string())
}

/// The page as an answer.
pub(super) fn answer(page: Html<String>) -> Response {
    (HEADERS, page).into_response()
}

struct Operation<'a> {
    method: String,
    path: &'a str,
    value: &'a Value,
}

/// Operations by tag, in the order of the document.
fn sections(document: &Value) -> Vec<(&str, Vec<Operation<'_>>)> {
    let mut sections: Vec<(&str, Vec<Operation<'_>>)> = Vec::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for (method, value) in item.as_object().into_iter().flatten() {
            let tag = value["tags"][0].as_str().unwrap_or_default();
            let operation = Operation {
                method: method.to_uppercase(),
                path,
                value,
            };
            match sections.iter_mut().find(|(known, _)| *known == tag) {
                Some((_, operations)) => operations.push(operation),
                None => sections.push((tag, vec![operation])),
            }
        }
    }
    sections
}

impl Operation<'_> {
    fn name(&self) -> &str {
        text(&self.value["operationId"])
    }

    fn markup(&self) -> Markup {
        let parameters = self.value["parameters"].as_array();
        let body = &self.value["requestBody"]["content"]["application/json"]["schema"];
        html! {
            article id=(self.name()) {
                h3 { code { (self.method) " " (self.path) } }
                p { (text(&self.value["summary"])) }
                @if let Some(parameters) = parameters.filter(|parameters| !parameters.is_empty()) {
                    table {
                        caption { "Parameters" }
                        thead { tr { th { "Name" } th { "In" } th { "Type" } th { "Meaning" } } }
                        tbody {
                            @for parameter in parameters {
                                tr {
                                    td { code { (text(&parameter["name"])) } }
                                    td { (text(&parameter["in"])) @if parameter["required"] == true { ", required" } }
                                    td { (kind(&parameter["schema"], 0)) }
                                    td { (text(&parameter["description"])) }
                                }
                            }
                        }
                    }
                }
                @if !body.is_null() { p { "Body: " (kind(body, 0)) } }
                table {
                    caption { "Answers" }
                    thead { tr { th { "Status" } th { "Body" } th { "Meaning" } } }
                    tbody {
                        @for (status, response) in self.value["responses"].as_object().into_iter().flatten() {
                            tr {
                                td { (status) }
                                td {
                                    @for (media, content) in response["content"].as_object().into_iter().flatten() {
                                        (kind(&content["schema"], 0)) " (" (media) ")"
                                    }
                                }
                                td { (text(&response["description"])) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn schemas(document: &Value) -> &Map<String, Value> {
    static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    document["components"]["schemas"]
        .as_object()
        .unwrap_or(&NONE)
}

/// The fields of an object, or the values of a choice.
fn shape(schema: &Value) -> Markup {
    let required = |name: &str| {
        let names = schema["required"].as_array();
        names.is_some_and(|names| names.iter().any(|one| one == name))
    };
    html! {
        @for part in schema["allOf"].as_array().into_iter().flatten() { (shape(part)) }
        @if let Some(name) = reference(schema) { p { "With the fields of " (link(name)) "." } }
        @if let Some(fields) = schema["properties"].as_object() {
            table {
                thead { tr { th { "Field" } th { "Type" } th { "Meaning" } } }
                tbody {
                    @for (name, field) in fields {
                        tr {
                            td { code { (name) } @if required(name) { " (always)" } }
                            td { (kind(field, 0)) }
                            td { (text(&field["description"])) }
                        }
                    }
                }
            }
        } @else if !schema["enum"].is_null() || !schema["oneOf"].is_null() {
            p { (kind(schema, 0)) }
        }
    }
}

/// A type in a few words.
fn kind(schema: &Value, depth: usize) -> Markup {
    if depth > DEPTH {
        return html! { "…" };
    }
    if let Some(name) = reference(schema) {
        return link(name);
    }
    if let Some(choices) = schema["enum"].as_array() {
        let words: Vec<String> = choices.iter().map(ToString::to_string).collect();
        return html! { code { (words.join(" | ")) } };
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        return html! {
            @for (index, choice) in choices.iter().enumerate() {
                @if index > 0 { " or " }
                (kind(choice, depth + 1))
            }
        };
    }
    let words = match &schema["type"] {
        Value::String(word) => word.clone(),
        Value::Array(words) => {
            let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
            words.join(" or ")
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => "anything".to_owned(),
    };
    html! {
        (words)
        @if !schema["items"].is_null() { " of " (kind(&schema["items"], depth + 1)) }
        @if let Some(pattern) = schema["pattern"].as_str() { " " code { (pattern) } }
    }
}

fn described(schema: &Value) -> Markup {
    let description = text(&schema["description"]);
    html! { @if !description.is_empty() { p { (description) } } }
}

fn reference(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.rsplit('/').next()
}

fn link(name: &str) -> Markup {
    html! { a href={ "#schema-" (name) } { (name) } }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
