//! Setting up, signing in and out.

use std::net::IpAddr;

use axum::{
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Redirect, Response},
};
use maud::{Markup, html};
use serde::Deserialize;
use tombolo_domain::name::Name;
use tombolo_proto::api::{Role, User};

use super::{
    Panel,
    cookies::Cookie,
    layout::{self, Notice},
    sign_on,
    visit::{self, Action, Application, Fields, Visitor},
};
use crate::{
    api::Problem,
    auth::{Attempter, recovery_hash},
    store::{CommitError, FreshUser, SESSION_SECONDS, SecondStep, StoredUser},
    token,
};

/// A form before a session is good for an hour.
const FORM_SECONDS: u64 = 3600;

/// `?code=` of the setup link.
#[derive(Debug, Deserialize)]
pub(super) struct Setup {
    #[serde(default)]
    code: String,
}

/// `?left=`: somebody who signed out, and may still be signed in at an identity provider.
#[derive(Debug, Deserialize)]
pub(super) struct Left {
    left: Option<String>,
}

/// The form that the setup link leads to.
pub(super) async fn setup_form(
    State(panel): State<Panel>,
    visitor: Visitor,
    Query(Setup { code }): Query<Setup>,
) -> Response {
    let works = match token::claim(&code) {
        Some(claim) => panel.state.store.setup_link_works(&claim.hash).await,
        None => Ok(false),
    };
    match works {
        Ok(true) => setup_page(&visitor, StatusCode::OK, &code, "", None),
        Ok(false) => spent(&visitor),
        Err(error) => layout::failure(&visitor, &error.into()),
    }
}

/// Makes the first user and signs them in.
pub(super) async fn set_up(State(panel): State<Panel>, form: Application) -> Response {
    let (visitor, fields) = (&form.visitor, &form.fields);
    let attempts = &panel.state.gate.attempts;
    let source = Attempter::source(form.source);
    if let Err(wait) = attempts.check(&source) {
        return layout::failure(visitor, &Problem::too_many_attempts(wait));
    }
    let (code, name) = (fields.get("code"), fields.get("name").trim());
    let again = |problem: &Problem| {
        let notice = Notice::of(visitor, problem);
        setup_page(visitor, problem.status(), code, name, Some(&notice))
    };
    let Some(claim) = token::claim(code) else {
        attempts.failed(&source);
        return spent(visitor);
    };
    if fields.get("password") != fields.get("again") {
        return again(&Problem::invalid(visitor.texts().passwords_differ));
    }
    let known: Name = match name.parse() {
        Ok(name) => name,
        Err(error) => return again(&Problem::from(error)),
    };
    let hashed = panel
        .state
        .gate
        .passwords
        .hash(name, fields.get("password"));
    let password = match hashed.await {
        Ok(password) => password,
        Err(error) => return again(&error.into()),
    };
    let id = token::id();
    let fresh = FreshUser {
        id: &id,
        name: &known,
        password: Some(&password),
        role: Role::Admin,
        networks: &std::collections::BTreeMap::new(),
    };
    match panel.state.store.set_up(&claim.hash, &fresh).await {
        Ok(true) => begin(&panel, visitor, (&id, known.as_str()), form.source, None).await,
        Ok(false) => {
            attempts.failed(&source);
            spent(visitor)
        }
        Err(CommitError::Store(error)) => layout::failure(visitor, &error.into()),
        Err(error) => again(&error.into()),
    }
}

fn spent(visitor: &Visitor) -> Response {
    let texts = visitor.texts();
    let notice = Notice::Failed(texts.setup_link_spent.to_owned());
    let content = html! {
        h1 { (texts.set_up) }
        p { a href="/sign-in" { (texts.sign_in) } }
    };
    layout::open_page(
        visitor,
        StatusCode::GONE,
        texts.set_up,
        Some(&notice),
        &content,
    )
}

