//! The style sheet and the script, part of the program. Their addresses hold a hash, so that browsers may keep them.

use std::sync::LazyLock;

use axum::{
    http::header,
    response::{IntoResponse as _, Response},
};
use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

/// Where the style sheet is.
pub(super) const STYLE: &str = "/assets/panel.css";
/// Where the script is.
pub(super) const SCRIPT: &str = "/assets/panel.js";

/// Where the icon is.
pub(super) const ICON: &str = "/assets/icon.svg";

/// Two islands and the bar of sand between them.
pub(super) const LOGO: &str = include_str!("assets/logo.svg");

const STYLE_TEXT: &str = include_str!("assets/panel.css");
const SCRIPT_TEXT: &str = include_str!("assets/panel.js");

static STYLE_ADDRESS: LazyLock<String> = LazyLock::new(|| address(STYLE, STYLE_TEXT));
static SCRIPT_ADDRESS: LazyLock<String> = LazyLock::new(|| address(SCRIPT, SCRIPT_TEXT));

pub(crate) fn style_address() -> &'static str {
    &STYLE_ADDRESS
}

pub(super) fn script_address() -> &'static str {
    &SCRIPT_ADDRESS
}

fn address(path: &str, text: &str) -> String {
    let hash = HEXLOWER.encode(Sha256::digest(text).get(..8).unwrap_or_default());
    format!("{path}?{hash}")
}

pub(super) async fn style() -> Response {
    std::future::ready(asset("text/css; charset=utf-8", STYLE_TEXT)).await
}

pub(super) async fn script() -> Response {
    std::future::ready(asset("text/javascript; charset=utf-8", SCRIPT_TEXT)).await
}

pub(super) async fn icon() -> Response {
    std::future::ready(asset("image/svg+xml", LOGO)).await
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    (headers, text).into_response()
}
