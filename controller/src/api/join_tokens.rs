//! `/api/v1/networks/{id}/join-tokens`

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use tombolo_proto::api::{CreatedToken, JoinToken, NewJoinToken, Page};

use super::{
    ApiState, Problem,
    extract::{Json, Paging, Params},
    once::{Answer, Once},
    views,
};
use crate::{
    auth::{Operator, Reader},
    networks::ChangeError,
    store::FreshJoinToken,
    token,
};

/// An hour: long enough to walk to the other machine.
const DEFAULT_LIFETIME_SECONDS: u64 = 3600;
/// A year: a token that lives longer is a password.
const MAX_LIFETIME_SECONDS: u64 = 366 * 24 * 3600;
/// More uses than this are an open network.
const MAX_USES: u32 = 100_000;

/// Lists join tokens, without their secrets.
#[utoipa::path(get, operation_id = "list_join_tokens", path = "/api/v1/networks/{id}/join-tokens", tag = "join tokens",
    params(("id" = String, Path), Paging), responses((status = 200, body = Page<JoinToken>)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    _reader: Reader,
    Params(id): Params<String>,
    paging: Paging,
) -> Result<axum::Json<Page<JoinToken>>, Problem> {
    let id = views::network_id(&id)?;
    state.networks.get(id).await?;
    let items = state
        .store
        .join_tokens(id, paging.after(), paging.fetch())
        .await?;
    Ok(paging.page(items, |token| token.id.clone()))
}

/// Creates a join token: nodes that show it are authorised at once.
#[utoipa::path(post, operation_id = "create_join_token", path = "/api/v1/networks/{id}/join-tokens", tag = "join tokens", params(("id" = String, Path)),
    request_body = NewJoinToken, responses((status = 201, body = CreatedToken)))]
pub(super) async fn create(
    State(state): State<ApiState>,
    Operator(actor): Operator,
    once: Once,
    Params(id): Params<String>,
    Json(new): Json<NewJoinToken>,
) -> Result<Response, Problem> {
    let id = views::network_id(&id)?;
    let uses = new.uses.unwrap_or(1);
    if !(1..=MAX_USES).contains(&uses) {
        return Err(Problem::invalid(format!("uses must be 1 to {MAX_USES}")));
    }
    let expires_in = new.expires_in.unwrap_or(DEFAULT_LIFETIME_SECONDS);
    if !(1..=MAX_LIFETIME_SECONDS).contains(&expires_in) {
        return Err(Problem::invalid(format!(
            "expires_in must be 1 to {MAX_LIFETIME_SECONDS} seconds"
        )));
    }
    let minted = token::mint();
    let answer = Answer::created(&CreatedToken {
        join_link: Some(state.networks.join_link(id, Some(minted.token.clone()))),
        id: minted.id.clone(),
        token: minted.token,
    });
    let fresh = FreshJoinToken {
        network: id,
        id: &minted.id,
        hash: &minted.hash,
        uses,
        expires_in,
    };
    let kept = once.keep(&answer);
    if state
        .store
        .add_join_token(&fresh, &actor, kept.as_ref())
        .await?
    {
        Ok(answer.into_response())
    } else {
        Err(ChangeError::UnknownNetwork.into())
    }
}

/// Deletes a join token.
#[utoipa::path(delete, operation_id = "delete_join_token", path = "/api/v1/networks/{id}/join-tokens/{token_id}", tag = "join tokens",
    params(("id" = String, Path), ("token_id" = String, Path)), responses((status = 204)))]
pub(super) async fn remove(
    State(state): State<ApiState>,
    Operator(actor): Operator,
    Params((id, token)): Params<(String, String)>,
) -> Result<StatusCode, Problem> {
    let id = views::network_id(&id)?;
    state.networks.get(id).await?;
    if state.store.remove_join_token(id, &token, &actor).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::not_found(
            "there is no such join token: list join tokens to see their ids",
        ))
    }
}
