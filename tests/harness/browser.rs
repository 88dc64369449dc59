//! A browser that is told what to do by the WebDriver protocol (W3C), which is JSON over HTTP.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use data_encoding::BASE64;
use serde_json::{Value, json};
use ureq::Agent;

use crate::process::announce;

/// How long the browser waits for what it is to find: far longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(20);
/// More than any page has to stop at.
const MOST_TABS: usize = 120;
/// What elements are called in JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser without a window, and its driver. Both end with it.
#[derive(Debug)]
pub struct Browser {
    agent: Agent,
    session: String,
    driver: Child,
    pictures: PathBuf,
}

/// The key that confirms.
pub const ENTER: &str = "\u{e007}";

/// The space bar, for [`Browser::press`].
pub const SPACE: &str = " ";

/// Something on the page.
#[derive(Debug, Clone)]
pub struct Element(String);

impl Browser {
    /// Starts it in the network namespace of the thread; pictures go to that directory. None, and said loudly, if there is no
    /// browser.
    ///
    /// # Panics
    /// When it does not start, or is missing and `CI` is set.
    #[must_use]
    pub fn start(pictures: &Path) -> Option<Self> {
        let driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut driver) = driver else {
            let complaint =
                "NOT TESTED: there is no browser (packages chromium and chromium-driver)";
            assert!(std::env::var_os("CI").is_none(), "{complaint}");
            announce(complaint);
            return None;
        };
        let output = driver.stdout.take().expect("a pipe");
        let port: u16 = BufReader::new(output)
            .lines()
            .map_while(Result::ok)
            .find_map(|line| {
                line.split_once("successfully on port ")?
                    .1
                    .trim_end_matches('.')
                    .parse()
                    .ok()
            })
            .expect("the driver says its port");
        let config = Agent::config_builder().http_status_as_error(false).build();
        let mut browser = Self {
            agent: config.into(),
            session: format!("http://127.0.0.1:{port}/session"),
            driver,
            pictures: pictures.to_owned(),
        };
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            // Nothing outside is asked for, whatever a page wants.
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
            "--lang=en",
            "--window-size=1280,900",
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
            "timeouts": {"implicit": u64::try_from(PATIENCE.as_millis()).expect("it fits"), "script": 60_000},
        }}});
        let session = browser.post("", &wanted);
        let id = session["sessionId"].as_str().expect("a session").to_owned();
        browser.session = format!("{}/{id}", browser.session);
        Some(browser)
    }

    /// Goes to an address.
    ///
    /// # Panics
    /// When the browser does not do it.
    pub fn open(&self, url: &str) {
        self.post("/url", &json!({"url": url}));
    }

    /// The first element of an XPath, as soon as it is there.
    ///
    /// # Panics
    /// When the browser does not do it.
    #[track_caller]
    pub fn find(&self, xpath: &str) -> Element {
        let found = self.post("/element", &json!({"using": "xpath", "value": xpath}));
        Element(found[ELEMENT].as_str().expect("an element").to_owned())
    }

    /// Every element of a CSS selector.
    ///
    /// # Panics
    /// When the browser does not do it.
    #[must_use]
    pub fn all(&self, selector: &str) -> Vec<Element> {
        let found = self.post(
            "/elements",
            &json!({"using": "css selector", "value": selector}),
        );
        let elements = found.as_array().expect("a list").iter();
        elements
            .filter_map(|element| element[ELEMENT].as_str())
            .map(|id| Element(id.to_owned()))
            .collect()
    }

    /// Clicks on the first element of an XPath, as soon as it is there.
    ///
    /// # Panics
    /// When the browser does not do it.
    #[track_caller]
    pub fn click(&self, xpath: &str) {
        let element = self.find(xpath);
        self.post(&format!("/element/{}/click", element.0), &json!({}));
    }

    /// Types into a field, instead of what stands there.
    ///
    /// # Panics
    /// When the browser does not do it.
    #[track_caller]
    pub fn fill(&self, id: &str, text: &str) {
        self.type_into(&self.find(&format!("//*[@id='{id}']")), text);
    }

    /// The same, for a field without an id.
    ///
    /// # Panics
    /// When the browser does not do it.
    #[track_caller]
    pub fn fill_field(&self, name: &str, text: &str) {
        self.type_into(&self.find(&format!("//input[@name='{name}']")), text);
    }

    #[track_caller]
    fn type_into(&self, Element(element): &Element, text: &str) {
        self.post(&format!("/element/{element}/clear"), &json!({}));
        self.post(&format!("/element/{element}/value"), &json!({"text": text}));
    }

    /// What assistive technology calls an element.
    ///
    /// # Panics
    /// When the browser does not do it.
    #[must_use]
    pub fn label(&self, element: &Element) -> String {
        let label = self.get(&format!("/element/{}/computedlabel", element.0));
        label.as_str().unwrap_or_default().to_owned()
    }

    /// An element as it stands in the page.
    ///
    /// # Panics
    /// When the browser does not do it.
    #[must_use]
    pub fn markup(&self, element: &Element) -> Value {
        self.get(&format!("/element/{}/property/outerHTML", element.0))
    }

    /// Presses the tabulator and tells what has the focus then.
    ///
    /// # Panics
    /// When the browser does not do it.
    pub fn tab(&self) -> Element {
        self.press("\u{e004}");
        let active = self.get("/element/active");
        Element(active[ELEMENT].as_str().expect("an element").to_owned())
    }

    /// Runs a script in the page; what it returns.
    ///
    /// # Panics
    /// When the browser does not do it.
    pub fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// Runs a script that says when it is done, by its last argument.
    ///
    /// # Panics
    /// When the browser does not do it.
    #[track_caller]
    pub fn run_async(&self, script: &str) -> Value {
        self.post("/execute/async", &json!({"script": script, "args": []}))
    }

    /// Presses a key and lets it go.
    ///
    /// # Panics
    /// When the browser does not do it.
    pub fn press(&self, key: &str) {
        let press = |kind: &str| json!({"type": kind, "value": key});
        let keys =
            json!({"type": "key", "id": "keys", "actions": [press("keyDown"), press("keyUp")]});
        self.post("/actions", &json!({"actions": [keys]}));
    }

    /// Presses the tabulator until a condition of the page holds.
    ///
    /// # Panics
    /// When it never does.
    #[track_caller]
    pub fn tab_to(&self, condition: &str) {
        let is_there = || self.run(&format!("return {condition}")) == true;
        for _ in 0..MOST_TABS {
            if is_there() {
                return;
            }
            self.tab();
        }
        panic!("the tabulator does not lead to: {condition}");
    }

    /// Types letter by letter, wherever the focus is.
    ///
    /// # Panics
    /// When the browser does not do it.
    pub fn type_text(&self, text: &str) {
        for letter in text.chars() {
            self.press(&letter.to_string());
        }
    }

    /// The text of an element.
    ///
    /// # Panics
    /// When the browser does not do it.
    #[track_caller]
    #[must_use]
    pub fn text(&self, xpath: &str) -> String {
        let element = self.find(xpath).0;
        let text = self.get(&format!("/element/{element}/property/textContent"));
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Light or dark.
    ///
    /// # Panics
    /// When the browser does not do it.
    pub fn theme(&self, theme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": theme}]);
        self.devtools("Emulation.setEmulatedMedia", &json!({"features": features}));
    }

    /// The width of the window in CSS pixels.
    ///
    /// # Panics
    /// When the browser does not do it.
    pub fn width(&self, width: u32) {
        let size =
            json!({"width": width, "height": 850, "deviceScaleFactor": 1, "mobile": width < 600});
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
    }

    fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.post(
            "/goog/cdp/execute",
            &json!({"cmd": command, "params": parameters}),
        )
    }

    /// The whole page as a picture.
    ///
    /// # Panics
    /// When the browser does not do it.
    pub fn picture(&self, name: &str) {
        std::fs::create_dir_all(&self.pictures).expect("a directory");
        let options = json!({"captureBeyondViewport": true});
        let taken = self.devtools("Page.captureScreenshot", &options);
        let picture = BASE64.decode(taken["data"].as_str().expect("a picture").as_bytes());
        std::fs::write(
            self.pictures.join(format!("{name}.png")),
            picture.expect("Base64"),
        )
        .expect("a file");
    }

    /// What the browser complained of since it was asked last.
    ///
    /// # Panics
    /// When the browser does not do it.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let log = self.post("/se/log", &json!({"type": "browser"}));
        let entries = log.as_array().expect("a list").iter();
        entries.map(ToString::to_string).collect()
    }

    #[track_caller]
    fn get(&self, path: &str) -> Value {
        let request = self.agent.get(format!("{}{path}", self.session));
        answer(tokio::task::block_in_place(|| request.call()), path)
    }

    #[track_caller]
    fn post(&self, path: &str, body: &Value) -> Value {
        let request = self.agent.post(format!("{}{path}", self.session));
        let sent = tokio::task::block_in_place(|| request.send_json(body));
        answer(sent, &format!("{path} {body}"))
    }
}

#[track_caller]
fn answer(sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>, asked: &str) -> Value {
    let mut response = sent.expect("the driver answers");
    let status = response.status();
    let mut body: Value = response
        .body_mut()
        .with_config()
        .limit(64 << 20)
        .read_json()
        .expect("JSON");
    let value = body["value"].take();
    assert!(status.is_success(), "{asked}: {}", value["message"]);
    value
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver closes the browser, if it still can.
        let _ = self.agent.delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
