//! What every page has: the frame, messages, and the parts that pages are made of.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse as _, Redirect, Response},
};
use data_encoding::BASE64URL_NOPAD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use tombolo_proto::api::Role;

use super::{
    assets,
    cookies::Cookie,
    undo::Done,
    visit::{SignedIn, Theme, Visitor},
};
use crate::{api::Problem, moment};

/// A message has this long to be shown.
const NOTICE_SECONDS: u64 = 60;
/// Longest message that goes by way of a cookie, in characters.
const MAX_NOTICE: usize = 256;
/// Longest message with its undoing, in bytes: browsers keep cookies of 4096 bytes, and Base64 makes four of three.
const MAX_COOKIE: usize = 2800;

/// What came of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Notice {
    Done(Done),
    Failed(String),
    /// Something that is shown this once.
    Secret {
        text: &'static str,
        secret: String,
    },
}

impl Notice {
    /// What was done, from the value of a cookie.
    pub(super) fn decode(value: &str) -> Option<Self> {
        let bytes = BASE64URL_NOPAD.decode(value.as_bytes()).ok()?;
        serde_json::from_slice(&bytes).ok().map(Self::Done)
    }

    /// What went wrong, in the language of the visitor.
    pub(super) fn of(visitor: &Visitor, problem: &Problem) -> Self {
        let told = visitor.language.problem(problem.code(), problem.values());
        Self::Failed(told.unwrap_or_else(|| problem.detail().to_owned()))
    }

    fn markup(&self, visitor: &Visitor, by: Option<&SignedIn>) -> Markup {
        match self {
            Self::Done(done) => html! {
                div.notice.done {
                    span { (done.text) }
                    @if let (Some(undo), Some(by)) = (&done.undo, by) { " " (undo.button(by)) }
                }
            },
            Self::Failed(text) => {
                html! { p.notice.failed { strong { (visitor.texts().problem) ": " } (text) } }
            }
            Self::Secret { text, secret } => {
                html! { div.notice.done { (text) (copyable(visitor, "secret", secret)) } }
            }
        }
    }
}

/// A page of somebody who is not signed in.
pub(super) fn open_page(
    visitor: &Visitor,
    status: StatusCode,
    title: &str,
    notice: Option<&Notice>,
    content: &Markup,
) -> Response {
    frame(visitor, None, status, title, notice, content)
}

/// A page of a user. `notice` wins over what the page before wanted to be said.
pub(super) fn page(
    by: &SignedIn,
    status: StatusCode,
    title: &str,
    notice: Option<&Notice>,
    content: &Markup,
) -> Response {
    let notice = notice.or(by.visitor.notice.as_ref());
    frame(&by.visitor, Some(by), status, title, notice, content)
}

/// A page that only tells a failure.
pub(super) fn failure(visitor: &Visitor, problem: &Problem) -> Response {
    let texts = visitor.texts();
    let content = html! {
        h1 { (texts.problem) }
        p { a href="/" { (texts.back) } }
    };
    let notice = Notice::of(visitor, problem);
    open_page(
        visitor,
        problem.status(),
        texts.problem,
        Some(&notice),
        &content,
    )
}

/// Makes what went wrong such a page, for `map_err`.
pub(super) fn told(by: &SignedIn) -> impl Fn(Problem) -> Response + Copy {
    move |problem| failure(&by.visitor, &problem)
}

/// Goes on to another page, which tells what was done.
pub(super) fn go(by: &SignedIn, path: &str, done: impl Into<Done>) -> Response {
    let mut done = done.into();
    done.text = done.text.chars().take(MAX_NOTICE).collect();
    let mut value = serde_json::to_vec(&done).unwrap_or_default();
    if value.len() > MAX_COOKIE {
        done.undo = None;
        value = serde_json::to_vec(&done).unwrap_or_default();
    }
    let value = BASE64URL_NOPAD.encode(&value);
    let notice = Cookie::Notice.set(&value, NOTICE_SECONDS, by.visitor.encrypted);
    ([(header::SET_COOKIE, notice)], Redirect::to(path)).into_response()
}

fn frame(
    visitor: &Visitor,
    by: Option<&SignedIn>,
    status: StatusCode,
    title: &str,
    notice: Option<&Notice>,
    content: &Markup,
) -> Response {
    let texts = visitor.texts();
    // Who sees nothing has nothing to watch.
    let watches = by.is_some_and(|by| by.api.caller().rights.anywhere() > Role::None);
    let markup = html! {
        (DOCTYPE)
        html lang=(visitor.language.tag()) data-theme=(visitor.theme.tag()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Tombolo" }
                link rel="icon" type="image/svg+xml" href=(assets::ICON);
                link rel="stylesheet" href=(assets::style_address());
                script src=(assets::script_address()) defer {}
            }
            body data-live=[watches.then_some("/live")] {
                a.skip href="#main" { (texts.skip) }
                header.bar {
                    a.brand href="/" { (PreEscaped(assets::LOGO)) span { "Tombolo" } }
                    @if let Some(by) = by { (menu(by)) }
                    (preferences(visitor, by))
                }
                div #notice role="status" aria-live="polite" {
                    @if by.is_some_and(|by| by.stale) {
                        p.notice.failed { (texts.stale) }
                    }
                    @if let Some(notice) = notice { (notice.markup(visitor, by)) }
                }
                main #main tabindex="-1" { (content) }
            }
        }
    };
    let mut response = (status, Html(markup.into_string())).into_response();
    if visitor.notice.is_some() {
        let spent = Cookie::Notice.remove(visitor.encrypted);
        response.headers_mut().append(header::SET_COOKIE, spent);
    }
    let vary = HeaderValue::from_static("Accept-Language, Cookie");
    response.headers_mut().insert(header::VARY, vary);
    response
}

