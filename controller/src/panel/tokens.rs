//! API tokens: for programs.

use axum::{
    extract::{Path, Query},
    http::StatusCode,
    response::Response,
};
use maud::{Markup, html};
use tombolo_domain::rights::Scope;
use tombolo_proto::api::{CreatedToken, NewToken, Page, Token};

use super::{
    layout::{self, Notice},
    network,
    network_choice::Networks,
    networks::Place,
    texts::Access,
    visit::{Action, Fields, SignedIn},
};
use crate::api::Problem;

const PATH: &str = "/tokens";
/// Rows of a page.
const ROWS: u32 = 100;
/// As many networks are shown without being asked for.
const FEW: usize = 8;
const DAY: u64 = 24 * 3600;

/// The list.
pub(super) async fn list(by: SignedIn, Query(place): Query<Place>) -> Result<Response, Response> {
    listed(&by, StatusCode::OK, None, &place).await
}

async fn listed(
    by: &SignedIn,
    status: StatusCode,
    notice: Option<&Notice>,
    place: &Place,
) -> Result<Response, Response> {
    let all = by.visitor.texts();
    let texts = &all.access;
    let path = format!("{PATH}?limit={ROWS}{}", place.query());
    let page: Page<Token> = by.api.get(&path).await.map_err(layout::told(by))?;
    let networks = Networks::of(by).await.map_err(layout::told(by))?;
    let content = html! {
        div.head { h1 { (texts.tokens) } }
        section.card data-part="tokens" {
            p.soft { (texts.tokens_lead) }
            @if page.items.is_empty() { p { (all.no_tokens) } } @else {
                table.stacked.plain {
                    thead { tr {
                        th scope="col" { (all.name) }
                        th scope="col" { "ID" }
                        th scope="col" { (texts.scope) }
                        th scope="col" { (texts.created) }
                        th scope="col" { (texts.last_used) }
                        th scope="col" { (all.expires) }
                        th scope="col" { (all.actions) }
                    } }
                    tbody { @for token in &page.items { (row(by, &networks, token)) } }
                }
            }
            (layout::next_page(by, PATH, page.next.as_deref()))
        }
        section.card aria-labelledby="new-token" {
            h2 #new-token { (texts.new_token) }
            form.stack.half method="post" action=(PATH) {
                (layout::csrf(by))
                label for="name" { (texts.purpose) }
                input #name name="name" maxlength="63" autocomplete="off" required;
                fieldset {
                    legend { (texts.scope) }
                    p { strong { (texts.scope_everywhere) } }
                    @for (word, text) in scopes(texts) {
                        label.check { input type="checkbox" name="scope" value=(word); (text) }
                    }
                    @if !networks.is_empty() {
                        details open[networks.iter().count() <= FEW] {
                            summary { (texts.scope_single) }
                            @for network in networks.iter() {
                                div.scopes {
                                    span.long { (network.name) }
                                    @for (word, _) in scopes(texts) {
                                        label.check {
                                            input type="checkbox" name="scope" value={ (word) ":" (network.id) }
                                                aria-label={ (word) " · " (network.name) };
                                            (word)
                                        }
                                    }
                                }
                            }
                        }
                    }
                    small { (texts.scope_hint) }
                }
                label for="days" { (texts.days) }
                input #days name="days" inputmode="numeric" aria-describedby="days-hint";
                small #days-hint { (texts.days_hint) }
                button type="submit" { (all.create_token) }
            }
        }
    };
    Ok(layout::page(by, status, texts.tokens, notice, &content))
}

/// Scopes as the API calls them, and what they allow.
const fn scopes(texts: &Access) -> [(&'static str, &'static str); 3] {
    [
        ("read", texts.scope_read),
        ("write", texts.scope_write),
        ("admin", texts.scope_admin),
    ]
}

fn row(by: &SignedIn, networks: &Networks, token: &Token) -> Markup {
    let all = by.visitor.texts();
    let texts = &all.access;
    html! {
        tr {
            td { span.name { (token.name) } }
            td data-label="ID" { code { (token.id) } }
            td data-label=(texts.scope) { @for scope in &token.scopes { span.tag { (shown(networks, scope)) } " " } }
            td data-label=(texts.created) { (layout::moment(token.created_at)) }
            td data-label=(texts.last_used) {
                @match token.last_used_at { Some(at) => (layout::moment(at)), None => (texts.never_used) }
            }
            td data-label=(all.expires) {
                @match token.expires_at { Some(at) => (layout::moment(at)), None => (texts.no_expiry) }
            }
            td {
                (layout::ask(by, &format!("{PATH}/{}/remove", token.id), texts.revoke, &(texts.revoke_token)(&token.name)))
            }
        }
    }
}

/// A scope with the name of its network.
fn shown(networks: &Networks, scope: &str) -> String {
    match scope.parse() {
        Ok(Scope {
            network: Some(network),
            ..
        }) => {
            let word = scope.split(':').next().unwrap_or_default();
            format!("{word} · {}", networks.name(network))
        }
        Ok(Scope { network: None, .. }) | Err(_) => scope.to_owned(),
    }
}

/// Makes a token. It is shown on the page that answers, and never again.
pub(super) async fn create(Action { by, fields }: Action) -> Result<Response, Response> {
    let created: Result<CreatedToken, Problem> = match wanted(&by, &fields) {
        Ok(new) => by.api.post(PATH, &new).await,
        Err(problem) => Err(problem),
    };
    let (status, notice) = match created {
        Ok(token) => {
            let text = by.visitor.texts().access.token_created;
            let secret = token.token;
            (StatusCode::CREATED, Notice::Secret { text, secret })
        }
        Err(problem) => (problem.status(), Notice::of(&by.visitor, &problem)),
    };
    listed(&by, status, Some(&notice), &Place::default()).await
}

fn wanted(by: &SignedIn, fields: &Fields) -> Result<NewToken, Problem> {
    let label = by.visitor.texts().access.days;
    let days: Option<u64> = match fields.filled("days") {
        Some(_) => Some(network::number(by, fields, "days", label)?),
        None => None,
    };
    Ok(NewToken {
        name: fields.get("name").trim().to_owned(),
        scopes: fields.all("scope").map(str::to_owned).collect(),
        expires_in: days.map(|days| days.saturating_mul(DAY)),
    })
}

/// Revokes a token.
pub(super) async fn remove(
    Path(token): Path<String>,
    Action { by, .. }: Action,
) -> Result<Response, Response> {
    let path = format!("{PATH}/{}", layout::encoded(&token));
    match by.api.delete(&path).await {
        Ok(()) => {
            let done = by.visitor.texts().access.token_revoked.to_owned();
            Ok(layout::go(&by, PATH, done))
        }
        Err(problem) => {
            let notice = Notice::of(&by.visitor, &problem);
            listed(&by, problem.status(), Some(&notice), &Place::default()).await
        }
    }
}
