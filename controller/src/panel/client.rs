//! The web API, asked in the name of a user: the same routes and the same rules, without a socket between.

use std::fmt;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Method, Request, header},
    response::Response,
};
use serde::{Serialize, de::DeserializeOwned};
use tombolo_proto::api;
use tower::ServiceExt as _;

use crate::{api::Problem, auth::Caller};

/// Longest answer: the largest page of any list.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// A client of the web API.
#[derive(Clone)]
pub(super) struct Client {
    api: Router,
    caller: Caller,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("caller", &self.caller)
            .finish_non_exhaustive()
    }
}

impl Client {
    pub(super) const fn new(api: Router, caller: Caller) -> Self {
        Self { api, caller }
    }

    pub(super) const fn caller(&self) -> &Caller {
        &self.caller
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Problem> {
        let response = self.send(Method::GET, path, Body::empty()).await?;
        read(response).await
    }

    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Problem> {
        read(self.send(Method::POST, path, json(body)).await?).await
    }

    pub(super) async fn patch<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Problem> {
        read(self.send(Method::PATCH, path, json(body)).await?).await
    }

    pub(super) async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Problem> {
        read(self.send(Method::PUT, path, json(body)).await?).await
    }

    pub(super) async fn delete(&self, path: &str) -> Result<(), Problem> {
        self.send(Method::DELETE, path, Body::empty()).await?;
        Ok(())
    }

    /// Sends a request; an answer is one that says that it was done.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Body,
    ) -> Result<Response, Problem> {
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header(header::CONTENT_TYPE, "application/json")
            .extension(self.caller.clone())
            .body(body)
            .map_err(|_| Problem::bad_request("this is not a path: go back and try again"))?;
        let Ok(response) = self.api.clone().oneshot(request).await;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let problem: api::Problem = read(response).await?;
        Err(Problem::relayed(status, problem))
    }
}

fn json(body: &impl Serialize) -> Body {
    Body::from(serde_json::to_vec(body).expect("API types always become JSON"))
}

async fn read<T: DeserializeOwned>(response: Response) -> Result<T, Problem> {
    let bytes = to_bytes(response.into_body(), MAX_ANSWER)
        .await
        .map_err(|_| Problem::internal())?;
    serde_json::from_slice(&bytes).map_err(|error| {
        tracing::error!(%error, "the panel does not understand the API");
        Problem::internal()
    })
}
