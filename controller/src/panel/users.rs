//! Users: who may sign in, and what they may do.

use axum::{
    extract::{Path, Query},
    http::StatusCode,
    response::Response,
};
use maud::{Markup, html};
use tombolo_proto::api::{NewUser, Page, Role, User, UserPatch};

use super::{
    layout::{self, Notice},
    network_choice::Networks,
    networks::Place,
    texts::Access,
    visit::{Action, Fields, SignedIn},
};
use crate::api::Problem;

const PATH: &str = "/users";
/// Rows of a page.
const ROWS: u32 = 100;

/// What a role is called in forms.
const ROLES: [(Role, &str); 4] = [
    (Role::None, "none"),
    (Role::Viewer, "viewer"),
    (Role::Operator, "operator"),
    (Role::Admin, "admin"),
];

fn parse(word: &str) -> Role {
    let named = ROLES.into_iter().find(|(_, name)| *name == word);
    named.map_or(Role::None, |(role, _)| role)
}

const fn named(texts: &Access, role: Role) -> &'static str {
    match role {
        Role::None => texts.none,
        Role::Viewer => texts.viewer,
        Role::Operator => texts.operator,
        Role::Admin => texts.admin,
    }
}

/// The list.
pub(super) async fn list(by: SignedIn, Query(place): Query<Place>) -> Result<Response, Response> {
    listed(&by, StatusCode::OK, None, &place, &Fields::default()).await
}

async fn listed(
    by: &SignedIn,
    status: StatusCode,
    notice: Option<&Notice>,
    place: &Place,
    fields: &Fields,
) -> Result<Response, Response> {
    let all = by.visitor.texts();
    let texts = &all.access;
    let path = format!("{PATH}?limit={ROWS}{}", place.query());
    let page: Page<User> = by.api.get(&path).await.map_err(layout::told(by))?;
    let content = html! {
        div.head { h1 { (texts.users) } }
        section.card {
            p.soft { (texts.users_lead) }
            table.stacked.plain {
                thead { tr {
                    th scope="col" { (all.user_name) }
                    th scope="col" { (texts.role) }
                    th scope="col" { (all.networks) }
                    th scope="col" { (texts.created) }
                } }
                tbody {
                    @for user in &page.items {
                        tr {
                            td { a.name href={ (PATH) "/" (user.id) } { (user.name) } @if user.id == by.user.id { " " span.tag { (texts.you) } }
                                @if !user.has_password { " " span.tag { (all.sign_on.by_provider) } } }
                            td data-label=(texts.role) { (named(texts, user.role)) }
                            td data-label=(all.networks) { (user.networks.len()) }
                            td data-label=(texts.created) { (layout::moment(user.created_at)) }
                        }
                    }
                }
            }
            (layout::next_page(by, PATH, page.next.as_deref()))
        }
        section.card aria-labelledby="new-user" {
            h2 #new-user { (texts.new_user) }
            form.stack.half method="post" action=(PATH) data-plain {
                (layout::csrf(by))
                label for="name" { (all.user_name) }
                input #name name="name" value=(fields.get("name")) maxlength="63" autocomplete="off" autocapitalize="none" required;
                label for="password" { (texts.initial_password) }
                input #password type="password" name="password" autocomplete="new-password" minlength="10" maxlength="256" aria-describedby="password-hint" required[by.provider.is_none()];
                small #password-hint {
                    (all.password_rule) " " (texts.initial_password_hint)
                    @if let Some(provider) = &by.provider { " " ((all.sign_on.without_password)(provider)) }
                }
                label for="role" { (texts.role_everywhere) }
                (choice(texts, "role", "role", parse(fields.get("role"))))
                button type="submit" { (texts.create_user) }
            }
        }
    };
    Ok(layout::page(by, status, texts.users, notice, &content))
}

fn choice(texts: &Access, id: &str, name: &str, chosen: Role) -> Markup {
    html! {
        select id=(id) name=(name) {
            @for (role, word) in ROLES { option value=(word) selected[role == chosen] { (named(texts, role)) } }
        }
    }
}

/// Makes a user.
pub(super) async fn create(Action { by, fields }: Action) -> Result<Response, Response> {
    let new = NewUser {
        name: fields.get("name").trim().to_owned(),
        password: Some(fields.get("password").to_owned())
            .filter(|password| by.provider.is_none() || !password.is_empty()),
        role: parse(fields.get("role")),
        networks: std::collections::BTreeMap::new(),
    };
    let created: Result<User, Problem> = by.api.post(PATH, &new).await;
    match created {
        Ok(user) => {
            let done = (by.visitor.texts().access.user_created)(&user.name);
            let at = match user.role {
                // Without a role anywhere there is nothing to see: roles in networks come next.
                Role::None => path(&user.id),
                Role::Viewer | Role::Operator | Role::Admin => PATH.to_owned(),
            };
            Ok(layout::go(&by, &at, done))
        }
        Err(problem) => {
            let notice = Notice::of(&by.visitor, &problem);
            let place = Place::default();
            listed(&by, problem.status(), Some(&notice), &place, &fields).await
        }
    }
}

