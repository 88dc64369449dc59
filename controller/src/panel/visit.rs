//! Who asks for a page, in which language, and whether a form that comes in is really theirs.

use axum::{
    body::to_bytes,
    extract::{ConnectInfo, FromRequest, FromRequestParts, Path, Query, Request, State},
    http::{Extensions, HeaderMap, StatusCode, Uri, header, request::Parts},
    response::{IntoResponse as _, Redirect, Response},
};
use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tombolo_proto::api::User;

use super::{
    Panel,
    client::Client,
    cookies::{self, Cookie},
    layout::{self, Notice},
    texts::{Language, Texts},
};
use crate::{
    api::Problem,
    auth::{self, Caller},
    http::Peer,
    store::TokenClaim,
    token,
};

/// A year.
const CHOICE_SECONDS: u64 = 365 * 24 * 3600;
/// Longest form: more than any page has.
const MAX_FORM: usize = 256 * 1024;

/// Light or dark.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Theme {
    /// As the browser wants it.
    #[default]
    Auto,
    Light,
    Dark,
}

impl Theme {
    /// Its name in HTML, CSS and cookies.
    pub(super) const fn tag(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    fn from_tag(tag: &str) -> Option<Self> {
        let all = [Self::Auto, Self::Light, Self::Dark];
        all.into_iter().find(|theme| theme.tag() == tag)
    }

    /// The one to switch to.
    pub(super) const fn next(self) -> Self {
        match self {
            Self::Auto => Self::Light,
            Self::Light => Self::Dark,
            Self::Dark => Self::Auto,
        }
    }
}

/// Somebody who looks at a page, known or not.
#[derive(Debug, Clone)]
pub(super) struct Visitor {
    pub(super) language: Language,
    pub(super) theme: Theme,
    /// Whether the way to the browser is encrypted.
    pub(super) encrypted: bool,
    /// The page, as the way back after a choice of language.
    pub(super) path: String,
    /// What the page before wanted to be said here.
    pub(super) notice: Option<Notice>,
}

impl Visitor {
    pub(super) const fn texts(&self) -> &'static Texts {
        self.language.texts()
    }
}

/// A user who is signed in.
#[derive(Debug, Clone)]
pub(super) struct SignedIn {
    pub(super) visitor: Visitor,
    pub(super) user: User,
    /// What every form has to bring back.
    pub(super) csrf: String,
    pub(super) session: TokenClaim,
    /// Where they ask from.
    pub(super) source: std::net::IpAddr,
    pub(super) api: Client,
    /// Whether the store does not answer.
    pub(super) stale: bool,
    /// What people call the identity provider, if there is one.
    pub(super) provider: Option<String>,
}

/// A form of a user who is signed in.
#[derive(Debug)]
pub(super) struct Action {
    pub(super) by: SignedIn,
    pub(super) fields: Fields,
}

/// A form of somebody who is not signed in yet.
#[derive(Debug)]
pub(super) struct Application {
    pub(super) visitor: Visitor,
    pub(super) fields: Fields,
    pub(super) source: std::net::IpAddr,
}

/// The fields of a form, as they came.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// A field; empty if it is not there.
    pub(super) fn get(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or_default()
    }

    /// A field without blanks around it, if anything is left.
    pub(super) fn filled(&self, name: &str) -> Option<String> {
        let value = self.get(name).trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    /// Fields whose name begins like this: the rest of the name, and the value.
    pub(super) fn with_prefix<'a>(
        &'a self,
        prefix: &str,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0
            .iter()
            .filter_map(move |(key, value)| Some((key.strip_prefix(prefix)?, value.as_str())))
    }

    /// Every field of this name.
    pub(super) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// What ties a form to the cookie that it was made for.
pub(super) fn csrf(secret: &str) -> String {
    let digest = Sha256::new()
        .chain_update("tombolo panel form ")
        .chain_update(secret)
        .finalize();
    BASE64URL_NOPAD.encode(&digest)
}

pub(super) fn peer(extensions: &Extensions) -> Option<Peer> {
    extensions
        .get()
        .map(|ConnectInfo(peer): &ConnectInfo<Peer>| *peer)
}

/// The name that the browser reaches this controller by, with the port.
pub(super) fn host(headers: &HeaderMap, uri: &Uri) -> String {
    let header = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let authority = || uri.authority().map(axum::http::uri::Authority::as_str);
    header.or_else(authority).unwrap_or_default().to_owned()
}

/// Whether a form was sent from a page of this controller, as far as the browser says.
fn is_from_here(parts: &Parts) -> bool {
    let headers = &parts.headers;
    let site = headers.get("sec-fetch-site").map(|site| site.as_bytes());
    if site.is_some_and(|site| site != b"same-origin") {
        return false;
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return true;
    };
    let authority = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"))
        .map(|(_, authority)| authority);
    authority == Some(host(headers, &parts.uri).as_str())
}

