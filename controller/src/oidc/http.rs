//! How the provider is asked.

use std::{future::Future, path::Path, pin::Pin, time::Duration};

use openidconnect::{HttpRequest, HttpResponse};
use ureq::Agent;

use crate::trust::{self, TrustError};

/// How long the provider may take to answer: somebody is waiting.
const PATIENCE: Duration = Duration::from_secs(8);
/// Longest answer in bytes: discovery documents, key sets and tokens have a few thousand.
const MAX_ANSWER: u64 = 1024 * 1024;

/// The provider was not reached, or not understood.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct HttpError(String);

/// Follows no redirection, so that a provider does not send the controller elsewhere. What a provider over TLS publishes
/// does not lead to places without it.
pub(super) fn agent(ca: Option<&Path>, is_encrypted: bool) -> Result<Agent, TrustError> {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .https_only(is_encrypted)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(PATIENCE))
        .tls_config(trust::tls_config(ca)?)
        .user_agent(concat!("Tombolo/", env!("CARGO_PKG_VERSION")))
        .build();
    Ok(config.into())
}

type Answered = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send>>;

/// The client that the requests of the protocol are made with.
pub(super) fn client(agent: &Agent) -> impl Fn(HttpRequest) -> Answered + Send + Sync + use<> {
    let agent = agent.clone();
    move |request| {
        let agent = agent.clone();
        Box::pin(async move {
            tokio::task::spawn_blocking(move || send(&agent, request))
                .await
                .unwrap_or_else(|_| Err(HttpError("the controller failed".to_owned())))
        })
    }
}

fn send(agent: &Agent, request: HttpRequest) -> Result<HttpResponse, HttpError> {
    let failed = |error: ureq::Error| HttpError(error.to_string());
    let (parts, body) = agent.run(request).map_err(failed)?.into_parts();
    let read = body.into_with_config().limit(MAX_ANSWER).read_to_vec();
    Ok(HttpResponse::from_parts(parts, read.map_err(failed)?))
}
