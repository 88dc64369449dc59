//! When the last backup was made, as everybody is told.

use std::{os::unix::fs::MetadataExt as _, process::Command, time::SystemTime};

use tombolo_proto::api::{AuditEntry, LastBackup, Page, Status};

use crate::{rig::Rig, visitor::Visitor};

const DAY: u64 = 86_400;

#[tokio::test(flavor = "multi_thread")]
async fn the_last_backup_is_shown_with_its_kind_and_marked_when_it_is_old_or_was_never_made() {
    let rig = Rig::start().await;
    let mut alice = Visitor::administrator(&rig).await;
    assert_eq!(last(&rig).await, None);
    alice.get("/system").await.expect(200, ">never<");
    let timestamp = |at: u64| format!("\ntombolo_last_backup_timestamp_seconds {at}\n");
    let metrics = rig.http.get("//metrics").await;
    assert!(metrics.body.contains(&timestamp(0)), "{}", metrics.body);

    let place = tempfile::tempdir().expect("a directory");
    let path = |name: &str| place.path().join(name).display().to_string();
    let (plain, sealed, secret) = (path("plain"), path("sealed"), path("passphrase"));
    std::fs::write(&secret, "a long one\n").expect("a file");
    let store = rig.store_url();
    let mut shown = None;
    for (file, flags) in [
        (&plain, &[][..]),
        (&sealed, &["--passphrase-file", &secret][..]),
    ] {
        let before = now();
        let words = [&["backup", file, "--store", &store], flags].concat();
        let (code, said) = rig.verb(&words).await;
        assert_eq!(code, Some(0), "{said}");

        let made = last(&rig).await.expect("it was noted");
        println!("figure: the last backup as the API has it: {made:?}");
        let size = std::fs::metadata(file).expect("the backup").len();
        assert_eq!((made.encrypted, made.bytes), (!flags.is_empty(), size));
        assert!(made.root_key && made.made_at.abs_diff(before) < 60);
        let key = rig.replica().to_string();
        let by = made.made_by.strip_prefix("replica ").expect("a replica");
        assert!(by.len() == 12 && key.starts_with(by), "{by} of {key}");
        let line: Page<AuditEntry> = rig
            .http
            .get("/audit?action=backup.make&order=newest&limit=1")
            .await
            .expect_status(200);
        let line = &line.items[0];
        assert_eq!((&line.actor, &line.subject), (&made.made_by, &key));
        let after = line.after.as_ref().expect("what was made");
        assert_eq!(after["bytes"], size);
        shown = Some(made);
    }
    let made = shown.expect("the second one");
    let metrics = rig.http.get("//metrics").await;
    assert!(metrics.body.contains(&timestamp(made.made_at)));
    let page = alice.get("/system").await;
    for text in [
        "within a week",
        ">encrypted<",
        "in the backup",
        &made.made_by,
    ] {
        page.expect(200, text);
    }

    let at = now() - 8 * DAY - 60;
    crate::audit::tamper(&rig, &format!("UPDATE last_backup SET made_at = {at}")).await;
    let page = alice.get("/system").await;
    page.expect(200, "8 days old: make one");
    assert!(!page.body.contains("within a week"));
    let (code, said) = rig.verb(&["audit", "verify"]).await;
    assert_eq!(code, Some(0), "{said}");

    // What cannot be written was not made.
    let words = ["backup", plain.as_str(), "--store", &store];
    let (code, said) = rig.verb(&words).await;
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(last(&rig).await.map(|made| made.made_at), Some(at));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_that_the_panel_suggests_make_an_encrypted_backup() {
    let rig = Rig::start().await;
    let mut alice = Visitor::administrator(&rig).await;
    let page = alice.get("/system").await.body;
    let place = tempfile::tempdir().expect("a directory");
    let elsewhere = place.path().display().to_string();
    let suggested = |id: &str| {
        let begin = format!("<code id=\"{id}\">");
        let (_, rest) = page.split_once(&begin).expect("a suggestion");
        let (command, _) = rest.split_once("</code>").expect("its end");
        command.replace("&gt;", ">").replace("/root", &elsewhere)
    };

    let made = Command::new("sh")
        .args(["-ec", &suggested("passphrase-command")])
        .status();
    assert!(made.expect("a shell").success());
    let secret = place.path().join("tombolo.passphrase");
    let mode = std::fs::metadata(&secret).expect("it was made").mode();
    assert_eq!(mode & 0o777, 0o600, "for root alone");
    let passphrase = std::fs::read_to_string(&secret).expect("a text");
    assert_eq!(passphrase.trim().len(), 32, "24 bytes in Base64");
    let (backup, store) = (suggested("backup-command"), rig.store_url());
    let words: Vec<&str> = backup.split_whitespace().skip(1).collect();
    let (code, said) = rig.verb(&[&words, &["--store", &store][..]].concat()).await;

    assert_eq!(code, Some(0), "{said}");
    assert!(last(&rig).await.expect("it was noted").encrypted);
    let restore = suggested("restore-command");
    assert_eq!(restore, backup.replace(" backup ", " restore "));
}

async fn last(rig: &Rig) -> Option<LastBackup> {
    let status: Status = rig.http.get("/status").await.expect_status(200);
    status.last_backup
}

fn now() -> u64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
    since.as_secs()
}
