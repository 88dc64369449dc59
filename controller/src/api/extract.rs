//! Reading requests: the same as axum's own extractors, but every failure is a problem document.

use std::time::Duration;

use axum::{
    body::{Body, BodyDataStream, to_bytes},
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{HeaderValue, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use futures_util::StreamExt as _;
use serde::{Deserialize, de::DeserializeOwned};
use tombolo_proto::api::Page;

use super::Problem;

/// Longest body: far beyond any configuration a person writes.
const MAX_BODY: usize = 256 * 1024;
/// How much of a longer one is read and thrown away before the answer.
const MAX_DRAINED: usize = 4 * 1024 * 1024;
/// For how long.
const DRAIN_DEADLINE: Duration = Duration::from_secs(1);
/// How long a body may take.
const BODY_DEADLINE: Duration = Duration::from_secs(30);
/// Items of a page unless it says otherwise.
const DEFAULT_LIMIT: u32 = 100;
/// Most items of a page.
const MAX_LIMIT: u32 = 1000;

/// A JSON body.
pub(super) struct Json<T>(pub(super) T);

/// Path parameters, as text.
pub(super) struct Params<T>(pub(super) T);

/// `?limit=&after=` of a list.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Paging {
    /// How many items, 1 to 1000; 100 by default.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next` of the page before.
    after: Option<String>,
}

impl Paging {
    /// A list may be asked for in more ways than this: its own query holds these two.
    pub(super) fn new(limit: Option<u32>, after: Option<String>) -> Result<Self, Problem> {
        let paging = Self { limit, after };
        if (1..=MAX_LIMIT).contains(&paging.limit()) {
            Ok(paging)
        } else {
            Err(Problem::bad_request(format!(
                "`limit` must be 1 to {MAX_LIMIT}"
            )))
        }
    }

    /// One more than the page holds, so that it shows whether there is another.
    pub(super) fn fetch(&self) -> u32 {
        self.limit() + 1
    }

    fn limit(&self) -> u32 {
        self.limit.unwrap_or(DEFAULT_LIMIT)
    }

    pub(super) fn after(&self) -> &str {
        self.after.as_deref().unwrap_or_default()
    }

    /// `after` as what it names.
    pub(super) fn after_parsed<T: std::str::FromStr>(&self) -> Result<Option<T>, Problem> {
        self.after
            .as_deref()
            .map(|after| {
                after.parse().map_err(|_| {
                    Problem::bad_request("`after` must be the `next` of the page before")
                })
            })
            .transpose()
    }

    /// The page from items that begin where it begins. `key` is what `after` takes.
    pub(super) fn page<T>(
        &self,
        items: impl IntoIterator<Item = T>,
        key: impl Fn(&T) -> String,
    ) -> axum::Json<Page<T>> {
        let limit = self.limit() as usize;
        let mut items: Vec<T> = items.into_iter().take(limit + 1).collect();
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(key);
        axum::Json(Page { items, next })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Paging {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Asked(paging) = Asked::<Self>::from_request_parts(parts, state).await?;
        Self::new(paging.limit, paging.after)
    }
}

/// A query.
pub(super) struct Asked<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Query::<T>::from_request_parts(parts, state)
            .await
            .map(|Query(asked)| Self(asked))
            .map_err(|rejection| Problem::bad_request(rejection.body_text()))
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Path::<T>::from_request_parts(parts, state)
            .await
            .map(|Path(params)| Self(params))
            .map_err(|rejection| Problem::bad_request(rejection.body_text()))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        if !is_json(&request) {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "send JSON, with the header `Content-Type: application/json`",
            ));
        }
        let body = to_bytes(request.into_body(), MAX_BODY)
            .await
            .map_err(|_| too_large())?;
        serde_json::from_slice(&body).map(Self).map_err(|error| {
            if error.is_data() {
                Problem::invalid(format!("the body does not fit: {error}"))
            } else {
                Problem::bad_request(format!("the body is not JSON: {error}"))
            }
        })
    }
}

/// Marks a request whose body was longer than [`MAX_BODY`].
#[derive(Debug, Clone)]
struct Oversized;

/// Reads the whole body before anything is decided, so that every refusal leaves the connection at the beginning of
/// the next request. What is too long is read on for a while, so that the client gets to see the answer.
pub(super) async fn read_body(request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let Ok(read) = tokio::time::timeout(BODY_DEADLINE, collect(body)).await else {
        let detail = "the body did not come in time: send it faster, or less at once";
        return Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", detail).into_response();
    };
    let body = match read {
        Ok(bytes) => Body::from(bytes),
        Err(Unread::TooLong) => {
            parts.extensions.insert(Oversized);
            Body::empty()
        }
        Err(Unread::Broken) => {
            return Problem::bad_request("the body broke off: send it again").into_response();
        }
    };
    let is_oversized = parts.extensions.get::<Oversized>().is_some();
    let mut response = next.run(Request::from_parts(parts, body)).await;
    if is_oversized {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

/// Turns away requests whose body is too long.
pub(super) async fn cap_body(request: Request, next: Next) -> Response {
    match request.extensions().get::<Oversized>() {
        Some(Oversized) => too_large().into_response(),
        None => next.run(request).await,
    }
}

enum Unread {
    TooLong,
    Broken,
}

async fn collect(body: Body) -> Result<Vec<u8>, Unread> {
    let mut chunks = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Unread::Broken)?;
        if bytes.len() + chunk.len() > MAX_BODY {
            let _ = tokio::time::timeout(DRAIN_DEADLINE, drain(chunks)).await;
            return Err(Unread::TooLong);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

async fn drain(mut chunks: BodyDataStream) {
    let mut drained = 0;
    while let Some(Ok(chunk)) = chunks.next().await {
        drained += chunk.len();
        if drained > MAX_DRAINED {
            return;
        }
    }
}

fn too_large() -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too-large",
        format!("the body is longer than {MAX_BODY} bytes: send less at once"),
    )
}

fn is_json(request: &Request) -> bool {
    request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .map(|value| value.split(';').next().unwrap_or_default().trim())
        .is_some_and(|essence| {
            essence.eq_ignore_ascii_case("application/json") || essence.ends_with("+json")
        })
}