fn setup_page(
    visitor: &Visitor,
    status: StatusCode,
    code: &str,
    name: &str,
    notice: Option<&Notice>,
) -> Response {
    let texts = visitor.texts();
    with_form(visitor, |csrf| {
        let content = html! {
            section.card.narrow {
                h1 { (texts.set_up) }
                p { (texts.set_up_lead) }
                form.stack method="post" action="/setup" data-plain {
                    (csrf)
                    input type="hidden" name="code" value=(code);
                    (name_field(visitor, name))
                    label for="password" { (texts.password) }
                    input #password type="password" name="password" autocomplete="new-password" minlength="10" maxlength="256"
                        aria-describedby="password-rule" required;
                    small #password-rule { (texts.password_rule) }
                    label for="again" { (texts.password_again) }
                    input #again type="password" name="again" autocomplete="new-password" required;
                    button type="submit" { (texts.create_admin) }
                }
            }
        };
        layout::open_page(visitor, status, texts.set_up, notice, &content)
    })
}

/// The form to sign in.
pub(super) async fn sign_in_form(
    State(panel): State<Panel>,
    headers: HeaderMap,
    visitor: Visitor,
    Query(Left { left }): Query<Left>,
) -> Response {
    let session = Cookie::Session.get(&headers, visitor.encrypted);
    if let Some(session) = session.and_then(token::claim)
        && let Ok(Some(_)) = panel.state.store.live_session(&session).await
    {
        return Redirect::to("/").into_response();
    }
    let offer = sign_on::offer(&panel, &visitor, left.is_some()).await;
    sign_in_page(&visitor, StatusCode::OK, "", None, &offer)
}

/// The form again, after something else than the form failed.
pub(super) fn sign_in_again(
    visitor: &Visitor,
    status: StatusCode,
    notice: &Notice,
    offer: &Markup,
) -> Response {
    sign_in_page(visitor, status, "", Some(notice), offer)
}

/// Checks a password and begins a session.
pub(super) async fn sign_in(State(panel): State<Panel>, form: Application) -> Response {
    let (visitor, fields) = (&form.visitor, &form.fields);
    let gate = &panel.state.gate;
    let source = Attempter::source(form.source);
    let name = fields.get("name").trim();
    let offer = sign_on::offer(&panel, visitor, false).await;
    let again = |problem: &Problem| {
        let notice = Notice::of(visitor, problem);
        sign_in_page(visitor, problem.status(), name, Some(&notice), &offer)
    };
    if let Err(wait) = gate.attempts.check(&source) {
        refused(&panel, form.source, None).await;
        return again(&Problem::too_many_attempts(wait));
    }
    let found: Option<StoredUser> = match name.parse() {
        Ok(name) => match panel.state.store.user_to_check(&name).await {
            Ok(found) => found,
            Err(error) => return again(&error.into()),
        },
        Err(_) => None,
    };
    // Counted before the result is known: many at once are as many as one after another.
    gate.attempts.failed(&source);
    let (hash, user) = found.map(|found| (found.password, found.user)).unzip();
    let (password, hash) = (fields.get("password"), hash.flatten());
    let is_right = gate.passwords.verify(password, hash).await;
    let name = user.as_ref().map(|user| user.name.clone());
    let known = match user {
        Some(user) if is_right => match second_step(&panel, &user, fields).await {
            Ok(step) => step.map(|step| (user, step)),
            Err(problem) => {
                refused(&panel, form.source, name.as_deref()).await;
                return again(&problem);
            }
        },
        _ => None,
    };
    match known {
        Some((user, step)) => {
            gate.attempts.succeeded(&source);
            begin(&panel, visitor, (&user.id, &user.name), form.source, step).await
        }
        // Which of them is wrong is nobody's business.
        None => {
            refused(&panel, form.source, name.as_deref()).await;
            again(&Problem::new(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                visitor.texts().account.sign_in_failed,
            ))
        }
    }
}

/// Has the audit log tell of somebody who was not let in, if it is to have a line about it.
async fn refused(panel: &Panel, source: IpAddr, name: Option<&str>) {
    let name = name.unwrap_or_default();
    let refusals = &panel.state.gate.refusals;
    let Some(earlier) = refusals.note(&Attempter::source(source), name) else {
        return;
    };
    let store = &panel.state.store;
    match store.sign_in_refused(name, source, earlier).await {
        Ok(()) => {}
        Err(error) if error.is_outage() => store.health().suspect(&error),
        Err(error) => tracing::error!(%error, "the audit log lacks a refused sign-in"),
    }
}

