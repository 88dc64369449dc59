//! Who may ask. A permission is a type that a handler takes as an argument: without it, the handler is not called.

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, header, request::Parts},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use crate::{
    api::{ApiState, Problem},
    store::{Actor, TokenClaim},
    token,
};

/// May do everything.
const SCOPE_ADMIN: &str = "admin";
/// May read everything.
const SCOPE_READ: &str = "read";
/// What an API token can be made for.
pub(crate) const SCOPES: [&str; 2] = [SCOPE_ADMIN, SCOPE_READ];

/// Paths that need no credential: they tell nothing about any network.
const OPEN: [&str; 4] = ["/", "/api/v1/openapi.json", "/healthz", "/readyz"];

/// May read. Held by every caller with a valid token.
#[derive(Debug, Clone)]
pub(crate) struct Reader;

/// May change things; knows who it is, for the audit log.
#[derive(Debug, Clone)]
pub(crate) struct Admin(pub(crate) Actor);

#[derive(Debug, Clone)]
struct Caller {
    id: String,
    is_admin: bool,
}

/// Turns away everybody without a valid token, whatever they ask for.
pub(crate) async fn require_credential(
    State(state): State<ApiState>,
    mut request: Request,
    next: Next,
) -> Response {
    if OPEN.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let claim = claim(request.headers());
    match identify(&state, claim).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

fn claim(headers: &HeaderMap) -> Option<TokenClaim> {
    let (scheme, token) = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    token::claim(token.trim())
}

async fn identify(state: &ApiState, claim: Option<TokenClaim>) -> Result<Caller, Problem> {
    let claim = claim.ok_or_else(Problem::unauthorized)?;
    let stored = state
        .store
        .live_token(&claim.id)
        .await?
        .filter(|stored| token::same(&stored.hash, &claim.hash))
        .ok_or_else(Problem::unauthorized)?;
    Ok(Caller {
        id: stored.token.id,
        is_admin: stored.token.scopes.iter().any(|scope| scope == SCOPE_ADMIN),
    })
}

impl<S: Sync> FromRequestParts<S> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        match parts.extensions.get::<Caller>() {
            Some(_) => Ok(Self),
            None => Err(Problem::unauthorized()),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        match parts.extensions.get::<Caller>() {
            Some(caller) if caller.is_admin => Ok(Self(Actor::Token(caller.id.clone()))),
            Some(_) => Err(Problem::forbidden()),
            None => Err(Problem::unauthorized()),
        }
    }
}
