//! Cookies: for this host alone, not for scripts, and (but for one) not sent along from other sites.

use axum::http::{HeaderMap, HeaderValue, header};

use crate::http::Peer;

/// What a cookie is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cookie {
    /// The session.
    Session,
    /// What the forms before a session are tied to.
    Form,
    /// An attempt to sign in at an identity provider.
    SignOn,
    /// The chosen language.
    Language,
    /// Light or dark, if chosen.
    Theme,
    /// What to say on the next page.
    Notice,
}

impl Cookie {
    /// Over TLS, browsers hold names that begin like this to what `set` says.
    const fn name(self, encrypted: bool) -> &'static str {
        match (self, encrypted) {
            (Self::Session, false) => "tombolo_session",
            (Self::Session, true) => "__Host-tombolo_session",
            (Self::Form, false) => "tombolo_form",
            (Self::Form, true) => "__Host-tombolo_form",
            (Self::SignOn, false) => "tombolo_sign_on",
            (Self::SignOn, true) => "__Host-tombolo_sign_on",
            (Self::Language, _) => "tombolo_language",
            (Self::Theme, _) => "tombolo_theme",
            (Self::Notice, _) => "tombolo_notice",
        }
    }

    /// The provider sends the browser back, which is coming from another site. With `Lax` the cookie comes along then, but
    /// not with what another site only embeds or posts.
    const fn same_site(self) -> &'static str {
        match self {
            Self::SignOn => "Lax",
            Self::Session | Self::Form | Self::Language | Self::Theme | Self::Notice => "Strict",
        }
    }

    /// Its value, if the browser sent it.
    pub(super) fn get(self, headers: &HeaderMap, encrypted: bool) -> Option<&str> {
        let name = self.name(encrypted);
        headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }

    /// The header that sets it. `value` consists of letters, digits, `-` and `_`.
    pub(super) fn set(self, value: &str, seconds: u64, encrypted: bool) -> HeaderValue {
        let name = self.name(encrypted);
        let secure = if encrypted { "; Secure" } else { "" };
        let same_site = self.same_site();
        let text = format!(
            "{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite={same_site}{secure}"
        );
        HeaderValue::try_from(text).expect("the value holds plain letters only")
    }

    /// The header that removes it.
    pub(super) fn remove(self, encrypted: bool) -> HeaderValue {
        self.set("", 0, encrypted)
    }
}

/// Whether the way to the browser is encrypted: here, or by a proxy on this host that says so.
pub(super) fn is_encrypted(peer: Option<Peer>, headers: &HeaderMap) -> bool {
    let Some(peer) = peer else { return false };
    let by_proxy = || {
        headers
            .get("x-forwarded-proto")
            .is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"))
    };
    peer.encrypted || (peer.address.ip().to_canonical().is_loopback() && by_proxy())
}
