//! The audit log: what was done, what it was before and after, and that nobody changed it.

use std::num::NonZeroU32;

use serde_json::{Value, json};
use sqlx::{AnyConnection, Connection as _, Executor as _};
use tombolo_controller::config::Config;
use tombolo_proto::api::{self, AuditEntry, Page};

use crate::rig::{Rig, member_path};

#[tokio::test(flavor = "multi_thread")]
async fn lines_tell_what_it_was_before_and_after() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let node = rig.member(network.id).await;
    let path = format!("/networks/{}", network.id);
    let _: api::Network = rig
        .http
        .patch(&path, json!({"mtu": 1300}))
        .await
        .expect_status(200);
    rig.set_member(network.id, &node, json!({"name": "web", "tags": ["db"]}))
        .await;
    rig.http
        .delete(&member_path(network.id, &node))
        .await
        .expect_no_content();

    let changed = only(&rig, "action=network.update").await;
    let renamed = only(&rig, "action=member.update").await;
    let deleted = only(&rig, "action=member.delete").await;
    let created = only(&rig, "action=network.create").await;

    assert_eq!(changed.before, Some(json!({"settings": {"mtu": 1400}})));
    assert_eq!(changed.after, Some(json!({"settings": {"mtu": 1300}})));
    assert_eq!(created.before, None);
    assert_eq!(side(&created.after, "/settings/name"), "home");
    let member = format!("/members/{}", node.address);
    assert_eq!(side(&renamed.before, &format!("{member}/tags")), json!([]));
    let after = |field: &str| side(&renamed.after, &format!("{member}/{field}"));
    assert_eq!(
        (after("name"), after("tags")),
        (json!("web"), json!(["db"]))
    );
    assert_eq!(after("identity"), Value::Null, "what stays is left out");
    assert_eq!(side(&deleted.before, &format!("{member}/name")), "web");
    assert_eq!(side(&deleted.after, &member), Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_line_holds_a_secret() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let password = "correct horse battery";
    let user: api::User = rig
        .http
        .post(
            "/users",
            json!({"name": "anna", "password": password, "role": "viewer"}),
        )
        .await
        .expect_status(201);
    let _: api::User = rig
        .http
        .patch(
            &format!("/users/{}", user.id),
            json!({"password": "another one entirely", "role": "admin"}),
        )
        .await
        .expect_status(200);
    let join: api::CreatedToken = rig
        .http
        .post(&format!("/networks/{}/join-tokens", network.id), json!({}))
        .await
        .expect_status(201);
    let token: api::CreatedToken = rig
        .http
        .post("/tokens", json!({"name": "script", "scopes": ["read"]}))
        .await
        .expect_status(201);

    let log = rig.http.get("/audit?limit=1000").await.body;

    for secret in [password, "another one entirely", &join.token, &token.token] {
        assert!(!log.contains(secret), "{secret}");
    }
    assert!(!log.contains("argon2"), "nor a hash of one");
    let updated = only(&rig, "action=user.update").await;
    assert_eq!(side(&updated.before, "/role"), "viewer");
    assert_eq!(
        updated.after,
        Some(json!({"role": "admin", "networks": {}, "password": "changed"}))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_filtered_and_read_from_either_end() {
    let rig = Rig::start().await;
    let home = rig.home().await;
    let work = rig.network(json!({"name": "work"})).await;
    let node = rig.member(home.id).await;

    let ids = async |query: &str| -> Vec<u64> {
        let page: Page<AuditEntry> = rig
            .http
            .get(&format!("/audit?{query}"))
            .await
            .expect_status(200);
        page.items.iter().map(|entry| entry.id).collect()
    };

    let all = ids("").await;
    assert_eq!(all, [1, 2, 3, 4, 5]);
    assert_eq!(ids(&format!("network={}", work.id)).await, [3]);
    assert_eq!(ids(&format!("actor=node%20{}", node.address)).await, [4]);
    assert_eq!(ids("action=network.create&order=newest").await, [3, 2]);
    assert_eq!(ids("until=1000000000").await, [0; 0]);
    assert_eq!(ids("since=1000000000").await, all);
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page: Page<AuditEntry> = rig
            .http
            .get(&format!("/audit?order=newest&limit=2{after}"))
            .await
            .expect_status(200);
        seen.extend(page.items.iter().map(|entry| entry.id));
        let Some(next) = page.next else { break };
        after = format!("&after={next}");
    }
    assert_eq!(seen, [5, 4, 3, 2, 1]);
    for query in ["order=middle", "since=x", "network=x", "limit=0", "who=me"] {
        rig.http
            .get(&format!("/audit?{query}"))
            .await
            .expect_problem(400, "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_somebody_changed_does_not_verify() {
    for (statement, complaint) in [
        (
            "UPDATE audit SET subject = 'another' WHERE place = 2",
            "line 2",
        ),
        (
            "UPDATE audit SET actor = 'user mallory' WHERE place = 1",
            "line 1",
        ),
        (
            "UPDATE audit SET state_after = '{\"settings\":{}}' WHERE place = 2",
            "line 2",
        ),
        ("DELETE FROM audit WHERE place = 2", "line 2 is missing"),
        ("DELETE FROM audit WHERE place = 4", "missing at its end"),
        ("UPDATE audit SET at = at + 1 WHERE place = 4", "line 4"),
    ] {
        let rig = Rig::start().await;
        let network = rig.home().await;
        let _member = rig.member(network.id).await;
        let (code, said) = rig.verb(&["audit", "verify"]).await;
        assert_eq!(code, Some(0), "{said}");
        assert!(said.starts_with("4 lines"), "{said}");

        tamper(&rig, statement).await;

        let (code, said) = rig.verb(&["audit", "verify"]).await;
        assert_eq!(code, Some(1), "{statement}: {said}");
        assert!(said.contains(complaint), "{statement}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_rewritten_whole_does_not_hold_the_line_that_was_noted() {
    let rig = Rig::start().await;
    rig.home().await;
    let head: api::AuditHead = rig.http.get("/audit/head").await.expect_status(200);
    let noted = format!("{}:{}", head.id, head.hash);
    rig.network(json!({"name": "work"})).await;
    let (code, said) = rig.verb(&["audit", "verify", "--noted", &noted]).await;
    assert_eq!(code, Some(0), "{said}");

    // Whoever may write to the database can have the chain made anew.
    let zeros = match crate::STORE {
        crate::rig::Store::Sqlite => "zeroblob(32)",
        crate::rig::Store::Postgres => "decode(repeat('00', 32), 'hex')",
    };
    let anew = format!(
        "UPDATE audit SET actor = 'user mallory', place = NULL, hash = NULL;
         UPDATE audit_head SET place = 0, hash = {zeros}"
    );
    tamper(&rig, &anew).await;
    let rig = rig.restart().await;

    let (code, said) = rig.verb(&["audit", "verify"]).await;
    assert_eq!(code, Some(0), "the new chain holds: {said}");
    let (code, said) = rig.verb(&["audit", "verify", "--noted", &noted]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("rewritten"), "{said}");
    let (code, said) = rig
        .verb(&["audit", "verify", "--noted", &format!("9:{}", head.hash)])
        .await;
    assert_eq!(code, Some(1), "{said}");
    let (code, said) = rig.verb(&["audit", "verify", "--noted", "nonsense"]).await;
    assert_eq!(code, Some(2), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_an_older_controller_get_their_places() {
    let rig = Rig::start().await;
    rig.home().await;
    tamper(
        &rig,
        "INSERT INTO audit (at, actor, action, network, subject) VALUES (1700000000, 'user old', 'network.delete', NULL, 'x')",
    )
    .await;

    let rig = rig.restart().await;

    let old = only(&rig, "actor=user%20old").await;
    assert_eq!((old.id, old.subject.as_str()), (3, "x"));
    rig.network(json!({"name": "work"})).await;
    let (code, said) = rig.verb(&["audit", "verify"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("4 lines"), "{said}");
    let (code, said) = rig
        .verb(&[
            "audit",
            "ls",
            "--action",
            "network.create",
            "--network",
            "work",
        ])
        .await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said.lines().count(), 2, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_lines_are_forgotten_and_the_rest_still_verifies_from_there() {
    let zeros = match crate::STORE {
        crate::rig::Store::Sqlite => "zeroblob(32)",
        crate::rig::Store::Postgres => "decode(repeat('00', 32), 'hex')",
    };
    // The clock is not waited for: lines become old, and the chain is made anew over them.
    let age = format!(
        "UPDATE audit SET at = at - 864000 WHERE place <= 3;
         UPDATE audit SET place = NULL, hash = NULL;
         UPDATE audit_head SET place = 0, hash = {zeros}"
    );
    let keep = Some(NonZeroU32::new(7).expect("it is more"));
    for (statement, complaint) in [
        ("", ""),
        ("UPDATE audit SET subject = 'x' WHERE place = 4", "line 4"),
        ("DELETE FROM audit WHERE place = 4", "line 4 is missing"),
        // Whoever takes lines away himself has to say so in a line, which does not fit then.
        (
            "DELETE FROM audit WHERE place = 4; UPDATE audit_head SET forgotten_place = 4,
                 forgotten_hash = (SELECT hash FROM audit_before)",
            "lines 1 to 4 are missing",
        ),
        (
            "UPDATE audit SET state_after = '{}' WHERE action = 'audit.forget'",
            "line 6",
        ),
        ("UPDATE audit_head SET forgotten_hash = hash", "line 4"),
    ] {
        let rig = Rig::start().await;
        let network = rig.home().await;
        let _member = rig.member(network.id).await;
        rig.network(json!({"name": "work"})).await;
        tamper(&rig, &age).await;
        let rig = rig
            .restart_with(|config| Config {
                audit_keep: keep,
                ..config
            })
            .await;

        let told = until_forgotten(&rig).await;
        assert_eq!((told.id, told.subject.as_str()), (6, "lines 1 to 3"));
        assert_eq!(first_line(&rig).await.id, 4, "the first that is left");
        let hash = side(&told.after, "/hash");
        let hash = hash.as_str().expect("a hash");
        let noted = format!("3:{hash}");
        let (code, said) = rig.verb(&["audit", "verify", "--noted", &noted]).await;
        assert_eq!(code, Some(0), "{said}");
        assert!(said.starts_with("3 lines"), "{said}");
        assert!(
            said.contains("Lines 1 to 3 were forgotten on purpose"),
            "{said}"
        );
        let older = format!("2:{hash}");
        let (code, said) = rig.verb(&["audit", "verify", "--noted", &older]).await;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("note a newer one"), "{said}");

        if !statement.is_empty() {
            tamper(
                &rig,
                "CREATE TABLE audit_before AS SELECT hash FROM audit WHERE place = 4",
            )
            .await;
            tamper(&rig, statement).await;
            let (code, said) = rig.verb(&["audit", "verify"]).await;
            assert_eq!(code, Some(1), "{statement}: {said}");
            assert!(said.contains(complaint), "{statement}: {said}");
        }
    }
}

/// The line that tells that lines were forgotten, once it is there.
async fn until_forgotten(rig: &Rig) -> AuditEntry {
    let told = async {
        loop {
            let path = "/audit?action=audit.forget";
            let page: Page<AuditEntry> = rig.http.get(path).await.expect_status(200);
            if let Some(line) = page.items.into_iter().next() {
                return line;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), told)
        .await
        .expect("they are forgotten")
}

/// The first line that there is.
async fn first_line(rig: &Rig) -> AuditEntry {
    let page: Page<AuditEntry> = rig.http.get("/audit?limit=1").await.expect_status(200);
    page.items.into_iter().next().expect("the line is there")
}

async fn only(rig: &Rig, query: &str) -> AuditEntry {
    let page: Page<AuditEntry> = rig
        .http
        .get(&format!("/audit?{query}"))
        .await
        .expect_status(200);
    assert_eq!(page.items.len(), 1, "{query}");
    page.items.into_iter().next().expect("one line")
}

fn side(side: &Option<Value>, pointer: &str) -> Value {
    let found = side.as_ref().and_then(|side| side.pointer(pointer));
    found.cloned().unwrap_or_default()
}

pub(crate) async fn tamper(rig: &Rig, statement: &str) {
    sqlx::any::install_default_drivers();
    let mut connection = AnyConnection::connect(&rig.store_url())
        .await
        .expect("a connection");
    connection
        .execute(sqlx::AssertSqlSafe(statement))
        .await
        .expect("the statement is right");
    connection.close().await.expect("it closes");
}
