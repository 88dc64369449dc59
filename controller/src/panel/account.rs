//! One's own account: password and two-step sign-in.

use axum::{extract::State, http::StatusCode, response::Response};
use maud::{Markup, html};

use super::{
    Panel,
    layout::{self, Notice},
    qr,
    visit::{Action, Fields, SignedIn},
};
use crate::{
    api::Problem,
    auth::{Attempter, TotpSecret, recovery_codes, recovery_hash},
    store::SecondFactor,
};

const PATH: &str = "/account";

/// The page.
pub(super) async fn show(State(panel): State<Panel>, by: SignedIn) -> Result<Response, Response> {
    shown(&panel, &by, StatusCode::OK, None, None).await
}

async fn shown(
    panel: &Panel,
    by: &SignedIn,
    status: StatusCode,
    notice: Option<&Notice>,
    setup: Option<&TotpSecret>,
) -> Result<Response, Response> {
    let texts = &by.visitor.texts().account;
    let factor = panel.state.store.second_factor(&by.user.id).await;
    let factor = factor.map_err(|error| layout::failure(&by.visitor, &error.into()))?;
    let content = html! {
        div.head { h1 { (texts.account) } span.soft { (by.user.name) } }
        @if by.user.has_password { (own_secrets(by, setup, factor)) }
        @else if let Some(provider) = &by.provider {
            section.card { p { ((by.visitor.texts().sign_on.no_password)(provider)) } }
        }
    };
    Ok(layout::page(by, status, texts.account, notice, &content))
}

/// Password and second step.
fn own_secrets(by: &SignedIn, setup: Option<&TotpSecret>, factor: Option<SecondFactor>) -> Markup {
    let texts = &by.visitor.texts().account;
    html! {
        div.columns {
            section.card aria-labelledby="password-title" {
                h2 #password-title { (texts.change_password) }
                p.soft { (texts.change_password_lead) }
                form.stack method="post" action="/account/password" {
                    (layout::csrf(by))
                    (current_password(by, "current"))
                    label for="password" { (texts.new_password) }
                    input #password type="password" name="password" autocomplete="new-password" minlength="10" maxlength="256"
                        aria-describedby="password-rule" required;
                    small #password-rule { (by.visitor.texts().password_rule) }
                    label for="again" { (by.visitor.texts().password_again) }
                    input #again type="password" name="again" autocomplete="new-password" required;
                    button type="submit" { (texts.change_password) }
                }
            }
            section.card aria-labelledby="two-step" {
                h2 #two-step { (texts.two_step) }
                p.soft { (texts.two_step_lead) }
                @match (setup, factor) {
                    (Some(secret), _) => (confirmation(by, secret)),
                    (None, Some(factor)) => (switched_on(by, &factor)),
                    (None, None) => {
                        p { span.state { (texts.two_step_off) } }
                        form method="post" action="/account/two-step" data-plain {
                            (layout::csrf(by))
                            button type="submit" { (texts.begin) }
                        }
                    }
                }
            }
        }
    }
}

fn current_password(by: &SignedIn, id: &str) -> Markup {
    html! {
        (layout::whose(&by.user.name))
        label for=(id) { (by.visitor.texts().account.current_password) }
        input id=(id) type="password" name="current" autocomplete="current-password" required;
    }
}

fn confirmation(by: &SignedIn, secret: &TotpSecret) -> Markup {
    let texts = &by.visitor.texts().account;
    html! {
        p { (texts.scan) }
        div.qr { @if let Some(code) = qr::svg(&secret.uri(&by.user.name), texts.scan_label) { (code) } }
        (layout::copyable(&by.visitor, "totp-secret", &secret.text()))
        form.stack method="post" action="/account/two-step/confirm" data-plain {
            (layout::csrf(by))
            input type="hidden" name="secret" value=(secret.text());
            label for="code" { (texts.code) }
            input #code name="code" inputmode="numeric" autocomplete="one-time-code" required;
            (current_password(by, "confirm-current"))
            button type="submit" { (texts.confirm) }
        }
    }
}

fn switched_on(by: &SignedIn, factor: &SecondFactor) -> Markup {
    let texts = &by.visitor.texts().account;
    html! {
        p { span.state.on { (texts.two_step_on) } " " small { ((texts.codes_left)(factor.codes_left)) } }
        details.danger {
            summary { (texts.switch_off) "…" }
            form.stack method="post" action="/account/two-step/off" data-plain {
                (layout::csrf(by))
                (current_password(by, "off-current"))
                button.danger type="submit" { (texts.switch_off) }
            }
        }
    }
}

