//! The few words of Docker's Engine API that are needed, over its UNIX socket.
//!
//! HTTP is hyper's, one connection per request. A full client would bring a model of everything Docker can say, and refuse
//! what a newer Docker says differently; here only the fields that matter are read. The version of the API is negotiated:
//! Docker 20.10 speaks nothing above 1.41, Docker 29 nothing below 1.40 or 1.44.

mod wire;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Method, Request, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::{net::UnixStream, time::timeout};
use tombolo_containers::{
    create::NetworkSpec,
    situation::{ContainerNetwork, Engine},
};
use tombolo_names::table::Container;

/// The newest version of the API that this client was written against (Docker 28.3).
const NEWEST: ApiVersion = ApiVersion(1, 51);
/// Creating a network waits for the firewall, which may be slow on a busy host.
const PATIENCE: Duration = Duration::from_secs(30);
/// Networks that come and go, as filters of events:
/// `{"type":["network"],"event":["create","destroy"]}`, percent-encoded.
pub const NETWORK_EVENTS: &str =
    "%7B%22type%22%3A%5B%22network%22%5D%2C%22event%22%3A%5B%22create%22%2C%22destroy%22%5D%7D";
/// Whatever changes addresses or names of running containers:
/// `{"type":["container","network"],"event":["start","die","rename","connect","disconnect","destroy"]}`.
pub const CONTAINER_EVENTS: &str = "%7B%22type%22%3A%5B%22container%22%2C%22network%22%5D%2C%22event%22%3A%5B%22start%22%2C%22die%22%2C%22rename%22%2C%22connect%22%2C%22disconnect%22%2C%22destroy%22%5D%7D";
/// Answers are lists of networks and the like.
const MAX_ANSWER: usize = 16 << 20;

/// Why Docker did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Nobody answers at the socket.
    #[error("Docker does not answer at {}: {reason}; is it running?", .socket.display())]
    Unreachable {
        /// Where it was asked.
        socket: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// It said no.
    #[error("Docker refused: {message}")]
    Refused {
        /// HTTP status.
        status: StatusCode,
        /// Docker's words.
        message: String,
    },
    /// It speaks none of the versions known here.
    #[error(
        "Docker speaks its API from version {0} on, which is newer than this program: update Tombolo"
    )]
    TooNew(ApiVersion),
    /// The answer makes no sense.
    #[error("Docker's answer to {path} cannot be read: {reason}")]
    Unreadable {
        /// What was asked.
        path: String,
        /// Why.
        reason: String,
    },
}

/// A version of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion(u32, u32);

impl std::fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl std::str::FromStr for ApiVersion {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
        Ok(Self(major.parse()?, minor.parse()?))
    }
}

/// A Docker engine that answers.
#[derive(Debug)]
pub struct EngineApi {
    socket: PathBuf,
    version: ApiVersion,
}

impl EngineApi {
    /// Asks who is there and settles on a version.
    pub async fn connect(socket: &Path) -> Result<(Self, Engine), ApiError> {
        let mut api = Self {
            socket: socket.to_owned(),
            version: NEWEST,
        };
        let said: wire::Version = api.get("/version").await?;
        let parsed = |text: &str| text.parse::<ApiVersion>().ok();
        if let Some(oldest) = said.min_api_version.as_deref().and_then(parsed)
            && oldest > NEWEST
        {
            return Err(ApiError::TooNew(oldest));
        }
        api.version = parsed(&said.api_version).map_or(NEWEST, |theirs| theirs.min(NEWEST));
        let info: wire::Info = api.get(&api.path("/info")).await?;
        let engine = info.into_engine(said.version, api.version.to_string());
        Ok((api, engine))
    }

    /// All networks, without the containers attached to them.
    pub async fn networks(&self) -> Result<Vec<ContainerNetwork>, ApiError> {
        let networks: Vec<wire::Network> = self.get(&self.path("/networks")).await?;
        Ok(networks.into_iter().map(Into::into).collect())
    }

    /// One network, with the containers attached to it.
    pub async fn network(&self, id: &str) -> Result<ContainerNetwork, ApiError> {
        let network: wire::Network = self.get(&self.path(&format!("/networks/{id}"))).await?;
        Ok(network.into())
    }

