//! The API as the verbs use it.

use std::{path::Path, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use tombolo_proto::{
    api::{Member, Network, Page, Problem, Route},
    id::NetworkId,
};
use ureq::{Agent, RequestBuilder, http::StatusCode, typestate::WithBody};

use super::Failure;
use crate::{
    cli::Global,
    config::{DEFAULT_STATE_DIR, DEFAULT_URL, File},
    state_dir, trust,
};

/// A controller on this host answers in milliseconds, one that mines or migrates in seconds.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Items fetched at once.
const PAGE: u32 = 1000;

#[derive(Debug)]
pub(super) struct Client {
    agent: Agent,
    url: String,
    token: String,
}

impl Client {
    pub(super) fn new(global: &Global, file: &File) -> Result<Self, Failure> {
        let state_dir = global
            .state_dir
            .as_deref()
            .or(file.state_dir.as_deref())
            .unwrap_or(Path::new(DEFAULT_STATE_DIR));
        let token_file = global
            .token_file
            .clone()
            .or_else(|| file.token_file.clone())
            .unwrap_or_else(|| state_dir::admin_token_path(state_dir));
        let token = std::fs::read_to_string(&token_file).map_err(|cause| {
            Failure::NotAuthorized(format!(
                "cannot read the API token {}: {cause}; run this as the user of the controller, or name a token with --token-file",
                token_file.display()
            ))
        })?;
        let url = global
            .url
            .clone()
            .or_else(|| file.url.clone())
            .unwrap_or_else(|| DEFAULT_URL.to_owned());
        let trusted = global.tls_ca.as_deref().or(file.tls_ca.as_deref());
        let tls = trust::tls_config(trusted)
            .map_err(|error| Failure::Usage(format!("{error}; check --tls-ca")))?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .tls_config(tls)
            .timeout_global(Some(TIMEOUT))
            .build();
        Ok(Self {
            agent: config.into(),
            url: url.trim_end_matches('/').to_owned(),
            token: token.trim().to_owned(),
        })
    }

    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let request = self
            .agent
            .get(self.at(path))
            .header("Authorization", self.bearer());
        self.answer(request.call())
    }

    /// An object and its ETag.
    pub(super) fn get_tagged<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<(T, String), Failure> {
        let request = self
            .agent
            .get(self.at(path))
            .header("Authorization", self.bearer());
        let response = self.checked(request.call())?;
        let tag = response.headers().get("etag");
        let tag = tag
            .and_then(|tag| tag.to_str().ok())
            .unwrap_or("*")
            .to_owned();
        Ok((self.answer(Ok(response))?, tag))
    }

    /// Replaces an object, unless it has another ETag by now.
    pub(super) fn put_if<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        tag: &str,
    ) -> Result<T, Failure> {
        let request = self.agent.put(self.at(path)).header("If-Match", tag);
        self.send(request, body)
    }

    pub(super) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        self.send(self.agent.post(self.at(path)), body)
    }

    pub(super) fn patch<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        self.send(self.agent.patch(self.at(path)), body)
    }

    pub(super) fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        self.send(self.agent.put(self.at(path)), body)
    }

    fn send<T: DeserializeOwned>(
        &self,
        request: RequestBuilder<WithBody>,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let request = request.header("Authorization", self.bearer());
        self.answer(request.send_json(body))
    }

    pub(super) fn delete(&self, path: &str) -> Result<(), Failure> {
        let request = self
            .agent
            .delete(self.at(path))
            .header("Authorization", self.bearer());
        self.checked(request.call()).map(|_| ())
    }

    /// Every item of a list.
    pub(super) fn all<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, Failure> {
        let mut items = Vec::new();
        let mut after = String::new();
        loop {
            let page: Page<T> = self.get(&format!("{path}?limit={PAGE}{after}"))?;
            items.extend(page.items);
            match page.next {
                Some(next) => after = format!("&after={next}"),
                None => return Ok(items),
            }
        }
    }

    /// A network by id or name.
    pub(super) fn network(&self, text: &str) -> Result<Network, Failure> {
        if let Ok(id) = text.parse::<NetworkId>() {
            return self.get(&network_path(id));
        }
        let networks: Vec<Network> = self.all("/networks")?;
        networks
            .into_iter()
            .find(|network| network.name.eq_ignore_ascii_case(text))
            .ok_or_else(|| {
                Failure::Other(format!(
                    "there is no network {text:?}: `tombolo-controller network ls` shows those there are"
                ))
            })
    }

    /// A member's path, by node address or name.
    pub(super) fn member_path(&self, network: &str, text: &str) -> Result<String, Failure> {
        let members = format!("{}/members", network_path(self.network(network)?.id));
        if text.parse::<tombolo_proto::id::NodeId>().is_ok() {
            return Ok(format!("{members}/{text}"));
        }
        let known: Vec<Member> = self.all(&members)?;
        let mut named = known
            .iter()
            .filter(|member| member.name.eq_ignore_ascii_case(text));
        match (named.next(), named.next()) {
            (Some(member), None) => Ok(format!("{members}/{}", member.node)),
            (None, _) => Err(Failure::Other(format!(
                "there is no member {text:?}: `tombolo-controller member ls {network}` shows those there are"
            ))),
            (Some(_), Some(_)) => Err(Failure::Other(format!(
                "several nodes are named {text:?}: use the node address"
            ))),
        }
    }

    /// A route's path, by `ID` or `NETWORK ID`.
    pub(super) fn route_path(&self, words: &[String]) -> Result<String, Failure> {
        let path = |network, id: &str| format!("{}/routes/{id}", network_path(network));
        match words {
            [network, id] => Ok(path(self.network(network)?.id, id)),
            [id] => {
                let networks: Vec<Network> = self.all("/networks")?;
                let has =
                    |network: &&Network| network.routes.iter().any(|route: &Route| route.id == *id);
                networks
                    .iter()
                    .find(has)
                    .map(|network| path(network.id, id))
                    .ok_or_else(|| {
                        Failure::Other(format!(
                            "there is no route {id:?}: `tombolo-controller route ls NETWORK` shows those there are"
                        ))
                    })
            }
            _ => Err(Failure::Usage("give a route id".to_owned())),
        }
    }

    /// `path` under `/api/v1`, or beside it if it starts with `//`.
    fn at(&self, path: &str) -> String {
        match path.strip_prefix("//") {
            Some(beside) => format!("{}/{beside}", self.url),
            None => format!("{}/api/v1{path}", self.url),
        }
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }

    fn answer<T: DeserializeOwned>(
        &self,
        sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<T, Failure> {
        self.checked(sent)?
            .body_mut()
            .with_config()
            .limit(u64::MAX)
            .read_json()
            .map_err(|error| {
                Failure::Other(format!(
                    "{} answers something else than a Tombolo controller ({error}): check --url",
                    self.url
                ))
            })
    }

    fn checked(
        &self,
        sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<ureq::http::Response<ureq::Body>, Failure> {
        let mut response = sent.map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let detail = response.body_mut().read_json::<Problem>().map_or_else(
            |_| format!("{} answers {status}: check --url", self.url),
            |problem| problem.detail,
        );
        Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Failure::NotAuthorized(detail),
            StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => Failure::Conflict(detail),
            _ => Failure::Other(detail),
        })
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        if matches!(error, ureq::Error::BadUri(_) | ureq::Error::Http(_)) {
            return Failure::Usage(format!(
                "{:?} is not a URL ({error}): check --url",
                self.url
            ));
        }
        Failure::Unreachable(format!(
            "no controller answers at {} ({error}): start it with `tombolo-controller serve`, or name another with --url",
            self.url
        ))
    }
}

/// Path of a network.
pub(super) fn network_path(id: NetworkId) -> String {
    format!("/networks/{id}")
}