/// The pages that the user may see.
fn menu(by: &SignedIn) -> Markup {
    let texts = by.visitor.texts();
    let rights = &by.api.caller().rights;
    let path = by.visitor.path.split('?').next().unwrap_or_default();
    let pages = [
        ("/", texts.networks, Role::None),
        ("/users", texts.access.users, Role::Admin),
        ("/tokens", texts.access.tokens, Role::Admin),
        ("/webhooks", texts.webhooks.title, Role::Admin),
        ("/audit", texts.audit.title, Role::Admin),
        ("/system", texts.system.system, Role::Viewer),
    ];
    let is_here = |page: &str| match page {
        "/" => path == "/" || path.starts_with("/networks"),
        page => path.starts_with(page),
    };
    html! {
        nav.menu aria-label=(texts.account.menu) {
            @for (page, text, least) in pages {
                @if rights.everywhere >= least {
                    a.quiet href=(page) aria-current=[is_here(page).then_some("page")] { (text) }
                }
            }
        }
    }
}

/// Who it is, and how they want to see it.
fn preferences(visitor: &Visitor, by: Option<&SignedIn>) -> Markup {
    let texts = visitor.texts();
    let other = visitor.language.other();
    // After a form, the page that it is on.
    let back = encoded(&visitor.path);
    let theme = match visitor.theme {
        Theme::Auto => texts.account.theme_auto,
        Theme::Light => texts.account.theme_light,
        Theme::Dark => texts.account.theme_dark,
    };
    html! {
        nav.preferences aria-label=(texts.account.preferences) {
            @if let Some(by) = by {
                a.quiet href="/account" { span.hidden { (texts.signed_in_as) " " } (by.user.name) }
                form method="post" action="/sign-out" {
                    (csrf(by))
                    button.quiet type="submit" { (texts.sign_out) }
                }
            }
            a.quiet #theme href={ "/theme/" (visitor.theme.next().tag()) "?back=" (back) } { ((texts.account.theme)(theme)) }
            a.quiet href={ "/language/" (other.tag()) "?back=" (back) } lang=(other.tag()) hreflang=(other.tag()) { (texts.switch_language) }
        }
    }
}

/// A button that asks once before it does something that cannot be undone. `label` says what exactly.
pub(super) fn ask(by: &SignedIn, action: &str, word: &str, label: &str) -> Markup {
    html! {
        details.ask {
            summary { span aria-hidden="true" { (word) "…" } span.hidden { (label) } }
            form method="post" action=(action) {
                (csrf(by))
                button.danger.small type="submit" { (word) span.hidden { ": " (label) } }
            }
        }
    }
}

/// The way back to the page that lists what this one shows.
pub(super) fn way_back(path: &str, title: &str) -> Markup {
    html! { nav aria-label=(title) { a href=(path) { "← " (title) } } }
}

/// The way to the next page of a list, if there is one.
pub(super) fn next_page(by: &SignedIn, path: &str, next: Option<&str>) -> Markup {
    html! {
        @if let Some(next) = next {
            p { a.button.quiet href={ (path) "?after=" (encoded(next)) } rel="next" { (by.visitor.texts().next_page) } }
        }
    }
}

/// What every form of a user holds.
pub(super) fn csrf(by: &SignedIn) -> Markup {
    html! { input type="hidden" name="csrf" value=(by.csrf); }
}

/// Whose password a form is about: password managers want to know.
pub(super) fn whose(name: &str) -> Markup {
    html! { input type="text" name="username" value=(name) autocomplete="username" readonly hidden; }
}

/// A text to take along. The button is of use with a script only, so the script shows it.
pub(super) fn copyable(visitor: &Visitor, id: &str, text: &str) -> Markup {
    let texts = visitor.texts();
    html! {
        div.copyable {
            code id=(id) { (text) }
            button.copy.quiet type="button" hidden data-copy=(id) data-done=(texts.copied) { (texts.copy) }
        }
    }
}

/// A text as part of a query.
pub(super) fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// A moment: in UTC, until a script shows it in the reader's own time.
pub(super) fn moment(seconds: u64) -> Markup {
    let text = moment::utc(seconds);
    html! { time datetime=(text) { (text) } }
}
