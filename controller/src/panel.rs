//! The management panel: pages rendered here, that work without scripts. It is a client of the web API, in the same
//! process, and can do nothing that the API cannot.
//!
//! | module | what it holds |
//! |---|---|
//! | [`entrance`] | setting up, signing in and out |
//! | [`sign_on`] | signing in with an account at an identity provider |
//! | [`visit`] | who asks, in which language, and whether a form is really theirs |
//! | [`client`] | the web API, asked in the name of the user |
//! | [`layout`] | what every page has |
//! | [`texts`] | every text, in every language |
//! | [`networks`], [`network`], [`members`], [`routes`], [`rules`], [`relays`], [`join_tokens`], [`settings`], [`map`] | pages of networks |
//! | [`users`], [`tokens`], [`webhooks`], [`audit`], [`system`] | pages of the controller |
//! | [`account`] | one's own password and two-step sign-in |
//! | [`network_choice`], [`ranges`], [`figures`], [`qr`], [`undo`] | what pages are made of |
//! | [`live`] | changes, as they happen |
//! | [`assets`] | style sheet and script |

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Redirect, Response},
    routing::get,
};

mod account;
mod assets;
mod audit;
mod client;
mod cookies;
mod entrance;
mod figures;
mod join_tokens;
mod layout;
mod live;
mod map;
mod members;
mod network;
mod network_choice;
mod networks;
mod qr;
mod ranges;
mod relays;
mod routes;
mod rules;
mod settings;
mod sign_on;
mod system;
mod texts;
mod tokens;
mod undo;
mod users;
mod visit;
mod webhooks;

use crate::api::{ApiState, Problem};
pub(crate) use assets::style_address;

/// What the pages work with.
#[derive(Debug, Clone)]
struct Panel {
    state: ApiState,
    /// The web API behind its check of credentials.
    api: Router,
}

/// The pages. `api` is the web API behind its check of credentials.
pub(crate) fn router(state: ApiState, api: Router) -> Router<ApiState> {
    let panel = Panel { state, api };
    Router::new()
        .route("/", get(networks::list))
        .route("/networks", get(elsewhere).post(networks::create))
        .route("/networks/{id}", get(network::show))
        .route(
            "/networks/{id}/settings",
            get(elsewhere).post(settings::configure),
        )
        .route(
            "/networks/{id}/remove",
            get(elsewhere).post(network::remove),
        )
        .route(
            "/networks/{id}/members",
            get(elsewhere).post(members::deciding::decide_many),
        )
        .route(
            "/networks/{id}/members/{node}",
            get(members::one::show).post(members::one::update),
        )
        .route(
            "/networks/{id}/members/{node}/authorized",
            get(elsewhere).post(members::deciding::decide),
        )
        .route(
            "/networks/{id}/members/{node}/relay",
            get(elsewhere).post(relays::set),
        )
        .route(
            "/networks/{id}/members/{node}/remove",
            get(elsewhere).post(members::deciding::remove),
        )
        .route("/networks/{id}/routes", get(elsewhere).post(routes::add))
        .route(
            "/networks/{id}/routes/{route}/approve",
            get(elsewhere).post(routes::approve),
        )
        .route(
            "/networks/{id}/routes/{route}/remove",
            get(elsewhere).post(routes::remove),
        )
        .route("/networks/{id}/rules", get(elsewhere).post(rules::add))
        .route(
            "/networks/{id}/rules/default",
            get(elsewhere).post(rules::set_default),
        )
        .route(
            "/networks/{id}/rules/{number}/up",
            get(elsewhere).post(rules::up),
        )
        .route(
            "/networks/{id}/rules/{number}/down",
            get(elsewhere).post(rules::down),
        )
        .route(
            "/networks/{id}/rules/{number}/remove",
            get(elsewhere).post(rules::remove),
        )
        .route(
            "/networks/{id}/join-tokens",
            get(elsewhere).post(join_tokens::create),
        )
        .route(
            "/networks/{id}/join-tokens/{token}/remove",
            get(elsewhere).post(join_tokens::remove),
        )
        .route("/networks/{id}/map", get(map::show))
        .route("/users", get(users::list).post(users::create))
        .route("/users/{user}", get(users::show).post(users::update))
        .route("/users/{user}/password", get(elsewhere).post(users::reset))
        .route("/users/{user}/remove", get(elsewhere).post(users::remove))
        .route("/tokens", get(tokens::list).post(tokens::create))
        .route(
            "/tokens/{token}/remove",
            get(elsewhere).post(tokens::remove),
        )
        .route("/webhooks", get(webhooks::list).post(webhooks::create))
        .route("/webhooks/{webhook}", get(webhooks::one::show))
        .route(
            "/webhooks/{webhook}/deliveries/{delivery}/resend",
            get(elsewhere).post(webhooks::one::resend),
        )
        .route(
            "/webhooks/{webhook}/test",
            get(elsewhere).post(webhooks::test),
        )
        .route(
            "/webhooks/{webhook}/enabled",
            get(elsewhere).post(webhooks::enable),
        )
        .route(
            "/webhooks/{webhook}/remove",
            get(elsewhere).post(webhooks::remove),
        )
        .route("/audit", get(audit::show))
        .route("/system", get(system::show))
        .route("/account", get(account::show))
        .route(
            "/account/password",
            get(elsewhere).post(account::change_password),
        )
        .route(
            "/account/two-step",
            get(elsewhere).post(account::begin_two_step),
        )
        .route(
            "/account/two-step/confirm",
            get(elsewhere).post(account::confirm_two_step),
        )
        .route(
            "/account/two-step/off",
            get(elsewhere).post(account::end_two_step),
        )
        .route("/live", get(live::stream))
        .route("/setup", get(entrance::setup_form).post(entrance::set_up))
        .route(
            "/sign-in",
            get(entrance::sign_in_form).post(entrance::sign_in),
        )
        .route(sign_on::PATH, get(sign_on::leave))
        .route(sign_on::CALLBACK, get(sign_on::come_back))
        .route("/sign-out", get(elsewhere).post(entrance::sign_out))
        .route("/language/{language}", get(visit::choose_language))
        .route("/theme/{theme}", get(visit::choose_theme))
        .layer(middleware::from_fn_with_state(panel.clone(), protect))
        .route(assets::STYLE, get(assets::style))
        .route(assets::SCRIPT, get(assets::script))
        .route(assets::ICON, get(assets::icon))
        .with_state(panel)
}

