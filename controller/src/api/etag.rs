//! ETags: a digest of what an administrator configured, without what nodes report of themselves.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, header, request::Parts},
    response::{IntoResponse, Response},
};
use data_encoding::HEXLOWER;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::Problem;
use crate::networks::ChangeError;

/// The `If-Match` header of a request, if it has one.
#[derive(Debug, Clone)]
pub(super) struct IfMatch(Option<String>);

/// The tag of a resource.
pub(super) fn of(resource: &impl Serialize) -> String {
    let json = serde_json::to_vec(resource).expect("API types always become JSON");
    let digest = Sha256::digest(json);
    format!(
        "\"{}\"",
        HEXLOWER.encode(digest.get(..12).unwrap_or_default())
    )
}

/// An answer with its tag.
pub(super) fn tagged<T: Serialize>(tag: &str, body: &T) -> Response {
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, value);
    }
    (headers, axum::Json(body)).into_response()
}

impl IfMatch {
    /// Refuses if the caller saw another state than `resource`.
    pub(super) fn check(&self, resource: &impl Serialize) -> Result<(), ChangeError> {
        if self.admits(resource) {
            Ok(())
        } else {
            Err(ChangeError::Stale)
        }
    }

    /// Whether the caller saw `resource`, or does not care.
    pub(super) fn admits(&self, resource: &impl Serialize) -> bool {
        let Some(wanted) = &self.0 else {
            return true;
        };
        let tag = of(resource);
        wanted
            .split(',')
            .map(str::trim)
            .any(|candidate| candidate == "*" || candidate == tag)
    }
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let header = parts.headers.get(header::IF_MATCH);
        let text = header
            .map(HeaderValue::to_str)
            .transpose()
            .map_err(|_| Problem::bad_request("`If-Match` must hold the ETag of a resource"))?;
        Ok(Self(text.map(str::to_owned)))
    }
}
