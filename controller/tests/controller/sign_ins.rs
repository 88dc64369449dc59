//! What the audit log tells of signing in and out.

use serde_json::json;
use tombolo_proto::api::{AuditEntry, Page};

use crate::{
    accounts::{code, post, sign_in, text},
    rig::Rig,
    visitor::{PASSWORD, Visitor},
};

#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_who_signed_in_and_out_and_from_where() {
    let rig = Rig::start().await;
    let mut alice = Visitor::administrator(&rig).await;
    let typed = "a password typed for a name";
    for (name, password) in [("alice", "wrong password"), (typed, PASSWORD)] {
        let mut visitor = Visitor::new(rig.controller.http());
        assert_eq!(visitor.sign_in(name, password).await.status, 401);
    }
    let mut another = Visitor::signed_in(rig.controller.http(), "alice").await;
    // Of a proxy on this host it is believed whom it saw.
    another
        .headers
        .push(("x-forwarded-for".to_owned(), "192.0.2.7".to_owned()));
    let left = another.submit("/", "/sign-out", &[]).await;
    assert_eq!(left.status, 303);

    let here = json!({ "source": "127.0.0.1" });
    let refused = (
        "nobody".to_owned(),
        "user.sign_in_refused".to_owned(),
        here.clone(),
    );
    let line = |action: &str, after| ("user alice".to_owned(), action.to_owned(), after);
    let told = lines(&rig, "user.sign").await;
    let short: Vec<_> = told
        .iter()
        .map(|line| {
            let after = line.after.clone().unwrap_or_default();
            (line.actor.clone(), line.action.clone(), after)
        })
        .collect();
    assert_eq!(
        short,
        [
            line("user.sign_in", here.clone()),
            refused.clone(),
            refused,
            line("user.sign_in", here),
            line("user.sign_out", json!({ "source": "192.0.2.7" })),
        ]
    );
    let subjects: Vec<_> = told.iter().map(|line| line.subject.as_str()).collect();
    assert_eq!(subjects, ["alice", "alice", "", "alice", "alice"]);
    let log = rig.http.get("/audit?limit=1000").await.body;
    assert!(!log.contains(typed), "what was typed may be a password");
    let page = alice.get("/audit").await;
    page.expect(200, "user.sign_in_refused");
    page.expect(200, "from 192.0.2.7");
    let (exit, said) = rig.verb(&["audit", "verify"]).await;
    assert_eq!(exit, Some(0), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_by_which_second_step_somebody_signed_in() {
    let rig = Rig::start().await;
    let mut alice = Visitor::administrator(&rig).await;
    let begun = alice.submit("/account", "/account/two-step", &[]).await;
    let secret = text(&begun, "id=\"totp-secret\">");
    let (used, next) = (code(&secret, 0), code(&secret, 30));
    let fields = [
        ("secret", secret),
        ("code", used),
        ("current", PASSWORD.to_owned()),
    ];
    let done = post(&mut alice, "/account/two-step/confirm", &fields).await;
    done.expect(201, "Keep these recovery codes");
    let recovery = text(&done, "id=\"secret\">");
    let recovery = recovery.lines().next().expect("a code");
    let mut phone = Visitor::new(rig.controller.http());
    for code in [next.as_str(), recovery] {
        assert_eq!(sign_in(&mut phone, PASSWORD, code).await.status, 303);
    }
    // A password without the second step lets nobody in.
    assert_eq!(sign_in(&mut phone, PASSWORD, "").await.status, 401);

    let told = lines(&rig, "user.sign_in").await;
    let steps: Vec<_> = told
        .iter()
        .map(|line| {
            let step = line
                .after
                .as_ref()
                .and_then(|after| after.get("second_step"));
            (line.action.as_str(), step.cloned().unwrap_or_default())
        })
        .collect();
    assert_eq!(
        steps,
        [
            ("user.sign_in", json!(null)),
            ("user.sign_in", json!("app")),
            ("user.sign_in", json!("recovery code")),
            ("user.sign_in_refused", json!(null)),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_guesses_does_not_fill_the_log() {
    let rig = Rig::start().await;
    let _alice = Visitor::administrator(&rig).await;
    let mut guesser = Visitor::new(rig.controller.http());
    guesser
        .headers
        .push(("x-forwarded-for".to_owned(), "192.0.2.7".to_owned()));
    let mut limited = 0;
    const GUESSES: usize = 40;
    for _ in 0..GUESSES {
        if guesser.sign_in("alice", "wrong password").await.status == 429 {
            limited += 1;
        }
    }
    assert!(limited > 0, "the limit was met");

    let told = lines(&rig, "user.sign_in_refused").await;

    println!(
        "figure: lines about {GUESSES} guesses from one source: {}",
        told.len()
    );
    // One of what was looked at, and one of what was not any more.
    assert_eq!(told.len(), 2, "{told:?}");
}

/// The lines whose action begins like this, the oldest first.
async fn lines(rig: &Rig, action: &str) -> Vec<AuditEntry> {
    let page: Page<AuditEntry> = rig.http.get("/audit?limit=1000").await.expect_status(200);
    let lines = page.items.into_iter();
    lines
        .filter(|line| line.action.starts_with(action))
        .collect()
}