/// Forms are sent here, and a page that was answered with may be asked for again: the one that holds the form is meant.
async fn elsewhere(uri: Uri) -> Redirect {
    let mut words = uri.path().split('/').skip(1);
    let page = match (words.next(), words.next(), words.next(), words.next()) {
        (Some("networks"), Some(id), Some("members"), Some(node)) => {
            format!("/networks/{id}/members/{node}")
        }
        (Some("networks"), Some(id), ..) => format!("/networks/{id}"),
        (Some("webhooks"), Some(id), Some("deliveries"), _) => format!("/webhooks/{id}"),
        (Some("users"), Some(id), ..) => format!("/users/{id}"),
        (Some(page @ ("account" | "tokens" | "webhooks")), ..) => format!("/{page}"),
        _ => "/".to_owned(),
    };
    std::future::ready(Redirect::to(&page)).await
}

/// Nothing from elsewhere, nothing inline, and nobody else's name for this host.
async fn protect(State(panel): State<Panel>, request: Request, next: Next) -> Response {
    const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                          form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    const HEADERS: [(HeaderName, &str); 4] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        // With less, browsers no longer say where a form comes from.
        (header::REFERRER_POLICY, "same-origin"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("permissions-policy"),
            "camera=(), geolocation=(), microphone=()",
        ),
    ];
    if let Err(problem) = check_host(&panel, &request) {
        return problem.into_response();
    }
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

fn check_host(panel: &Panel, request: &Request) -> Result<(), Problem> {
    let host = visit::host(request.headers(), request.uri());
    let is_certified = visit::peer(request.extensions()).is_some_and(|peer| peer.encrypted);
    if is_certified || panel.state.gate.hosts.admit(&host) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::MISDIRECTED_REQUEST,
        "unknown-host",
        "this controller does not know the name you reach it by: start it with --http-host NAME, or use its address",
    ))
}