/// Whether the second step is done, by a user whose password was right: there is none, or the code is one that the app
/// shows, or a recovery code. Each counts once. None if it is not done.
async fn second_step(
    panel: &Panel,
    user: &User,
    fields: &Fields,
) -> Result<Option<Option<SecondStep>>, Problem> {
    let (store, gate) = (&panel.state.store, &panel.state.gate);
    let Some(factor) = store.second_factor(&user.id).await? else {
        return Ok(Some(None));
    };
    let code = fields.get("code");
    if code.is_empty() {
        return Ok(None);
    }
    // Whoever has the password has a million codes to guess, from any address.
    let who = Attempter::User(user.id.clone());
    gate.attempts
        .check(&who)
        .map_err(Problem::too_many_attempts)?;
    gate.attempts.failed(&who);
    let secret = gate
        .passwords
        .open(factor.secret, fields.get("password"))
        .await;
    let now = store.now().await?.0;
    let (is_right, step) = match secret.and_then(|secret| secret.step_of(code, now)) {
        Some(step) => (store.use_step(&user.id, step).await?, SecondStep::App),
        None => {
            let hash = recovery_hash(code);
            let is_right = store.use_recovery_code(&user.id, &hash).await?;
            (is_right, SecondStep::RecoveryCode)
        }
    };
    if is_right {
        gate.attempts.succeeded(&who);
    }
    Ok(is_right.then_some(Some(step)))
}

fn sign_in_page(
    visitor: &Visitor,
    status: StatusCode,
    name: &str,
    notice: Option<&Notice>,
    offer: &Markup,
) -> Response {
    let texts = visitor.texts();
    with_form(visitor, |csrf| {
        let content = html! {
            section.card.narrow {
                h1 { (texts.sign_in) }
                form.stack method="post" action="/sign-in" data-plain {
                    (csrf)
                    (name_field(visitor, name))
                    label for="password" { (texts.password) }
                    input #password type="password" name="password" autocomplete="current-password" required;
                    label for="code" { (texts.account.code) }
                    input #code name="code" autocomplete="one-time-code" autocapitalize="none" spellcheck="false" maxlength="40" aria-describedby="code-hint";
                    small #code-hint { (texts.account.code_hint) }
                    button type="submit" { (texts.sign_in) }
                }
                (offer)
                p { small { (texts.no_user_yet) } }
            }
        };
        layout::open_page(visitor, status, texts.sign_in, notice, &content)
    })
}

fn name_field(visitor: &Visitor, name: &str) -> Markup {
    html! {
        label for="name" { (visitor.texts().user_name) }
        input #name type="text" name="name" value=(name) autocomplete="username" autocapitalize="none" spellcheck="false" maxlength="63" required;
    }
}

/// Ends the session, here and in the store.
pub(super) async fn sign_out(State(panel): State<Panel>, action: Action) -> Response {
    let by = action.by;
    if let Err(error) = panel
        .state
        .store
        .sign_out(&by.session, &by.user.name, by.source)
        .await
    {
        return layout::failure(&by.visitor, &error.into());
    }
    let gone = Cookie::Session.remove(by.visitor.encrypted);
    let next = if by.user.has_password {
        "/sign-in"
    } else {
        "/sign-in?left=1"
    };
    ([(header::SET_COOKIE, gone)], Redirect::to(next)).into_response()
}

/// A page with a form that is tied to a fresh cookie.
fn with_form(visitor: &Visitor, page: impl FnOnce(Markup) -> Response) -> Response {
    let secret = token::mint().token;
    let csrf = visit::csrf(&secret);
    let mut response = page(html! { input type="hidden" name="csrf" value=(csrf); });
    let cookie = Cookie::Form.set(&secret, FORM_SECONDS, visitor.encrypted);
    response.headers_mut().append(header::SET_COOKIE, cookie);
    response
}

/// A session is always new: whatever cookie the browser had before means nothing.
async fn begin(
    panel: &Panel,
    visitor: &Visitor,
    user: (&str, &str),
    source: IpAddr,
    step: Option<SecondStep>,
) -> Response {
    let minted = token::mint();
    let claim = minted.claim();
    let begun = panel.state.store.sign_in(&claim, user, source, step);
    if let Err(error) = begun.await {
        return layout::failure(visitor, &error.into());
    }
    let mut response = Redirect::to("/").into_response();
    for cookie in [
        Cookie::Session.set(&minted.token, SESSION_SECONDS, visitor.encrypted),
        Cookie::Form.remove(visitor.encrypted),
    ] {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}
