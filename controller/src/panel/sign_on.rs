//! Signing in with an account at an identity provider: there and back.

use std::net::IpAddr;

use axum::{
    extract::{ConnectInfo, Query, State},
    http::{
        Extensions, HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header, uri::Authority,
    },
    response::{IntoResponse as _, Redirect, Response},
};
use maud::{Markup, html};
use tombolo_domain::name::Name;

use super::{
    Panel,
    cookies::Cookie,
    entrance,
    layout::{self, Notice},
    visit::{self, Visitor},
};
use crate::{
    api::Problem,
    auth::{self, Attempter},
    http::Peer,
    oidc::{Answer, Identity, Oidc, OidcError},
    store::{CommitError, SESSION_SECONDS, SignOn, Vouched},
    token,
};

/// Where the button leads.
pub(super) const PATH: &str = "/sign-in/oidc";
/// Where the provider sends browsers.
pub(super) const CALLBACK: &str = "/sign-in/oidc/callback";
/// Somebody who has to look for a telephone at the provider.
const ATTEMPT_SECONDS: u64 = 900;

/// Sends the browser to the provider.
pub(super) async fn leave(
    State(panel): State<Panel>,
    visitor: Visitor,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let Some(oidc) = &panel.state.gate.oidc else {
        return not_offered(&visitor);
    };
    let begun = match callback(&visitor, &headers, &uri) {
        Some(callback) => oidc.begin(&callback).await,
        None => Err(OidcError::NotBegun),
    };
    match begun {
        Ok(begun) => {
            let cookie = Cookie::SignOn.set(&begun.secret, ATTEMPT_SECONDS, visitor.encrypted);
            ([(header::SET_COOKIE, cookie)], Redirect::to(&begun.url)).into_response()
        }
        Err(error) => failed(&panel, visitor, oidc, &error).await,
    }
}

/// Takes the browser back, with whatever the provider says.
pub(super) async fn come_back(
    State(panel): State<Panel>,
    visitor: Visitor,
    headers: HeaderMap,
    extensions: Extensions,
    uri: Uri,
    Query(answer): Query<Answer>,
) -> Response {
    let Some(oidc) = &panel.state.gate.oidc else {
        return not_offered(&visitor);
    };
    let peer: Option<&ConnectInfo<Peer>> = extensions.get();
    let address = auth::source(peer, &headers);
    let source = Attempter::source(address);
    let attempts = &panel.state.gate.attempts;
    if let Err(wait) = attempts.check(&source) {
        return refused(&panel, visitor, &Problem::too_many_attempts(wait)).await;
    }
    // Counted before the result is known: each may cost a question to the provider.
    attempts.failed(&source);
    let secret = Cookie::SignOn.get(&headers, visitor.encrypted);
    let finished = match callback(&visitor, &headers, &uri) {
        Some(callback) => oidc.finish(&callback, secret, answer).await,
        None => Err(OidcError::NotBegun),
    };
    let identity = match finished {
        Ok(identity) => identity,
        Err(error) => return failed(&panel, visitor, oidc, &error).await,
    };
    // It really is them, so nothing was guessed, whatever they may do here.
    attempts.succeeded(&source);
    match begin_session(&panel, &visitor, oidc, (&identity, address)).await {
        Ok(session) => enter(&visitor, &session),
        Err(problem) => refused(&panel, visitor, &problem).await,
    }
}

/// A new session, whatever cookie the browser had before.
async fn begin_session(
    panel: &Panel,
    visitor: &Visitor,
    oidc: &Oidc,
    (identity, source): (&Identity, IpAddr),
) -> Result<String, Problem> {
    let texts = &visitor.texts().sign_on;
    let store = &panel.state.store;
    let forbidden = |text| Problem::new(StatusCode::FORBIDDEN, "forbidden", text);
    if identity.rights == Some(None) {
        store
            .end_sessions(&identity.issuer, &identity.subject)
            .await?;
        return Err(forbidden((texts.no_role)(oidc.name())));
    }
    let name: Name = identity
        .name
        .parse()
        .map_err(|_| forbidden((texts.unusable_name)(&short(&identity.name))))?;
    let vouched = Vouched {
        issuer: &identity.issuer,
        subject: &identity.subject,
        name: &name,
        rights: identity.rights.as_ref().and_then(Option::as_ref),
        source,
        create: oidc.creates_users(),
    };
    let minted = token::mint();
    match store.sign_on(&vouched, &minted.claim()).await {
        Ok(SignOn::Done) => Ok(minted.token),
        Ok(SignOn::Unknown) => Err(forbidden((texts.unknown)(name.as_str()))),
        Ok(SignOn::Taken) | Err(CommitError::NameTaken) => {
            Err(forbidden((texts.taken)(name.as_str())))
        }
        Err(error) => Err(error.into()),
    }
}

