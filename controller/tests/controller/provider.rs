//! A real identity provider, and somebody who has an account there (`make oidc-tools` gets it).

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tombolo_controller::oidc::OidcSettings;
use tombolo_tests::process::{Process, announce, wait_for};
use ureq::{Agent, http::Request};

/// Longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) struct Provider {
    pub(crate) issuer: String,
    process: Process,
    directory: TempDir,
}

impl Provider {
    /// None, and said so, if what it needs is not installed; in CI that is a failure.
    pub(crate) fn start() -> Option<Self> {
        let tools = tools()?;
        let directory = tempfile::tempdir().expect("a directory");
        let log = directory.path().join("log");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/provider/provider.mjs");
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "node"])
            .arg(script)
            .arg(tools);
        let process = Process::spawn("the identity provider", &mut command, &log);
        let issuer = wait_for("the provider to listen", DEADLINE, || {
            let log = process.log();
            let line = log.lines().find(|line| line.starts_with("http://"))?;
            Some(line.to_owned())
        });
        Some(Self {
            issuer,
            process,
            directory,
        })
    }

    /// The section of a configuration for this provider, with more lines.
    pub(crate) fn settings(&self, more: &str) -> OidcSettings {
        let secret = self.directory.path().join("secret");
        std::fs::write(&secret, "tombolo-secret\n").expect("a file");
        let text = format!(
            "issuer = {:?}\nclient-id = 'tombolo'\nclient-secret-file = {secret:?}\nname = 'Example ID'\n{more}",
            self.issuer
        );
        toml::from_str(&text).expect("a section")
    }

    /// The same for a client without a secret.
    pub(crate) fn settings_without_secret(&self) -> OidcSettings {
        let text = format!(
            "issuer = {:?}\nclient-id = 'public-tombolo'\nname = 'Example ID'",
            self.issuer
        );
        toml::from_str(&text).expect("a section")
    }

    /// Changes what the provider is: see `provider.mjs`.
    pub(crate) async fn change(&self, what: Value) {
        let url = format!("{}/test", self.issuer);
        tokio::task::spawn_blocking(move || ureq::post(url).send(what.to_string()))
            .await
            .expect("the thread ends")
            .expect("the provider answers");
    }

    /// Has it send browsers to these controllers, as `http://HOST`.
    pub(crate) async fn serve(&self, controllers: &[&str]) {
        let callbacks: Vec<_> = controllers
            .iter()
            .map(|base| format!("{base}/sign-in/oidc/callback"))
            .collect();
        let clients =
            json!({ "tombolo": callbacks, "other": callbacks, "public-tombolo": callbacks });
        self.change(json!({ "clients": clients })).await;
    }

    pub(crate) fn stop(&mut self) {
        self.process.kill();
    }

    /// Signs in as somebody and agrees to everything; where the provider sends the browser then.
    pub(crate) async fn consent(&self, url: &str, login: &'static str) -> String {
        let (issuer, url) = (self.issuer.clone(), url.to_owned());
        let walk = tokio::task::spawn_blocking(move || Walk::new(issuer).walk_through(url, login));
        walk.await.expect("the thread ends")
    }
}

/// A browser at the provider.
struct Walk {
    issuer: String,
    agent: Agent,
    cookies: BTreeMap<String, String>,
}

impl Walk {
    fn new(issuer: String) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .build();
        Self {
            issuer,
            agent: config.into(),
            cookies: BTreeMap::new(),
        }
    }

    fn walk_through(mut self, url: String, login: &str) -> String {
        let mut next = Request::get(url).body(String::new());
        for _ in 0..20 {
            let (location, page) = self.send(next.expect("a request"));
            let url = match location {
                Some(url) if url.starts_with('/') => format!("{}{url}", self.issuer),
                Some(url) => url,
                None => {
                    let (_, action) = page
                        .split_once("action=\"")
                        .unwrap_or_else(|| panic!("no form in {page}"));
                    let action = action.split('"').next().expect("a value").to_owned();
                    let body = if page.contains("value=\"login\"") {
                        format!("prompt=login&login={login}&password=x")
                    } else {
                        "prompt=consent".to_owned()
                    };
                    let form = "application/x-www-form-urlencoded";
                    next = Request::post(action)
                        .header("content-type", form)
                        .body(body);
                    continue;
                }
            };
            if !url.starts_with(&self.issuer) {
                return url;
            }
            next = Request::get(url).body(String::new());
        }
        panic!("the provider leads nowhere")
    }

    fn send(&mut self, mut request: Request<String>) -> (Option<String>, String) {
        let cookies = self.cookies.iter();
        let cookies: Vec<_> = cookies
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let cookies = cookies.join("; ").parse().expect("a header");
        request.headers_mut().insert("cookie", cookies);
        let mut response = self.agent.run(request).expect("the provider answers");
        for cookie in response.headers().get_all("set-cookie") {
            let pair = cookie.to_str().expect("a text").split(';').next();
            let (name, value) = pair.and_then(|pair| pair.split_once('=')).expect("a pair");
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        let location = response.headers().get("location");
        let location = location.map(|url| url.to_str().expect("a text").to_owned());
        let page = response.body_mut().read_to_string().expect("a text");
        (location, page)
    }
}

/// Where `make oidc-tools` installed it, beside what is built.
fn tools() -> Option<PathBuf> {
    let built = PathBuf::from(env!("CARGO_BIN_EXE_controller"));
    let target = built.ancestors().nth(2).expect("a target directory");
    let tools = target.join("tools/oidc-provider");
    if tools.join("node_modules/oidc-provider").exists() {
        return Some(tools);
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "the identity provider is missing: run `make oidc-tools`"
    );
    announce("SKIPPED: nobody signs in at an identity provider: run `make oidc-tools`");
    None
}