/// Changes one's own password; every other session ends.
pub(super) async fn change_password(
    State(panel): State<Panel>,
    Action { by, fields }: Action,
) -> Result<Response, Response> {
    let done = async {
        if fields.get("password") != fields.get("again") {
            return Err(Problem::invalid(by.visitor.texts().passwords_differ));
        }
        let current = check_password(&panel, &by, &fields).await?;
        let (passwords, store) = (&panel.state.gate.passwords, &panel.state.store);
        let new = fields.get("password");
        let hash = passwords.hash(&by.user.name, new).await?;
        // The secret of the codes is sealed under the password: it has to be sealed anew.
        let secret = match store.second_factor(&by.user.id).await? {
            Some(factor) => match passwords.open(factor.secret, current).await {
                Some(secret) => Some(passwords.seal(secret, new).await),
                None => None,
            },
            None => None,
        };
        store
            .change_own_password(names(&by), &hash, secret.as_deref(), &by.session)
            .await?;
        Ok(by.visitor.texts().account.password_changed.to_owned())
    };
    finish(&panel, &by, done.await).await
}

/// Shows a fresh secret, to be confirmed.
pub(super) async fn begin_two_step(
    State(panel): State<Panel>,
    Action { by, .. }: Action,
) -> Result<Response, Response> {
    let secret = TotpSecret::fresh();
    shown(&panel, &by, StatusCode::OK, None, Some(&secret)).await
}

/// Switches two-step sign-in on, once a code shows that the app has the secret.
pub(super) async fn confirm_two_step(
    State(panel): State<Panel>,
    Action { by, fields }: Action,
) -> Result<Response, Response> {
    let texts = &by.visitor.texts().account;
    let Some(secret) = TotpSecret::parse(fields.get("secret")) else {
        return finish(&panel, &by, Err(Problem::forged())).await;
    };
    let done = async {
        let password = check_password(&panel, &by, &fields).await?;
        let store = &panel.state.store;
        let now = store.now().await?.0;
        let step = secret
            .step_of(fields.get("code"), now)
            .ok_or_else(|| Problem::invalid(texts.wrong_code))?;
        let sealed = panel.state.gate.passwords.seal(secret.clone(), password);
        let codes = recovery_codes();
        let hashes: Vec<String> = codes.iter().map(|code| recovery_hash(code)).collect();
        store
            .put_second_factor(names(&by), &sealed.await, step, &hashes)
            .await?;
        Ok(codes)
    };
    match done.await {
        Ok(codes) => {
            let notice = Notice::Secret {
                text: texts.recovery_codes,
                secret: codes.join("\n"),
            };
            shown(&panel, &by, StatusCode::CREATED, Some(&notice), None).await
        }
        Err(problem) => {
            let notice = Notice::of(&by.visitor, &problem);
            shown(&panel, &by, problem.status(), Some(&notice), Some(&secret)).await
        }
    }
}

/// Switches two-step sign-in off.
pub(super) async fn end_two_step(
    State(panel): State<Panel>,
    Action { by, fields }: Action,
) -> Result<Response, Response> {
    let done = async {
        check_password(&panel, &by, &fields).await?;
        panel.state.store.remove_second_factor(names(&by)).await?;
        Ok(by.visitor.texts().account.switched_off.to_owned())
    };
    finish(&panel, &by, done.await).await
}

/// Who it is: id and name.
fn names(by: &SignedIn) -> (&str, &str) {
    (&by.user.id, &by.user.name)
}

/// The current password, if it is right. Somebody who found an open browser may not guess it.
async fn check_password<'a>(
    panel: &Panel,
    by: &SignedIn,
    fields: &'a Fields,
) -> Result<&'a str, Problem> {
    let gate = &panel.state.gate;
    let who = Attempter::User(by.user.id.clone());
    gate.attempts
        .check(&who)
        .map_err(Problem::too_many_attempts)?;
    gate.attempts.failed(&who);
    let password = fields.get("current");
    let name = by.user.name.parse()?;
    let known = panel.state.store.user_to_check(&name).await?;
    let hash = known.and_then(|known| known.password);
    if gate.passwords.verify(password, hash).await {
        gate.attempts.succeeded(&who);
        Ok(password)
    } else {
        let text = by.visitor.texts().account.wrong_password;
        Err(Problem::new(StatusCode::FORBIDDEN, "wrong-password", text))
    }
}

async fn finish(
    panel: &Panel,
    by: &SignedIn,
    done: Result<String, Problem>,
) -> Result<Response, Response> {
    match done {
        Ok(text) => Ok(layout::go(by, PATH, text)),
        Err(problem) => {
            let notice = Notice::of(&by.visitor, &problem);
            shown(panel, by, problem.status(), Some(&notice), None).await
        }
    }
}
