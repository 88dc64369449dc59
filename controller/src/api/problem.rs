//! Errors as problem documents (RFC 9457).

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use tombolo_domain::{
    name::NameError,
    prefix::PrefixError,
    refusal::{Refusal, RefusalKind},
};
use tombolo_proto::api;

use crate::{
    networks::ChangeError,
    store::{CommitError, StoreError},
};

/// An error on its way to the caller.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    kind: Cow<'static, str>,
    detail: String,
    /// The name of a refusal, and what it is about.
    code: Option<Cow<'static, str>>,
    values: BTreeMap<String, String>,
}

/// What the names of problems begin with.
const NAMESPACE: &str = "urn:tombolo:problem:";

impl Problem {
    pub(crate) fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            kind: kind.into(),
            detail: detail.into(),
            code: None,
            values: BTreeMap::new(),
        }
    }

    /// A problem that the API told of.
    pub(crate) fn relayed(status: StatusCode, problem: api::Problem) -> Self {
        let kind = problem.kind.trim_start_matches(NAMESPACE).to_owned();
        Self {
            status,
            kind: kind.into(),
            detail: problem.detail,
            code: problem.code.map(Cow::Owned),
            values: problem.values,
        }
    }

    /// With a name of its own.
    pub(crate) fn coded(mut self, code: &'static str) -> Self {
        self.code = Some(code.into());
        self
    }

    /// The most precise name it has.
    pub(crate) fn code(&self) -> &str {
        self.code.as_deref().unwrap_or(&self.kind)
    }

    /// What it is about.
    pub(crate) const fn values(&self) -> &BTreeMap<String, String> {
        &self.values
    }

    pub(crate) const fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// A form without the token of the session.
    pub(crate) fn forged() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "forged-form",
            "this form is too old or was not made for you: load the page again, with cookies allowed, and repeat",
        )
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", detail)
    }

    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail)
    }

    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", detail)
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "a valid API token is needed: send `Authorization: Bearer <token>` (the first one is in admin.token in the controller's state directory)",
        )
    }

    pub(crate) fn forbidden() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "you may not do this: use a token with the scope \"admin\", or ask an administrator for a higher role",
        )
    }

    pub(crate) fn too_many_attempts(wait: Duration) -> Self {
        let seconds = wait.as_secs() + 1;
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-attempts",
            format!("too many wrong credentials from this address: try again in {seconds} s"),
        )
    }

    pub(crate) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the controller failed: its log says why",
        )
    }

    fn store(error: &StoreError) -> Self {
        // An outage is told once, when it begins.
        if !error.is_outage() {
            tracing::error!(%error, "store failed");
        }
        Self::unavailable()
    }

    pub(crate) fn unavailable() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "store-unavailable",
            "the store does not answer: what is known can be read, changes are refused; check its server or its disk, then look whether a change that was under way was made, and try again",
        )
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = api::Problem {
            kind: format!("{NAMESPACE}{}", self.kind),
            title: self.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: self.status.as_u16(),
            detail: self.detail,
            code: self.code.map(Cow::into_owned),
            values: self.values,
        };
        let mut response = (self.status, axum::Json(body)).into_response();
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if self.status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let (status, kind) = match refusal.kind() {
            RefusalKind::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
            RefusalKind::Conflict => (StatusCode::CONFLICT, "conflict"),
            RefusalKind::NotFound => (StatusCode::NOT_FOUND, "not-found"),
            RefusalKind::Forbidden => (StatusCode::FORBIDDEN, "forbidden"),
            RefusalKind::Busy => (StatusCode::TOO_MANY_REQUESTS, "busy"),
        };
        let coded = refusal.coded();
        let named = |(name, value): (&str, String)| (name.to_owned(), value);
        Self {
            code: Some(coded.code.into()),
            values: coded.values.into_iter().map(named).collect(),
            ..Self::new(status, kind, refusal.to_string())
        }
    }
}

impl From<NameError> for Problem {
    fn from(error: NameError) -> Self {
        Refusal::from(error).into()
    }
}

impl From<PrefixError> for Problem {
    fn from(error: PrefixError) -> Self {
        Refusal::from(error).into()
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::store(&error)
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Refused(refusal) => refusal.into(),
            ChangeError::Store(error) => error.into(),
            ChangeError::UnknownNetwork => Self::not_found(error.to_string()),
            ChangeError::Unfit(detail) => Self::invalid(detail),
            ChangeError::Stale => {
                Self::new(StatusCode::PRECONDITION_FAILED, "stale", error.to_string())
            }
            ChangeError::NameTaken => Self::conflict(error.to_string()).coded("network-name-taken"),
            ChangeError::Token => Self::conflict(error.to_string()),
            ChangeError::NotAdmitted => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "not-admitted",
                error.to_string(),
            ),
            ChangeError::Busy => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", error.to_string())
            }
        }
    }
}

impl From<CommitError> for Problem {
    fn from(error: CommitError) -> Self {
        ChangeError::from(error).into()
    }
}
