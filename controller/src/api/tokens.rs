//! `/api/v1/tokens`

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use tombolo_domain::name::Name;
use tombolo_proto::api::{CreatedToken, NewToken, Page, Token};

use super::{
    ApiState, Problem,
    extract::{Json, Paging, Params},
};
use crate::{
    auth::{Admin, SCOPES},
    store::CommitError,
    token,
};

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
    Json(new): Json<NewToken>,
) -> Result<Response, Problem> {
    let name: Name = new.name.parse()?;
    let known = |scope: &String| SCOPES.contains(&scope.as_str());
    if new.scopes.is_empty() || !new.scopes.iter().all(known) {
        return Err(Problem::invalid(format!(
            "scopes must hold at least one of: {}",
            SCOPES.join(", ")
        )));
    }
    if new.expires_in == Some(0) {
        return Err(Problem::invalid(
            "expires_in must be at least 1 second; leave it out for a token that never expires",
        ));
    }
    let minted = token::mint();
    let added = state
        .store
        .add_token(
            &minted.id,
            &minted.hash,
            name.as_str(),
            &new.scopes,
            new.expires_in,
            &actor,
        )
        .await;
    match added {
        Ok(()) => {}
        Err(CommitError::NameTaken) => {
            let detail = format!("the name {name} belongs to another token: choose another");
            return Err(Problem::conflict(detail).coded("taken"));
        }
        Err(error) => return Err(error.into()),
    }
    let body = CreatedToken {
        id: minted.id,
        token: minted.token,
        join_link: None,
    };
    Ok((StatusCode::CREATED, axum::Json(body)).into_response())
}

/// Deletes an API token: it stops working at once.
#[utoipa::path(delete, operation_id = "delete_token", path = "/api/v1/tokens/{token}", tag = "tokens", params(("token" = String, Path)),
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
