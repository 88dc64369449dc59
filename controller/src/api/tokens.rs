//! `/api/v1/tokens`

use std::collections::BTreeSet;

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use tombolo_domain::{
    name::Name,
    rights::{ParseScopeError, Scope},
};
use tombolo_proto::api::{CreatedToken, NewToken, Page, Token};

use super::{
    ApiState, Problem,
    extract::{Json, Paging, Params},
    once::{Answer, Once},
};
use crate::{
    auth::Admin,
    store::{CommitError, FreshToken},
    token,
};

/// A token for more networks than this is one for all.
const MAX_SCOPES: usize = 64;
/// A hundred years.
const MAX_LIFETIME_SECONDS: u64 = 100 * 366 * 24 * 3600;

/// Lists API tokens, without their secrets.
#[utoipa::path(get, operation_id = "list_tokens", path = "/api/v1/tokens", tag = "tokens", params(Paging),
    responses((status = 200, body = Page<Token>)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    _admin: Admin,
    paging: Paging,
) -> Result<axum::Json<Page<Token>>, Problem> {
    let items = state.store.tokens(paging.after(), paging.fetch()).await?;
    Ok(paging.page(items, |token| token.id.clone()))
}

/// Creates an API token.
#[utoipa::path(post, operation_id = "create_token", path = "/api/v1/tokens", tag = "tokens", request_body = NewToken,
    responses((status = 201, body = CreatedToken)))]
pub(super) async fn create(
    State(state): State<ApiState>,
    Admin(actor): Admin,
    once: Once,
    Json(new): Json<NewToken>,
) -> Result<Response, Problem> {
    let name: Name = new.name.parse()?;
    if !(1..=MAX_SCOPES).contains(&new.scopes.len()) {
        return Err(Problem::invalid(format!(
            "scopes must hold 1 to {MAX_SCOPES} of: read, write, admin, each alone or for one network as in read:NETWORK-ID"
        )));
    }
    let scopes: BTreeSet<Scope> = new
        .scopes
        .iter()
        .map(|scope| scope.parse())
        .collect::<Result<_, ParseScopeError>>()
        .map_err(|error| Problem::invalid(error.to_string()))?;
    let scopes: Vec<String> = scopes.iter().map(Scope::to_string).collect();
    if !(1..=MAX_LIFETIME_SECONDS).contains(&new.expires_in.unwrap_or(1)) {
        return Err(Problem::invalid(format!(
            "expires_in must be 1 to {MAX_LIFETIME_SECONDS} seconds; leave it out for a token that never expires"
        )));
    }
    let minted = token::mint();
    let answer = Answer::created(&CreatedToken {
        id: minted.id.clone(),
        token: minted.token,
        join_link: None,
    });
    let fresh = FreshToken {
        id: &minted.id,
        hash: &minted.hash,
        name: name.as_str(),
        scopes: &scopes,
        expires_in: new.expires_in,
    };
    let kept = once.keep(&answer);
    match state.store.add_token(&fresh, &actor, kept.as_ref()).await {
        Ok(()) => Ok(answer.into_response()),
        Err(CommitError::NameTaken) => {
            let detail = format!("the name {name} belongs to another token: choose another");
            Err(Problem::conflict(detail).coded("taken"))
        }
        Err(error) => Err(error.into()),
    }
}

/// Deletes an API token: it stops working at once.
#[utoipa::path(delete, operation_id = "delete_token", path = "/api/v1/tokens/{token_id}", tag = "tokens", params(("token_id" = String, Path)),
    responses((status = 204)))]
pub(super) async fn remove(
    State(state): State<ApiState>,
    Admin(actor): Admin,
    Params(token): Params<String>,
) -> Result<StatusCode, Problem> {
    if state.store.remove_token(&token, &actor).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::not_found(
            "there is no such token: list tokens to see their ids",
        ))
    }
}
