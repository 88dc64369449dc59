//! The verbs, as the program runs them.

use std::{path::PathBuf, process::Command};

use serde_json::Value;

use crate::rig::Rig;

pub(crate) struct Verbs {
    url: String,
    state: PathBuf,
}

pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) complaint: String,
}

impl Verbs {
    pub(crate) fn of(rig: &Rig) -> Self {
        Self {
            url: format!("http://{}", rig.controller.http()),
            state: rig.state.path().to_owned(),
        }
    }

    pub(crate) async fn run(&self, line: &str) -> Ran {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let (url, state) = (self.url.clone(), self.state.clone());
        tokio::task::spawn_blocking(move || {
            let output = Command::new(env!("CARGO_BIN_EXE_controller"))
                .args(words)
                .arg("--url")
                .arg(url)
                .env("TOMBOLO_STATE_DIR", state)
                .output()
                .expect("the program runs");
            Ran {
                code: output.status.code(),
                out: String::from_utf8(output.stdout).expect("a text"),
                complaint: String::from_utf8(output.stderr).expect("a text"),
            }
        })
        .await
        .expect("it ends")
    }

    #[track_caller]
    fn expect_json(ran: &Ran) -> Value {
        assert_eq!(ran.code, Some(0), "{}", ran.complaint);
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error} in {}", ran.out))
    }

    pub(crate) async fn json(&self, line: &str) -> Value {
        Self::expect_json(&self.run(&format!("{line} --json")).await)
    }

    pub(crate) async fn fails(&self, line: &str, code: i32, text: &str) {
        let ran = self.run(line).await;
        assert_eq!(ran.code, Some(code), "{line}: {}", ran.complaint);
        assert_eq!(ran.out, "", "{line}");
        assert_eq!(ran.complaint.lines().count(), 1, "{}", ran.complaint);
        assert!(ran.complaint.contains(text), "{line}: {}", ran.complaint);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_from_its_creation_to_its_end() {
    let rig = Rig::start().await;
    let verbs = Verbs::of(&rig);

    let network = verbs.json("network create home --v4 172.27.0.0/16").await;
    let id: tombolo_proto::id::NetworkId =
        serde_json::from_value(network["id"].clone()).expect("an id");
    let mut node = rig.node().await;
    node.join(id, None).await;
    node.expect_pending(id).await;
    let waiting = verbs.json("member ls home").await;
    assert_eq!(waiting[0]["authorized"], false);
    let member = verbs
        .json(&format!(
            "member authorize home {} --name web --address 172.27.0.9",
            node.address
        ))
        .await;
    node.expect_member(id).await;
    assert_eq!(member["addresses"][0], "172.27.0.9");
    let route = verbs
        .json("route add home 172.28.233.1/24 --via 172.27.0.9")
        .await;
    assert_eq!(route["target"], "172.28.233.0/24");
    let human = verbs.run("route ls home").await;
    assert!(human.out.contains("172.28.233.0/24"), "{}", human.out);
    let route_id = route["id"].as_str().expect("an id");
    assert_eq!(
        verbs.run(&format!("route rm {route_id}")).await.code,
        Some(0)
    );
    let changed = verbs
        .json("network set home --name work --v6-modes 6plane,rfc4193 --member-routes auto")
        .await;
    assert_eq!(changed["name"], "work");
    let renamed = verbs
        .json("member set work web --name db --tag a --tag b")
        .await;
    assert_eq!(renamed["tags"], serde_json::json!(["a", "b"]));
    let out = verbs.json("member deauthorize work db").await;
    assert_eq!(out["authorized"], false);
    node.expect_denied(id, "deauthorised").await;
    assert_eq!(verbs.run("member rm work db").await.code, Some(0));
    assert_eq!(verbs.json("member ls work").await, serde_json::json!([]));
    assert_eq!(verbs.json("network show work").await["name"], "work");
    assert_eq!(verbs.run(&format!("network rm {id}")).await.code, Some(0));
    assert_eq!(verbs.json("network ls").await, serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_both_kinds() {
    let rig = Rig::start().await;
    let verbs = Verbs::of(&rig);
    let network = rig.home().await;

    let join = verbs
        .json("join-token create home --uses 2 --expires-in 60")
        .await;
    let link: tombolo_proto::link::JoinLink = join["join_link"]
        .as_str()
        .expect("a link")
        .parse()
        .expect("a join link");
    assert_eq!(link.network, network.id);
    assert_eq!(link.token.as_deref(), join["token"].as_str());
    let human = verbs.run("join-token create home").await;
    assert!(
        human.out.contains("tombolo join tombolo://"),
        "{}",
        human.out
    );
    let listed = verbs.json("join-token ls home").await;
    assert_eq!(listed.as_array().map(Vec::len), Some(2));
    let id = join["id"].as_str().expect("an id");
    assert_eq!(
        verbs.run(&format!("join-token rm home {id}")).await.code,
        Some(0)
    );

    let token = verbs.json("token create ci --scope read").await;
    let file = rig.state.path().join("ci.token");
    std::fs::write(&file, token["token"].as_str().expect("a token")).expect("a file");
    let as_reader = format!("network create x --token-file {}", file.display());
    verbs.fails(&as_reader, 5, "higher role").await;
    let id = token["id"].as_str().expect("an id");
    assert_eq!(verbs.run(&format!("token rm {id}")).await.code, Some(0));
    let as_nobody = format!("network ls --token-file {}", file.display());
    verbs.fails(&as_nobody, 5, "API token").await;
    assert_eq!(
        verbs.json("token ls").await.as_array().map(Vec::len),
        Some(1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_route_is_approved_by_its_id_alone() {
    use tombolo_proto::control::{RouteAction, RouteOutcome, ToController, ToNode};
    let rig = Rig::start().await;
    let verbs = Verbs::of(&rig);
    let network = rig.home().await;
    let mut node = rig.member(network.id).await;
    node.say(&ToController::Route {
        network: network.id,
        request: 1,
        prefix: "172.28.0.0/24".parse().expect("a prefix"),
        action: RouteAction::Publish { metric: 0 },
    })
    .await;
    let outcome = node
        .wait(|message| match message {
            ToNode::RouteAnswer { outcome, .. } => Some(outcome.clone()),
            _ => None,
        })
        .await;
    assert_eq!(outcome, RouteOutcome::Pending);

    let routes = verbs.json("route ls home").await;
    let id = routes[0]["id"].as_str().expect("an id");
    let approved = verbs.json(&format!("route approve {id}")).await;

    assert_eq!(approved["state"], "active");
    assert_eq!(
        verbs.json(&format!("route approve home {id}")).await["state"],
        "active"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_one_line_with_the_right_exit_code() {
    let rig = Rig::start().await;
    let verbs = Verbs::of(&rig);
    rig.home().await;

    verbs
        .fails("network create home", 4, "another network")
        .await;
    verbs
        .fails(
            "network create x --v4 fc00::/64",
            1,
            "IPv6 prefix where an IPv4",
        )
        .await;
    verbs
        .fails("network create x --v4-pool nonsense", 2, "is not a range")
        .await;
    verbs
        .fails("network show nope", 1, "controller network ls")
        .await;
    verbs
        .fails("member authorize home 89e92ceee5", 1, "no such member")
        .await;
    verbs
        .fails("member authorize home nobody", 1, "controller member ls")
        .await;
    verbs
        .fails(
            "route add home 172.27.1.0/24 --via nobody",
            1,
            "no such member",
        )
        .await;
    verbs
        .fails("route rm 00000000", 1, "controller route ls")
        .await;
    verbs
        .fails("network ls --token-file /nonexistent", 5, "--token-file")
        .await;
    let elsewhere = Verbs {
        url: "http://127.0.0.1:1".to_owned(),
        state: rig.state.path().to_owned(),
    };
    elsewhere.fails("network ls", 3, "controller serve").await;
    let nonsense = Verbs {
        url: "not a url".to_owned(),
        state: rig.state.path().to_owned(),
    };
    nonsense.fails("network ls", 2, "--url").await;
    assert_eq!(verbs.run("network frobnicate").await.code, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn completions_and_manual_pages_come_from_the_program() {
    let rig = Rig::start().await;
    let verbs = Verbs::of(&rig);

    for shell in ["bash", "zsh", "fish"] {
        let ran = verbs.run(&format!("completions {shell}")).await;
        assert!(ran.out.contains("join-token"), "{shell}");
    }
    let pages = tempfile::tempdir().expect("a temporary directory");
    let ran = verbs
        .run(&format!("man --dir {}", pages.path().display()))
        .await;
    assert_eq!(ran.code, Some(0), "{}", ran.complaint);
    assert!(pages.path().join("controller-serve.1").exists());
    assert!(verbs.run("man").await.out.contains("controller"));
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_added_changed_and_removed() {
    let rig = Rig::start().await;
    let verbs = Verbs::of(&rig);
    let network = verbs.json("network create home").await;
    let id = network["id"].as_str().expect("an id").to_owned();

    let made = verbs
        .json(&format!("user add anna --role viewer --in {id}=operator"))
        .await;
    let password = made["password"].as_str().expect("a password is made");

    assert_eq!(
        (&made["role"], made["networks"][&id].as_str()),
        (&"viewer".into(), Some("operator"))
    );
    assert_eq!(password.len(), 24);
    let signed_in = crate::visitor::Visitor::new(rig.controller.http())
        .sign_in("anna", password)
        .await;
    assert_eq!(signed_in.status, 303, "{}", signed_in.body);
    let file = rig.state.path().join("password");
    std::fs::write(&file, "correct horse battery\n").expect("a file");
    let changed = verbs
        .json(&format!(
            "user password ANNA --password-file {}",
            file.display()
        ))
        .await;
    assert_eq!(changed["password"], Value::Null, "it is not shown");
    crate::visitor::Visitor::signed_in(rig.controller.http(), "anna").await;
    let changed = verbs.json("user set anna --role admin --no-networks").await;
    assert_eq!(
        (&changed["role"], &changed["networks"]),
        (&"admin".into(), &serde_json::json!({}))
    );
    let listed = verbs.run("user ls").await;
    assert!(
        listed.out.contains("anna") && listed.out.contains("admin"),
        "{}",
        listed.out
    );
    verbs.json("user add bert --role admin").await;
    assert_eq!(verbs.run("user rm anna").await.code, Some(0));
    verbs.fails("user rm anna", 1, "no user").await;
    verbs.fails("user add carl --role king", 2, "viewer").await;
    verbs.fails("user rm bert", 4, "last user").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_and_tokens_for_one_network() {
    let rig = Rig::start().await;
    let verbs = Verbs::of(&rig);
    let network = verbs.json("network create home").await;
    let id = network["id"].as_str().expect("an id").to_owned();
    let mut receiver = crate::receiver::Receiver::start();

    let hook = verbs
        .json(&format!(
            "webhook create {} --event changed --network home",
            receiver.url()
        ))
        .await;
    let hook_id = hook["id"].as_str().expect("an id");

    assert_eq!(
        verbs.run(&format!("webhook test {hook_id}")).await.code,
        Some(0)
    );
    let secret = hook["secret"].as_str().expect("a secret");
    assert!(receiver.next().await.is_signed_with(secret));
    receiver.answer("500 Internal Server Error");
    verbs
        .fails(&format!("webhook test {hook_id}"), 1, "500")
        .await;
    // What failed is listed, and sent again by its id.
    let attempts = verbs.json(&format!("webhook deliveries {hook_id}")).await;
    let failed = &attempts[0];
    assert_eq!(
        (&failed["delivered"], &failed["status"]),
        (&false.into(), &500.into())
    );
    let human = verbs.run(&format!("webhook deliveries {hook_id}")).await;
    assert!(human.out.contains("it answered 500"), "{}", human.out);
    let attempt = failed["id"].as_str().expect("an id").to_owned();
    let first = receiver.next().await;
    receiver.answer("503 Service Unavailable");
    let resend = format!("webhook resend {hook_id} {attempt}");
    verbs.fails(&resend, 1, "503").await;
    assert_eq!(verbs.json(&resend).await["delivered"], true);
    for _ in 0..2 {
        let again = receiver.next().await;
        assert_eq!(again.headers["webhook-id"], first.headers["webhook-id"]);
    }
    let attempts = verbs.json(&format!("webhook deliveries {hook_id}")).await;
    println!("figure: attempts that the verb lists: {attempts}");
    assert_eq!(
        attempts.as_array().map(Vec::len),
        Some(4),
        "two tests, two times again"
    );
    verbs
        .fails(
            &format!("webhook resend {hook_id} 0"),
            1,
            "no such delivery",
        )
        .await;
    verbs
        .fails("webhook deliveries nope", 1, "no such webhook")
        .await;
    let listed = verbs.run("webhook ls").await;
    assert!(
        listed.out.contains(&id) && !listed.out.contains(secret),
        "{}",
        listed.out
    );
    let off = verbs
        .json(&format!("webhook set {hook_id} --enabled false"))
        .await;
    assert!(off[0]["disabled_at"].is_number());
    assert_eq!(
        verbs.run(&format!("webhook rm {hook_id}")).await.code,
        Some(0)
    );
    verbs
        .json(&format!(
            "token create script --scope read:{id} --expires-in 60"
        ))
        .await;
    let tokens = verbs.run("token ls").await;
    assert!(tokens.out.contains(&format!("read:{id}")), "{}", tokens.out);
    assert!(tokens.out.contains("LAST USED"), "{}", tokens.out);
    // People read calendars, programs count.
    let listed = verbs.json("token ls").await;
    let listed = listed.as_array().into_iter().flatten();
    let expiring = listed.filter(|token| token["expires_at"].is_number());
    assert_eq!(expiring.count(), 1);
    let script = tokens.out.lines().find(|line| line.contains("script"));
    let expires = script.and_then(|line| line.split("  ").map(str::trim).find(|cell| is_utc(cell)));
    let expires = expires.expect("when it expires").to_owned();
    let later = verbs.run(&format!("audit ls --since {expires}")).await;
    assert_eq!(later.out.lines().count(), 1, "the heading: {}", later.out);
    let earlier = verbs.run(&format!("audit ls --until {expires}")).await;
    let line = earlier.out.lines().nth(1).expect("a line");
    assert!(line.split("  ").map(str::trim).any(is_utc), "{line}");
    verbs
        .fails("audit ls --since yesterday", 2, "2026-01-31T12:00:00Z")
        .await;
}

/// Whether this is a time as RFC 3339 writes it, in UTC.
fn is_utc(text: &str) -> bool {
    let shape = |byte: u8| if byte.is_ascii_digit() { b'0' } else { byte };
    let shape: Vec<u8> = text.bytes().map(shape).collect();
    shape == b"0000-00-00T00:00:00Z"
}
