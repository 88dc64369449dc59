//! Who may ask. A permission is a type that a handler takes as an argument: without it, the handler is not called.

use std::net::{IpAddr, SocketAddr};

use axum::{
    extract::{ConnectInfo, FromRequestParts, Request, State},
    http::{HeaderMap, HeaderName, header, request::Parts},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use tombolo_domain::rights::Rights;
use tombolo_proto::{
    api::{Role, User},
    id::NetworkId,
};

use crate::{
    api::{ApiState, Problem},
    http::Peer,
    oidc::Oidc,
    store::{Actor, TokenClaim},
    token,
};

mod attempts;
mod hosts;
mod password;
mod refusals;
mod totp;

pub(crate) use attempts::{Attempter, Attempts};
pub(crate) use hosts::Hosts;
pub(crate) use password::{PasswordError, Passwords};
pub(crate) use refusals::Refusals;
pub(crate) use totp::{TotpSecret, recovery_codes, recovery_hash};

/// Paths of the API that need no credential: they tell nothing about any network.
const OPEN: [&str; 3] = ["/api/v1/openapi.json", "/healthz", "/readyz"];

/// How tools for ZeroTier controllers show their token.
const ZEROTIER_TOKEN: HeaderName = HeaderName::from_static("x-zt1-auth");

/// What stands between the outside and the handlers.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) attempts: Attempts,
    pub(crate) refusals: Refusals,
    pub(crate) passwords: Passwords,
    pub(crate) hosts: Hosts,
    /// Single sign-on, if it is configured.
    pub(crate) oidc: Option<Oidc>,
}

/// May read what the path names. Holds what else they may see.
#[derive(Debug, Clone)]
pub(crate) struct Reader(pub(crate) Rights);

/// May decide on members, routes and join tokens of the network in the path; knows who it is, for the audit log.
#[derive(Debug, Clone)]
pub(crate) struct Operator(pub(crate) Actor);

/// May change the network in the path; if there is none, everything.
#[derive(Debug, Clone)]
pub(crate) struct Admin(pub(crate) Actor);

/// Somebody who has shown who they are.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) actor: Actor,
    pub(crate) rights: Rights,
}

impl From<&User> for Caller {
    fn from(user: &User) -> Self {
        Self {
            actor: Actor::User(user.name.clone()),
            rights: Rights {
                everywhere: user.role,
                networks: user.networks.clone(),
            },
        }
    }
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
    let source = source(request.extensions().get(), request.headers());
    let source = Attempter::source(source);
    if let Err(wait) = state.gate.attempts.check(&source) {
        return Problem::too_many_attempts(wait).into_response();
    }
    let claim = shown(request.headers()).and_then(token::claim);
    match identify(&state, claim).await {
        Ok(Some(caller)) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Ok(None) => {
            // Who shows nothing guesses nothing.
            let headers = request.headers();
            if headers.contains_key(header::AUTHORIZATION) || headers.contains_key(ZEROTIER_TOKEN) {
                state.gate.attempts.failed(&source);
            }
            Problem::unauthorized().into_response()
        }
        Err(problem) => problem.into_response(),
    }
}

/// Who asks: the address of the peer, or what a proxy on this host says about it.
pub(crate) fn source(peer: Option<&ConnectInfo<Peer>>, headers: &HeaderMap) -> IpAddr {
    let peer = peer.map_or(IpAddr::from([0; 16]), |ConnectInfo(peer)| peer.address.ip());
    if !peer.to_canonical().is_loopback() {
        return peer;
    }
    // Each proxy appends whom it saw; the last one is on this host.
    let forwarded = headers
        .get_all("x-forwarded-for")
        .iter()
        .next_back()
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.rsplit(',').next())
        .map(str::trim);
    forwarded
        .and_then(|text| {
            let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
            text.parse().ok().or_else(with_port)
        })
        .unwrap_or(peer)
}

/// The token that a request shows: as a bearer token, or as tools for ZeroTier controllers do.
pub(crate) fn shown(headers: &HeaderMap) -> Option<&str> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match text(header::AUTHORIZATION) {
        Some(credential) => credential
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim()),
        None => text(ZEROTIER_TOKEN).map(str::trim),
    }
}

async fn identify(state: &ApiState, claim: Option<TokenClaim>) -> Result<Option<Caller>, Problem> {
    let Some(claim) = claim else { return Ok(None) };
    let stored = state
        .store
        .live_token(&claim.id)
        .await?
        .filter(|stored| token::same(&stored.hash, &claim.hash));
    let Some(stored) = stored else {
        return Ok(None);
    };
    state.store.touch_token(&stored).await;
    // What a newer controller wrote and this one does not know allows nothing.
    let scopes = stored
        .token
        .scopes
        .iter()
        .filter_map(|scope| scope.parse().ok());
    Ok(Some(Caller {
        rights: Rights::of_scopes(scopes),
        actor: Actor::Token(stored.token.id),
    }))
}

/// The network that a path of the API is about.
fn network_of(path: &str) -> Option<NetworkId> {
    let within = path
        .strip_prefix("/api/v1/networks/")
        .or_else(|| path.strip_prefix("/controller/network/"))?;
    within.split('/').next()?.parse().ok()
}

fn allowed(parts: &Parts, least: Role) -> Result<&Caller, Problem> {
    let caller = parts
        .extensions
        .get::<Caller>()
        .ok_or_else(Problem::unauthorized)?;
    let rights = &caller.rights;
    let role = match network_of(parts.uri.path()) {
        Some(network) => rights.within(network),
        // Lists show what each caller may see.
        None if least == Role::Viewer => rights.anywhere(),
        None => rights.everywhere,
    };
    if role >= least {
        Ok(caller)
    } else {
        Err(Problem::forbidden())
    }
}

impl<S: Sync> FromRequestParts<S> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        allowed(parts, Role::Viewer).map(|caller| Self(caller.rights.clone()))
    }
}

impl<S: Sync> FromRequestParts<S> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        allowed(parts, Role::Operator).map(|caller| Self(caller.actor.clone()))
    }
}

impl<S: Sync> FromRequestParts<S> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        allowed(parts, Role::Admin).map(|caller| Self(caller.actor.clone()))
    }
}