/// Goes on to the first page. The browser comes from another site, and would not show the session's cookie to a page that
/// it is redirected to; what this page leads to, it takes for a step within this one.
fn enter(visitor: &Visitor, session: &str) -> Response {
    const REFRESH: HeaderName = HeaderName::from_static("refresh");
    let texts = visitor.texts();
    let content = html! {
        h1 { (texts.sign_on.signed_in) }
        p { a href="/" { (texts.sign_on.go_on) } }
    };
    let visitor = entrance_of(visitor.clone());
    let mut response = layout::open_page(
        &visitor,
        StatusCode::OK,
        texts.sign_on.signed_in,
        None,
        &content,
    );
    let headers = response.headers_mut();
    headers.insert(REFRESH, HeaderValue::from_static("0; url=/"));
    for cookie in [
        Cookie::Session.set(session, SESSION_SECONDS, visitor.encrypted),
        Cookie::SignOn.remove(visitor.encrypted),
        Cookie::Form.remove(visitor.encrypted),
    ] {
        headers.append(header::SET_COOKIE, cookie);
    }
    response
}

/// The button, and for somebody who has just left, what may still be open elsewhere.
pub(super) async fn offer(panel: &Panel, visitor: &Visitor, has_left: bool) -> Markup {
    let Some(oidc) = &panel.state.gate.oidc else {
        return html! {};
    };
    let texts = &visitor.texts().sign_on;
    let logout = if has_left {
        oidc.logout_url().await
    } else {
        None
    };
    html! {
        p.or { span { (texts.or) } }
        a.button href=(PATH) { ((texts.sign_in_with)(oidc.name())) }
        @if let Some(url) = logout {
            p { small { ((texts.still_there)(oidc.name())) " " a href=(url) { ((texts.leave)(oidc.name())) } } }
        }
    }
}

async fn failed(panel: &Panel, visitor: Visitor, oidc: &Oidc, error: &OidcError) -> Response {
    let texts = &visitor.texts().sign_on;
    let name = oidc.name();
    let (status, text) = match error {
        OidcError::Unreachable(_) => (StatusCode::BAD_GATEWAY, (texts.unreachable)(name)),
        OidcError::Refused(code) => (StatusCode::FORBIDDEN, (texts.refused)(name, code)),
        OidcError::NotBegun => (StatusCode::FORBIDDEN, texts.not_begun.to_owned()),
        OidcError::Untrusted(_) => (StatusCode::BAD_GATEWAY, (texts.untrusted)(name)),
        OidcError::Nameless(claim) => (StatusCode::FORBIDDEN, (texts.nameless)(name, claim)),
    };
    match error {
        OidcError::Unreachable(_) | OidcError::Untrusted(_) | OidcError::Nameless(_) => {
            tracing::warn!(%error, provider = name, "nobody can sign in with the identity provider");
        }
        OidcError::Refused(_) | OidcError::NotBegun => {
            tracing::debug!(%error, provider = name, "not signed in with the identity provider");
        }
    }
    refused(panel, visitor, &Problem::new(status, "sign-on", text)).await
}

/// The form again, with what went wrong.
async fn refused(panel: &Panel, visitor: Visitor, problem: &Problem) -> Response {
    let visitor = entrance_of(visitor);
    let notice = Notice::of(&visitor, problem);
    let cookie = Cookie::SignOn.remove(visitor.encrypted);
    let offer = offer(panel, &visitor, false).await;
    let mut response = entrance::sign_in_again(&visitor, problem.status(), &notice, &offer);
    response.headers_mut().append(header::SET_COOKIE, cookie);
    response
}

fn not_offered(visitor: &Visitor) -> Response {
    let text = visitor.texts().sign_on.not_offered;
    layout::failure(visitor, &Problem::not_found(text))
}

/// Links of a page that the provider led to lead to the form, and do not repeat what it said.
fn entrance_of(visitor: Visitor) -> Visitor {
    Visitor {
        path: "/sign-in".to_owned(),
        ..visitor
    }
}

/// Where the provider shall send the browser: to where it is now. A provider sends it only to places that it was told of
/// beforehand, so a name that somebody made up leads nowhere.
fn callback(visitor: &Visitor, headers: &HeaderMap, uri: &Uri) -> Option<String> {
    let host: Authority = visit::host(headers, uri).parse().ok()?;
    let scheme = if visitor.encrypted { "https" } else { "http" };
    (!host.as_str().contains('@')).then(|| format!("{scheme}://{host}{CALLBACK}"))
}

fn short(text: &str) -> String {
    text.chars().take(64).collect()
}