    /// All containers that run.
    pub async fn containers(&self) -> Result<Vec<Container>, ApiError> {
        let containers: Vec<wire::Container> = self.get(&self.path("/containers/json")).await?;
        Ok(containers.into_iter().map(Into::into).collect())
    }

    /// Makes a network.
    pub async fn create(&self, spec: &NetworkSpec) -> Result<(), ApiError> {
        let body = wire::creation(spec);
        self.ask(Method::POST, &self.path("/networks/create"), Some(&body))
            .await
            .map(drop)
    }

    /// Removes a network.
    pub async fn remove(&self, id: &str) -> Result<(), ApiError> {
        let path = self.path(&format!("/networks/{id}"));
        self.ask(Method::DELETE, &path, None).await.map(drop)
    }

    /// Takes a container off a network, running or not.
    pub async fn disconnect(&self, id: &str, container: &str) -> Result<(), ApiError> {
        let body = serde_json::json!({"Container": container, "Force": true});
        let path = self.path(&format!("/networks/{id}/disconnect"));
        self.ask(Method::POST, &path, Some(&body)).await.map(drop)
    }

    /// What happens from now on, as far as the filters let it through.
    pub async fn events(&self, filters: &str) -> Result<Events, ApiError> {
        let path = self.path(&format!("/events?filters={filters}"));
        let (status, body) = self.send(Method::GET, &path, None).await?;
        if status.is_success() {
            Ok(Events(body))
        } else {
            Err(self.refusal(&path, status, body).await)
        }
    }

    fn path(&self, path: &str) -> String {
        format!("/v{}{path}", self.version)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        let bytes = self.ask(Method::GET, path, None).await?;
        serde_json::from_slice(&bytes).map_err(|error| unreadable(path, &error))
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<Bytes, ApiError> {
        let (status, answer) = self.send(method, path, body).await?;
        if !status.is_success() {
            return Err(self.refusal(path, status, answer).await);
        }
        self.collect(path, answer).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<(StatusCode, Incoming), ApiError> {
        let exchange = async {
            let stream = UnixStream::connect(&self.socket)
                .await
                .map_err(|error| self.unreachable(&error))?;
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
                .await
                .map_err(|error| self.unreachable(&error))?;
            // Ends with the answer's body; whatever goes wrong there is seen by whoever reads it.
            tokio::spawn(connection);
            let body = body.map(ToString::to_string).unwrap_or_default();
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header(HOST, "docker")
                .header(CONTENT_TYPE, "application/json")
                .body(Full::new(Bytes::from(body)))
                .map_err(|error| unreadable(path, &error))?;
            let answer = sender
                .send_request(request)
                .await
                .map_err(|error| self.unreachable(&error))?;
            Ok((answer.status(), answer.into_body()))
        };
        timeout(PATIENCE, exchange)
            .await
            .unwrap_or_else(|_| Err(self.unreachable(&"no answer in time")))
    }

    async fn collect(&self, path: &str, body: Incoming) -> Result<Bytes, ApiError> {
        let whole = http_body_util::Limited::new(body, MAX_ANSWER).collect();
        match timeout(PATIENCE, whole).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) => Err(unreadable(path, &error)),
            Err(_) => Err(self.unreachable(&"no answer in time")),
        }
    }

    async fn refusal(&self, path: &str, status: StatusCode, body: Incoming) -> ApiError {
        match self.collect(path, body).await {
            Ok(bytes) => ApiError::Refused {
                status,
                message: wire::message(&bytes),
            },
            Err(error) => error,
        }
    }

    fn unreachable(&self, reason: &dyn std::fmt::Display) -> ApiError {
        ApiError::Unreachable {
            socket: self.socket.clone(),
            reason: reason.to_string(),
        }
    }
}

fn unreadable(path: &str, reason: &dyn std::fmt::Display) -> ApiError {
    ApiError::Unreadable {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

/// A stream of events. What they say is not looked at: whatever happened, the networks are listed anew.
#[derive(Debug)]
pub struct Events(Incoming);

impl Events {
    /// Waits for the next one; `None` when Docker has gone away.
    pub async fn next(&mut self) -> Option<()> {
        let frame = self.0.frame().await?;
        frame.ok().map(drop)
    }
}