impl<S: Sync> FromRequestParts<S> for Visitor {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        let headers = &parts.headers;
        let encrypted = cookies::is_encrypted(peer(&parts.extensions), headers);
        let chosen = Cookie::Language
            .get(headers, encrypted)
            .and_then(Language::from_tag);
        let accepted = headers
            .get(header::ACCEPT_LANGUAGE)
            .and_then(|value| value.to_str().ok());
        Ok(Self {
            language: chosen.unwrap_or_else(|| Language::accepted(accepted.unwrap_or_default())),
            theme: Cookie::Theme
                .get(headers, encrypted)
                .and_then(Theme::from_tag)
                .unwrap_or_default(),
            encrypted,
            path: parts.uri.to_string(),
            // What is fetched again in the background takes no message away.
            notice: Cookie::Notice
                .get(headers, encrypted)
                .filter(|_| !headers.contains_key("tombolo-refresh"))
                .and_then(Notice::decode),
        })
    }
}

impl FromRequestParts<Panel> for SignedIn {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, panel: &Panel) -> Result<Self, Response> {
        let Ok(visitor) = Visitor::from_request_parts(parts, panel).await;
        let away = || Redirect::to("/sign-in").into_response();
        let secret = Cookie::Session
            .get(&parts.headers, visitor.encrypted)
            .ok_or_else(away)?;
        let session = token::claim(secret).ok_or_else(away)?;
        let user = match panel.state.store.live_session(&session).await {
            Ok(user) => user.ok_or_else(away)?,
            Err(error) => return Err(layout::failure(&visitor, &Problem::from(error))),
        };
        Ok(Self {
            csrf: csrf(secret),
            source: auth::source(parts.extensions.get(), &parts.headers),
            api: Client::new(panel.api.clone(), Caller::from(&user)),
            stale: panel.state.store.health().down_since().is_some(),
            provider: panel
                .state
                .gate
                .oidc
                .as_ref()
                .map(|oidc| oidc.name().to_owned()),
            visitor,
            user,
            session,
        })
    }
}

impl FromRequest<Panel> for Action {
    type Rejection = Response;

    async fn from_request(request: Request, panel: &Panel) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let by = SignedIn::from_request_parts(&mut parts, panel).await?;
        let fields = fields(&parts, body, &by.visitor, Some(&by.csrf)).await?;
        Ok(Self { by, fields })
    }
}

impl FromRequest<Panel> for Application {
    type Rejection = Response;

    async fn from_request(request: Request, panel: &Panel) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let Ok(visitor) = Visitor::from_request_parts(&mut parts, panel).await;
        let secret = Cookie::Form.get(&parts.headers, visitor.encrypted);
        let fields = fields(&parts, body, &visitor, secret.map(csrf).as_deref()).await?;
        Ok(Self {
            visitor,
            fields,
            source: auth::source(parts.extensions.get(), &parts.headers),
        })
    }
}

/// Reads a form, if it is one of ours.
async fn fields(
    parts: &Parts,
    body: axum::body::Body,
    visitor: &Visitor,
    csrf: Option<&str>,
) -> Result<Fields, Response> {
    let refuse = || layout::failure(visitor, &Problem::forged());
    let bytes = to_bytes(body, MAX_FORM).await.map_err(|_| refuse())?;
    let fields = Fields(form_urlencoded::parse(&bytes).into_owned().collect());
    let digest = |text: &str| -> [u8; 32] { Sha256::digest(text).into() };
    let is_ours = csrf.is_some_and(|csrf| token::same(&digest(fields.get("csrf")), &digest(csrf)));
    if is_ours && is_from_here(parts) {
        Ok(fields)
    } else {
        Err(refuse())
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Back {
    #[serde(default)]
    back: String,
}

/// Remembers a language and goes back to the page.
pub(super) async fn choose_language(
    State(_panel): State<Panel>,
    visitor: Visitor,
    Path(tag): Path<String>,
    Query(Back { back }): Query<Back>,
) -> Response {
    let Some(language) = Language::from_tag(&tag) else {
        return std::future::ready(StatusCode::NOT_FOUND.into_response()).await;
    };
    let cookie = Cookie::Language.set(language.tag(), CHOICE_SECONDS, visitor.encrypted);
    let target = local(&back);
    ([(header::SET_COOKIE, cookie)], Redirect::to(target)).into_response()
}

/// Remembers a theme and goes back to the page.
pub(super) async fn choose_theme(
    State(_panel): State<Panel>,
    visitor: Visitor,
    Path(tag): Path<String>,
    Query(Back { back }): Query<Back>,
) -> Response {
    let Some(theme) = Theme::from_tag(&tag) else {
        return std::future::ready(StatusCode::NOT_FOUND.into_response()).await;
    };
    let cookie = Cookie::Theme.set(theme.tag(), CHOICE_SECONDS, visitor.encrypted);
    let target = local(&back);
    ([(header::SET_COOKIE, cookie)], Redirect::to(target)).into_response()
}

/// A path of this controller and of nobody else.
fn local(path: &str) -> &str {
    let is_local = path.starts_with('/')
        && !path.starts_with("//")
        && path
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if is_local { path } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_leads_to_no_other_site() {
        assert_eq!(local("/networks/1?q=2"), "/networks/1?q=2");
        for foreign in [
            "",
            "//evil.example",
            "https://evil.example",
            "/\\evil",
            "/\r\nx: y",
        ] {
            assert_eq!(local(foreign), "/", "{foreign:?}");
        }
    }
}
