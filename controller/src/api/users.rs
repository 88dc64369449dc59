//! `/api/v1/users`

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use tombolo_domain::name::Name;
use tombolo_proto::api::{NewUser, Page, User, UserPatch};

use super::{
    ApiState, Problem,
    etag::{self, IfMatch},
    extract::{Json, Paging, Params},
    once::{Answer, Once},
};
use crate::{
    auth::{Admin, PasswordError},
    networks::ChangeError,
    store::{Changed, CommitError, FreshUser, UserChange},
    token,
};

/// Lists users.
#[utoipa::path(get, operation_id = "list_users", path = "/api/v1/users", tag = "users", params(Paging),
    responses((status = 200, body = Page<User>)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    _admin: Admin,
    paging: Paging,
) -> Result<axum::Json<Page<User>>, Problem> {
    let items = state.store.users(paging.after(), paging.fetch()).await?;
    Ok(paging.page(items, |user| user.id.clone()))
}

/// Creates a user.
#[utoipa::path(post, operation_id = "create_user", path = "/api/v1/users", tag = "users", request_body = NewUser,
    responses((status = 201, body = User)))]
pub(super) async fn create(
    State(state): State<ApiState>,
    Admin(actor): Admin,
    once: Once,
    Json(new): Json<NewUser>,
) -> Result<Response, Problem> {
    let name: Name = new.name.parse()?;
    let id = token::id();
    let password = match &new.password {
        Some(password) => Some(state.gate.passwords.hash(name.as_str(), password).await?),
        None if state.gate.oidc.is_some() => None,
        None => {
            let detail = "without single sign-on a user needs a password: give one";
            return Err(Problem::invalid(detail).coded("password-needed"));
        }
    };
    let fresh = FreshUser {
        id: &id,
        name: &name,
        password: password.as_deref(),
        role: new.role,
        networks: &new.networks,
    };
    let answer = |user: &User| {
        Answer::created(user)
            .at(format!("/api/v1/users/{}", user.id))
            .tagged(user)
    };
    let kept = |user: &User| once.keep(&answer(user));
    match state.store.add_user(&fresh, &actor, &kept).await {
        Ok(user) => Ok(answer(&user).into_response()),
        Err(CommitError::NameTaken) => {
            let detail = format!("the name {name} belongs to another user: choose another");
            Err(Problem::conflict(detail).coded("taken"))
        }
        Err(error) => Err(error.into()),
    }
}

/// Shows a user.
#[utoipa::path(get, operation_id = "show_user", path = "/api/v1/users/{user}", tag = "users", params(("user" = String, Path)),
    responses((status = 200, body = User)))]
pub(super) async fn show(
    State(state): State<ApiState>,
    _admin: Admin,
    Params(id): Params<String>,
) -> Result<Response, Problem> {
    let user = state.store.user(&id).await?.ok_or_else(unknown)?;
    Ok(etag::tagged(&etag::of(&user), &user))
}

/// Changes a user's roles or password. A new password ends every session of the user.
#[utoipa::path(patch, operation_id = "update_user", path = "/api/v1/users/{user}", tag = "users", params(("user" = String, Path)),
    request_body = UserPatch, responses((status = 200, body = User)))]
pub(super) async fn update(
    State(state): State<ApiState>,
    Admin(actor): Admin,
    Params(id): Params<String>,
    if_match: IfMatch,
    Json(patch): Json<UserPatch>,
) -> Result<Response, Problem> {
    let before = state.store.user(&id).await?.ok_or_else(unknown)?;
    let password = match &patch.password {
        Some(password) => Some(state.gate.passwords.hash(&before.name, password).await?),
        None => None,
    };
    let change = UserChange {
        password: password.as_deref(),
        role: patch.role,
        networks: patch.networks.as_ref(),
    };
    let expected = |user: &User| if_match.admits(user);
    let store = &state.store;
    done(store.change_user(&id, &change, &expected, &actor).await?)?;
    let user = store.user(&id).await?.ok_or_else(unknown)?;
    Ok(etag::tagged(&etag::of(&user), &user))
}

/// Deletes a user and ends every session.
#[utoipa::path(delete, operation_id = "delete_user", path = "/api/v1/users/{user}", tag = "users", params(("user" = String, Path)),
    responses((status = 204)))]
pub(super) async fn remove(
    State(state): State<ApiState>,
    Admin(actor): Admin,
    Params(id): Params<String>,
    if_match: IfMatch,
) -> Result<StatusCode, Problem> {
    let expected = |user: &User| if_match.admits(user);
    done(state.store.remove_user(&id, &expected, &actor).await?)?;
    Ok(StatusCode::NO_CONTENT)
}

fn done(changed: Changed) -> Result<(), Problem> {
    match changed {
        Changed::Done => Ok(()),
        Changed::Unknown => Err(unknown()),
        Changed::Stale => Err(ChangeError::Stale.into()),
        Changed::LastAdmin => Err(Problem::conflict(
            "this is the last user who may do everything: give another one the role admin first",
        )
        .coded("last-admin")),
    }
}

fn unknown() -> Problem {
    Problem::not_found("there is no such user: list users to see their ids")
}

impl From<PasswordError> for Problem {
    fn from(error: PasswordError) -> Self {
        let code = match error {
            PasswordError::Length => "password-length",
            PasswordError::IsName => "password-is-name",
        };
        Self::invalid(error.to_string()).coded(code)
    }
}