/// The page of one user.
pub(super) async fn show(by: SignedIn, Path(id): Path<String>) -> Result<Response, Response> {
    shown(&by, &id, StatusCode::OK, None).await
}

async fn shown(
    by: &SignedIn,
    id: &str,
    status: StatusCode,
    notice: Option<&Notice>,
) -> Result<Response, Response> {
    let told = layout::told(by);
    let all = by.visitor.texts();
    let texts = &all.access;
    let user: User = by.api.get(&path(id)).await.map_err(told)?;
    let networks = Networks::of(by).await.map_err(told)?;
    let at = path(&user.id);
    let content = html! {
        (layout::way_back(PATH, texts.users))
        div.head { h1 { (user.name) } }
        div.columns {
            section.card aria-labelledby="roles" {
                h2 #roles { (texts.role) }
                form.stack method="post" action=(at) data-keep {
                    (layout::csrf(by))
                    label for="role" { (texts.role_everywhere) }
                    (choice(texts, "role", "role", user.role))
                    @if !networks.is_empty() {
                        fieldset {
                            legend { (texts.roles_here) }
                            @for network in networks.iter() {
                                @let name = format!("role-{}", network.id);
                                @let role = user.networks.get(&network.id).copied().unwrap_or_default();
                                div.pair {
                                    label for=(name) { (network.name) }
                                    (choice(texts, &name, &name, role))
                                }
                            }
                        }
                    }
                    button type="submit" { (all.save) }
                }
            }
            section.card aria-labelledby="reset" {
                h2 #reset { (texts.reset_password) }
                p.soft { (texts.reset_password_lead) }
                form.stack method="post" action={ (at) "/password" } {
                    (layout::csrf(by))
                    (layout::whose(&user.name))
                    label for="password" { (texts.new_password) }
                    input #password type="password" name="password" autocomplete="new-password" minlength="10" maxlength="256" aria-describedby="password-hint" required;
                    small #password-hint { (all.password_rule) }
                    button type="submit" { (texts.reset_password) }
                }
                @if user.id != by.user.id {
                    details.danger {
                        summary { (texts.remove_user) "…" }
                        p { (texts.remove_user_lead) }
                        form method="post" action={ (at) "/remove" } data-plain {
                            (layout::csrf(by))
                            button.danger type="submit" { (texts.remove_user) }
                        }
                    }
                }
            }
        }
    };
    Ok(layout::page(by, status, &user.name, notice, &content))
}

/// Changes roles. Those in networks that the page does not show stay.
pub(super) async fn update(
    Path(id): Path<String>,
    Action { by, fields }: Action,
) -> Result<Response, Response> {
    let done = async {
        let user: User = by.api.get(&path(&id)).await?;
        let mut networks = user.networks;
        for (network, word) in fields.with_prefix("role-") {
            let Ok(network) = network.parse() else {
                continue;
            };
            match parse(word) {
                Role::None => networks.remove(&network),
                role @ (Role::Viewer | Role::Operator | Role::Admin) => {
                    networks.insert(network, role)
                }
            };
        }
        let patch = UserPatch {
            role: Some(parse(fields.get("role"))),
            networks: Some(networks),
            ..UserPatch::default()
        };
        let _: User = by.api.patch(&path(&id), &patch).await?;
        Ok(by.visitor.texts().saved.to_owned())
    };
    finish(&by, &id, done.await).await
}

/// Sets a password that the user will change.
pub(super) async fn reset(
    Path(id): Path<String>,
    Action { by, fields }: Action,
) -> Result<Response, Response> {
    let patch = UserPatch {
        password: Some(fields.get("password").to_owned()),
        ..UserPatch::default()
    };
    let done: Result<User, Problem> = by.api.patch(&path(&id), &patch).await;
    let done = done.map(|user| (by.visitor.texts().access.password_reset)(&user.name));
    finish(&by, &id, done).await
}

/// Deletes a user. Nobody takes away their own way in by accident.
pub(super) async fn remove(
    Path(id): Path<String>,
    Action { by, .. }: Action,
) -> Result<Response, Response> {
    let texts = &by.visitor.texts().access;
    let done = async {
        if id == by.user.id {
            return Err(Problem::conflict(texts.not_you));
        }
        let user: User = by.api.get(&path(&id)).await?;
        by.api.delete(&path(&id)).await?;
        Ok((texts.user_removed)(&user.name))
    };
    match done.await {
        Ok(text) => Ok(layout::go(&by, PATH, text)),
        failed => finish(&by, &id, failed).await,
    }
}

async fn finish(
    by: &SignedIn,
    id: &str,
    done: Result<String, Problem>,
) -> Result<Response, Response> {
    match done {
        Ok(text) => Ok(layout::go(by, &path(id), text)),
        Err(problem) => {
            let notice = Notice::of(&by.visitor, &problem);
            shown(by, id, problem.status(), Some(&notice)).await
        }
    }
}

fn path(id: &str) -> String {
    format!("{PATH}/{}", layout::encoded(id))
}
