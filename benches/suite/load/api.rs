//! The web API of a controller, as far as the load needs it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use ureq::{Agent, Body, http::Response};

/// A loaded controller may take its time; how long it does is what is measured.
const PATIENCE: Duration = Duration::from_secs(60);

/// One controller's API.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    agent: Agent,
    base: String,
    bearer: String,
}

impl Api {
    pub(crate) fn new(base: &str, token: &str) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .build();
        Self {
            agent: config.into(),
            base: base.to_owned(),
            bearer: format!("Bearer {token}"),
        }
    }

    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// The status of a path that needs no token, if anybody answers.
    pub(crate) fn status(&self, path: &str) -> Option<u16> {
        let answer = self.agent.get(format!("{}{path}", self.base)).call().ok()?;
        Some(answer.status().as_u16())
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let request = self
            .agent
            .post(format!("{}/api/v1{path}", self.base))
            .header("Authorization", &self.bearer);
        let text = accepted(path, request.send_json(body))?;
        serde_json::from_str(&text).with_context(|| format!("{path} answered no JSON"))
    }

    pub(crate) fn delete(&self, path: &str) -> Result<()> {
        let request = self
            .agent
            .delete(format!("{}/api/v1{path}", self.base))
            .header("Authorization", &self.bearer);
        accepted(path, request.call()).map(|_| ())
    }
}

fn accepted(path: &str, answer: Result<Response<Body>, ureq::Error>) -> Result<String> {
    let mut answer = answer.with_context(|| format!("{path} does not answer"))?;
    let text = answer.body_mut().read_to_string().unwrap_or_default();
    ensure!(
        answer.status().is_success(),
        "{path}: {}: {text}",
        answer.status()
    );
    Ok(text)
}
