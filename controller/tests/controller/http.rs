//! HTTP as a client sees it.

use std::{net::SocketAddr, path::Path};

use serde::de::DeserializeOwned;
use serde_json::Value;
use tombolo_proto::api::Problem;
use ureq::{Agent, http::Request};

#[derive(Clone)]
pub(crate) struct Http {
    agent: Agent,
    base: String,
    token: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: ureq::http::HeaderMap,
    pub(crate) body: String,
}

impl Http {
    pub(crate) fn admin(address: SocketAddr, state: &Path) -> Self {
        let token = std::fs::read_to_string(state.join("admin.token"))
            .expect("the first start writes a token");
        Self::with_token(address, Some(token.trim()))
    }

    pub(crate) fn with_token(address: SocketAddr, token: Option<&str>) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .build();
        Self {
            agent: config.into(),
            base: format!("http://{address}"),
            token: token.map(str::to_owned),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], Vec::new()).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.json("POST", path, body).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.json("PATCH", path, body).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.json("PUT", path, body).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], Vec::new()).await
    }

    async fn json(&self, method: &str, path: &str, body: Value) -> Answer {
        let header = [("content-type", "application/json")];
        self.send(method, path, &header, body.to_string().into_bytes())
            .await
    }

    /// `path` under `/api/v1`, or from the root if it starts with `//`.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        let uri = match path.strip_prefix("//") {
            Some(root) => format!("{}/{root}", self.base),
            None => format!("{}/api/v1{path}", self.base),
        };
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(body).expect("a well-formed request");
        let agent = self.agent.clone();
        tokio::task::spawn_blocking(move || {
            let mut response = agent.run(request).expect("the controller answers");
            Answer {
                status: response.status().as_u16(),
                headers: response.headers().clone(),
                body: response.body_mut().read_to_string().expect("a text"),
            }
        })
        .await
        .expect("the request runs")
    }
}

impl Answer {
    #[track_caller]
    pub(crate) fn expect_status<T: DeserializeOwned>(&self, status: u16) -> T {
        assert_eq!(self.status, status, "{}", self.body);
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.body))
    }

    #[track_caller]
    pub(crate) fn expect_no_content(&self) {
        assert_eq!((self.status, self.body.as_str()), (204, ""));
    }

    /// A problem document with this status whose detail holds `text`.
    #[track_caller]
    pub(crate) fn expect_problem(&self, status: u16, text: &str) -> Problem {
        let problem: Problem = self.expect_status(status);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(problem.status, status);
        assert!(
            problem.detail.contains(text),
            "{:?} does not hold {text:?}",
            problem.detail
        );
        problem
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}
