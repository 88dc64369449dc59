//! The web API. Handlers load, ask the domain, and answer; no rule is decided here.
//!
//! Before anything else of a request is looked at, its credential is checked; every error is a problem document.

use std::{sync::Arc, time::Instant};

use axum::{
    Router,
    extract::Request,
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware,
    response::{IntoResponse as _, Response},
    routing::get,
};
use tokio::sync::broadcast;
use tombolo_proto::api::Event;
use tombolo_relay::Relay;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi as _;
use utoipa_axum::{router::OpenApiRouter, routes};

mod audit;
mod document;
mod etag;
mod events;
mod extract;
mod health;
mod join_tokens;
mod keyring;
mod links;
mod members;
mod metrics;
mod networks;
mod once;
mod outage;
mod page;
mod problem;
mod relays;
mod routes;
mod rules;
mod status;
mod tokens;
mod users;
mod views;
mod webhooks;
mod zerotier;

use crate::{
    auth::{self, Gate},
    networks::Networks,
    panel,
    publish::Registry,
    signer::Signer,
    stop::Stop,
    store::Store,
};
pub(crate) use problem::Problem;
pub(crate) use zerotier::{Fields, accepts_ip};

/// What handlers work with.
#[derive(Debug, Clone)]
pub struct ApiState {
    pub(crate) store: Store,
    pub(crate) networks: Arc<Networks>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) signer: Arc<Signer>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) relay: Arc<Relay>,
    pub(crate) started: Instant,
    pub(crate) stop: Stop,
}

impl ApiState {
    /// The stream of changes, as `/api/v1/events` tells them.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.registry.events()
    }
}

/// The whole HTTP side of a controller.
pub fn router(state: ApiState) -> Router {
    let (routes, document) = OpenApiRouter::with_openapi(document::Document::openapi())
        .routes(routes!(networks::list, networks::create))
        .routes(routes!(networks::show, networks::update, networks::remove))
        .routes(routes!(networks::summary))
        .routes(routes!(members::list))
        .routes(routes!(members::show, members::update, members::remove))
        .routes(routes!(members::allocate_subnet))
        .routes(routes!(links::list))
        .routes(routes!(links::show))
        .routes(routes!(relays::list))
        .routes(routes!(routes::list, routes::add))
        .routes(routes!(routes::show, routes::update, routes::remove))
        .routes(routes!(rules::show, rules::replace))
        .routes(routes!(join_tokens::list, join_tokens::create))
        .routes(routes!(join_tokens::remove))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::remove))
        .routes(routes!(users::list, users::create))
        .routes(routes!(users::show, users::update, users::remove))
        .routes(routes!(webhooks::list, webhooks::create))
        .routes(routes!(webhooks::show, webhooks::update, webhooks::remove))
        .routes(routes!(webhooks::test))
        .routes(routes!(webhooks::deliveries))
        .routes(routes!(webhooks::resend))
        .routes(routes!(keyring::show, keyring::replace))
        .routes(routes!(keyring::draft))
        .routes(routes!(zerotier::status))
        .routes(routes!(zerotier::controller))
        .routes(routes!(zerotier::list, zerotier::create))
        .routes(routes!(zerotier::show, zerotier::update, zerotier::remove))
        .routes(routes!(zerotier::peers::show))
        .routes(routes!(zerotier::members::list))
        .routes(routes!(
            zerotier::members::show,
            zerotier::members::update,
            zerotier::members::remove
        ))
        .routes(routes!(audit::list))
        .routes(routes!(audit::head))
        .routes(routes!(status::show))
        .routes(routes!(events::stream))
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .routes(routes!(metrics::show))
        .split_for_parts();
    let document = Arc::new(document::complete(&document));
    let page = page::render(&document);
    let routes = routes
        .layer(middleware::from_fn_with_state(
            state.clone(),
            once::carry_out,
        ))
        .layer(middleware::from_fn(extract::cap_body))
        .layer(middleware::from_fn_with_state(
            state.clone(),
            outage::survive,
        ));
    let panel = panel::router(state.clone(), routes.clone().with_state(state.clone()))
        .layer(middleware::from_fn(extract::cap_body));
    routes
        .route(
            "/api/v1/openapi.json",
            get(move || std::future::ready(axum::Json(Arc::clone(&document)).into_response())),
        )
        .fallback(|| {
            std::future::ready(Problem::not_found(
                "there is nothing at this path: see /api/v1/openapi.json",
            ))
        })
        .method_not_allowed_fallback(|| {
            std::future::ready(Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "this path does not take this method: see /api/v1/openapi.json",
            ))
        })
        .layer(middleware::from_fn_with_state(
            state.clone(),
            auth::require_credential,
        ))
        .merge(panel)
        .route(
            "/api",
            get(move || std::future::ready(page::answer(page.clone()))),
        )
        .layer(middleware::from_fn(extract::read_body))
        .layer(CatchPanicLayer::custom(|_| {
            Problem::internal().into_response()
        }))
        .layer(middleware::from_fn(protect))
        .with_state(state)
}

/// Headers that keep browsers from guessing, framing and caching.
async fn protect(request: Request, next: middleware::Next) -> Response {
    const HEADERS: [(HeaderName, &str); 4] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    response
}
