//! A browser without scripts: cookies, forms, and no redirect followed unasked.

use std::{collections::BTreeMap, net::SocketAddr};

use ureq::{Agent, http::Request};

use crate::rig::Rig;

/// The password of every user in these tests.
pub(crate) const PASSWORD: &str = "correct horse battery";

#[derive(Clone)]
pub(crate) struct Visitor {
    agent: Agent,
    base: String,
    pub(crate) cookies: BTreeMap<String, String>,
    /// Sent along with every request.
    pub(crate) headers: Vec<(String, String)>,
}

#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) headers: ureq::http::HeaderMap,
    pub(crate) body: String,
}

impl Visitor {
    pub(crate) fn new(to: SocketAddr) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .build();
        Self {
            agent: config.into(),
            base: format!("http://{to}"),
            cookies: BTreeMap::new(),
            headers: Vec::new(),
        }
    }

    /// Somebody who followed the setup link.
    pub(crate) async fn administrator(rig: &Rig) -> Self {
        let mut visitor = Self::new(rig.controller.http());
        let link = rig.controller.setup_link().expect("nobody is there yet");
        let path = link.replace(&visitor.base, "");
        let form = visitor.get(&path).await;
        let code = path.split_once("code=").expect("a code").1;
        let fields = [
            ("csrf", form.csrf()),
            ("code", code),
            ("name", "alice"),
            ("password", PASSWORD),
            ("again", PASSWORD),
        ];
        let done = visitor.post("/setup", &fields).await;
        assert_eq!(
            (done.status, done.header("location")),
            (303, "/"),
            "{}",
            done.body
        );
        visitor
    }

    /// Somebody who signed in.
    pub(crate) async fn signed_in(to: SocketAddr, name: &str) -> Self {
        let mut visitor = Self::new(to);
        let done = visitor.sign_in(name, PASSWORD).await;
        assert_eq!(
            (done.status, done.header("location")),
            (303, "/"),
            "{}",
            done.body
        );
        visitor
    }

    pub(crate) async fn sign_in(&mut self, name: &str, password: &str) -> Page {
        let form = self.get("/sign-in").await;
        let fields = [
            ("csrf", form.csrf()),
            ("name", name),
            ("password", password),
        ];
        self.post("/sign-in", &fields).await
    }

    pub(crate) async fn get(&mut self, path: &str) -> Page {
        self.send("GET", path, Vec::new()).await
    }

    pub(crate) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        self.send("POST", path, body.into_bytes()).await
    }

    /// The same cookies for a controller somewhere else.
    pub(crate) fn move_to(&mut self, to: SocketAddr) {
        self.base = format!("http://{to}");
    }

    /// The status of an answer that may have no end.
    pub(crate) async fn status(&self, path: &str) -> u16 {
        let request = self.request("GET", path, Vec::new());
        let agent = self.agent.clone();
        tokio::task::spawn_blocking(move || {
            let response = agent.run(request).expect("the controller answers");
            response.status().as_u16()
        })
        .await
        .expect("the request runs")
    }

    /// Fills in a form of a page: with its token, and these fields.
    pub(crate) async fn submit(&mut self, page: &str, path: &str, fields: &[(&str, &str)]) -> Page {
        let csrf = self.get(page).await.csrf().to_owned();
        let fields: Vec<_> = fields
            .iter()
            .copied()
            .chain([("csrf", csrf.as_str())])
            .collect();
        self.post(path, &fields).await
    }

    /// The same, and the page that it leads to.
    pub(crate) async fn act(&mut self, page: &str, path: &str, fields: &[(&str, &str)]) -> Page {
        let done = self.submit(page, path, fields).await;
        assert_eq!(done.status, 303, "{}", done.body);
        let next = done.header("location").to_owned();
        let shown = self.get(&next).await;
        assert_eq!(shown.status, 200, "{}", shown.body);
        shown
    }

    fn request(&self, method: &str, path: &str, body: Vec<u8>) -> Request<Vec<u8>> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base));
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if !cookies.is_empty() {
            request = request.header("cookie", cookies.join("; "));
        }
        if method == "POST" {
            request = request.header("content-type", "application/x-www-form-urlencoded");
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(body).expect("a well-formed request")
    }

    async fn send(&mut self, method: &str, path: &str, body: Vec<u8>) -> Page {
        let request = self.request(method, path, body);
        let agent = self.agent.clone();
        let page = tokio::task::spawn_blocking(move || {
            let mut response = agent.run(request).expect("the controller answers");
            Page {
                status: response.status().as_u16(),
                headers: response.headers().clone(),
                body: response.body_mut().read_to_string().expect("a text"),
            }
        })
        .await
        .expect("the request runs");
        for cookie in page.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().expect("a text");
            let (pair, _) = cookie.split_once(';').expect("attributes");
            let (name, value) = pair.split_once('=').expect("a value");
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        page
    }
}

impl Page {
    /// The token that the forms of this page hold.
    #[track_caller]
    pub(crate) fn csrf(&self) -> &str {
        let (_, rest) = self
            .body
            .split_once("name=\"csrf\" value=\"")
            .unwrap_or_else(|| panic!("no form in {} {}", self.status, self.body));
        rest.split('"').next().expect("a value")
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn expect(&self, status: u16, text: &str) {
        assert_eq!(self.status, status, "{}", self.body);
        assert!(self.body.contains(text), "no {text:?} in {}", self.body);
    }
}
