//! `Idempotency-Key`: a request that is sent again, because its answer got lost, is answered again and not carried out
//! again. Follows the draft of the IETF (draft-ietf-httpapi-idempotency-key-header).
//!
//! What is kept may hold a new token, so it is encrypted under a key made of the caller's own token: of that the store has
//! the hash only.

use axum::{
    body::{Body, to_bytes},
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{ApiState, Problem, etag};
use crate::{
    auth::{self, Caller},
    store::{Hold, Kept, Reserved},
};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Marks an answer that was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Longest key, in characters.
const LONGEST_KEY: usize = 255;
/// Longest answer that is kept: no POST answers with more.
const LONGEST_ANSWER: usize = 1024 * 1024;
/// When to try again while the first one is still being carried out.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");
const LABEL: &[u8] = b"tombolo/idempotency/v1";

/// A successful answer, as it can be given twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    /// Something was made.
    pub(super) fn created(body: &impl Serialize) -> Self {
        Self::new(StatusCode::CREATED, body)
    }

    /// Something was done.
    pub(super) fn done(body: &impl Serialize) -> Self {
        Self::new(StatusCode::OK, body)
    }

    fn new(status: StatusCode, body: &impl Serialize) -> Self {
        Self {
            status: status.as_u16(),
            headers: vec![(
                header::CONTENT_TYPE.to_string(),
                "application/json".to_owned(),
            )],
            body: serde_json::to_vec(body).expect("API types always become JSON"),
        }
    }

    /// Where it is.
    pub(super) fn at(mut self, location: String) -> Self {
        self.headers.push((header::LOCATION.to_string(), location));
        self
    }

    /// Which version of it this is.
    pub(super) fn tagged(mut self, resource: &impl Serialize) -> Self {
        self.headers
            .push((header::ETAG.to_string(), etag::of(resource)));
        self
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        let mut response = (status, Body::from(self.body)).into_response();
        for (name, value) in &self.headers {
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse()) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

/// The idempotency key of a request that is being carried out, if it has one. Handlers give their answer to it before they
/// commit.
#[derive(Debug, Clone)]
pub(super) struct Once(Option<(Hold, Seal)>);

impl Once {
    /// What to store with the change that this answers.
    pub(super) fn keep(&self, answer: &Answer) -> Option<Kept> {
        let (hold, seal) = self.0.as_ref()?;
        Some(Kept {
            hold: *hold,
            sealed: seal.close(&hold.id, answer)?,
        })
    }
}

impl<S: Sync> FromRequestParts<S> for Once {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Ok(parts.extensions.get().cloned().unwrap_or(Self(None)))
    }
}

/// Carries a request with an idempotency key out once.
pub(super) async fn carry_out(
    State(state): State<ApiState>,
    request: Request,
    next: Next,
) -> Response {
    let Some(key) = request.headers().get(KEY) else {
        return next.run(request).await;
    };
    if request.method() != Method::POST {
        // The others may be repeated as they are.
        return next.run(request).await;
    }
    match parse(key) {
        Ok(key) => answer_once(state, key, request, next)
            .await
            .unwrap_or_else(IntoResponse::into_response),
        Err(problem) => problem.into_response(),
    }
}

async fn answer_once(
    state: ApiState,
    key: String,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let caller = parts
        .extensions
        .get::<Caller>()
        .ok_or_else(Problem::unauthorized)?;
    let Some(seal) = Seal::new(&parts.headers) else {
        return Err(Problem::bad_request(
            "`Idempotency-Key` goes with an API token only",
        ));
    };
    let id = digest(&[caller.actor.to_string().as_bytes(), key.as_bytes()]);
    // Bodies were read, and their length checked, before.
    let body = to_bytes(body, usize::MAX)
        .await
        .map_err(|_| Problem::internal())?;
    let asked = parts
        .uri
        .path_and_query()
        .map_or("/", |asked| asked.as_str());
    let fingerprint = digest(&[parts.method.as_str().as_bytes(), asked.as_bytes(), &body]);
    let hold = match state.store.reserve_answer(id, &fingerprint).await? {
        Reserved::Held(hold) => hold,
        Reserved::Busy => {
            let mut response = Problem::new(
                StatusCode::CONFLICT,
                "request-in-progress",
                "a request with this `Idempotency-Key` is being carried out: send it again in a second",
            )
            .into_response();
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, RETRY_AFTER);
            return Ok(response);
        }
        Reserved::Other => {
            return Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                "this `Idempotency-Key` was sent with another request within a day: use a new one",
            ));
        }
        Reserved::Answered(sealed) => {
            // A key of a token that was made anew under the same id opens nothing.
            let answer = seal.open(&id, sealed).ok_or_else(Problem::internal)?;
            let mut response = answer.into_response();
            response
                .headers_mut()
                .insert(REPLAYED, HeaderValue::from_static("true"));
            return Ok(response);
        }
    };
    let once = Once(Some((hold, seal)));
    parts.extensions.insert(once.clone());
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    if !response.status().is_success() {
        state.store.release_answer(hold).await?;
        return Ok(response);
    }
    // Whatever changed nothing has kept no answer yet.
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, LONGEST_ANSWER)
        .await
        .map_err(|_| Problem::internal())?;
    let headers = parts.headers.iter().filter_map(|(name, value)| {
        let value = value.to_str().ok()?;
        Some((name.to_string(), value.to_owned()))
    });
    let answer = Answer {
        status: parts.status.as_u16(),
        headers: headers.collect(),
        body: body.to_vec(),
    };
    if let Some(kept) = once.keep(&answer)
        && let Err(error) = state.store.keep_answer(&kept).await
    {
        tracing::debug!(%error, "an answer is not kept");
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

/// The key: a structured string as the draft has it, or the same without quotes.
fn parse(header: &HeaderValue) -> Result<String, Problem> {
    let text = header.to_str().unwrap_or_default().trim();
    let bare = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(text);
    let fits = (1..=LONGEST_KEY).contains(&bare.len());
    if fits && !bare.contains(['"', '\\']) && bare.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(bare.to_owned());
    }
    Err(Problem::bad_request(format!(
        "`Idempotency-Key` must be 1 to {LONGEST_KEY} printable characters without spaces: a random UUID, say"
    )))
}

fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

/// Encrypts answers for whoever shows the same token again.
#[derive(Debug, Clone)]
struct Seal(hmac::Key);

impl Seal {
    fn new(headers: &HeaderMap) -> Option<Self> {
        let token = auth::shown(headers)?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes());
        Some(Self(key))
    }

    fn key(&self, id: &[u8; 32]) -> Option<LessSafeKey> {
        let derived = hmac::sign(&self.0, &[LABEL, id].concat());
        let key = UnboundKey::new(&AES_256_GCM, derived.as_ref()).ok()?;
        Some(LessSafeKey::new(key))
    }

    fn close(&self, id: &[u8; 32], answer: &Answer) -> Option<Vec<u8>> {
        let nonce: [u8; NONCE_LEN] = rand::random();
        let mut bytes = postcard::to_stdvec(answer).ok()?;
        let sealing = Nonce::assume_unique_for_key(nonce);
        self.key(id)?
            .seal_in_place_append_tag(sealing, Aad::from(id), &mut bytes)
            .ok()?;
        Some([&nonce[..], &bytes].concat())
    }

    fn open(&self, id: &[u8; 32], mut sealed: Vec<u8>) -> Option<Answer> {
        let (nonce, bytes) = sealed.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened = self
            .key(id)?
            .open_in_place(nonce, Aad::from(id), bytes)
            .ok()?;
        postcard::from_bytes(opened).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_seal(token: &str) -> Seal {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, token.parse().expect("a header"));
        Seal::new(&headers).expect("a seal")
    }

    #[test]
    fn only_the_token_that_asked_opens_an_answer_and_only_under_its_key() {
        let answer = Answer::created(&"a secret").at("/there".to_owned());
        let sealed = a_seal("Bearer one")
            .close(&[1; 32], &answer)
            .expect("sealed");

        assert_eq!(
            a_seal("Bearer one").open(&[1; 32], sealed.clone()),
            Some(answer)
        );
        assert_eq!(a_seal("Bearer two").open(&[1; 32], sealed.clone()), None);
        assert_eq!(a_seal("Bearer one").open(&[2; 32], sealed.clone()), None);
        assert_eq!(
            a_seal("Bearer one").open(&[1; 32], sealed[..8].to_vec()),
            None
        );
        let plain = b"a secret";
        assert!(!sealed.windows(plain.len()).any(|window| window == plain));
    }

    #[test]
    fn keys_are_bare_or_quoted() {
        let parsed = |text: &str| parse(&HeaderValue::from_str(text).expect("a header")).ok();

        assert_eq!(parsed("abc-1").as_deref(), Some("abc-1"));
        assert_eq!(parsed("\"abc-1\"").as_deref(), Some("abc-1"));
        let long = "x".repeat(LONGEST_KEY + 1);
        for text in ["", "\"\"", "a b", "a\"b", "\"a", &long] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }
}
