//! The API document is what the API does: Schemathesis makes requests from it, such as fit and such as do not, and checks
//! every answer against it.

#![allow(
    dead_code,
    reason = "the controller and HTTP are those of its other tests, and do more than is needed here"
)]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test waits for one kind of message and passes over every other"
)]

#[path = "../controller/http.rs"]
mod http;
#[path = "../controller/node.rs"]
mod node;
#[path = "../controller/rig.rs"]
mod rig;

use std::{path::PathBuf, process::Command, time::Instant};

use rig::{Rig, Store};
use tombolo_tests::process::announce;

/// Where the controllers of this program keep what they know, unless a test says otherwise.
const STORE: Store = Store::Sqlite;
/// Left out: a stream has no end; a token that is deleted by chance may be the one in use; a test message goes to whatever
/// address was made up; and wrong tokens, of which the limiter takes a handful, are the matter of another test.
const LEFT_OUT: [&str; 3] = ["stream_events", "delete_token", "test_webhook"];
const CHECKS_LEFT_OUT: &str = "ignored_auth";
/// Requests for each operation and kind of data, beside those for the edges of every field.
const EXAMPLES: usize = 100;
/// So many while the tests are not full ones: what every change should be held against without waiting.
const FEW_EXAMPLES: usize = 3;
/// The same requests every time.
const SEED: &str = "20";

#[tokio::test(flavor = "multi_thread")]
async fn the_api_does_what_its_document_says() {
    if !is_full() {
        return run(Store::Sqlite, FEW_EXAMPLES).await;
    }
    for store in [Store::Sqlite, Store::Postgres] {
        run(store, EXAMPLES).await;
    }
}

async fn run(store: Store, examples: usize) {
    let Some(program) = program() else { return };
    let rig = Rig::start_on(store).await;
    let _network = rig.home().await;
    let token = std::fs::read_to_string(rig.state.path().join("admin.token")).expect("a token");
    let url = format!("http://{}/api/v1/openapi.json", rig.controller.http());
    let config = rig.state.path().join("schemathesis.toml");
    // What fits the document may still be refused by the rules, be an id that is reserved, or no `next` of any page.
    let hooks = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/hooks.py");
    let rules = "[checks.positive_data_acceptance]\nexpected-statuses = [\"2xx\", 400, 403, 404, 409, 412, 422]\n";
    let content = format!("hooks = {hooks:?}\n{rules}");
    std::fs::write(&config, content).expect("a file");
    let mut command = Command::new(program);
    command
        .current_dir(rig.state.path())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg("--config-file")
        .arg(config)
        .args(["run", &url, "--checks", "all"])
        .args(["--exclude-checks", CHECKS_LEFT_OUT])
        .args(["--seed", SEED, "--no-shrink", "--continue-on-failure"])
        .args(["--max-examples", &examples.to_string()])
        .args(["--request-timeout", "30", "--suppress-health-check", "all"])
        .args(["--warnings", "off"])
        .arg("--header")
        .arg(format!("Authorization: Bearer {}", token.trim()));
    for operation in LEFT_OUT {
        command.args(["--exclude-operation-id", operation]);
    }

    let started = Instant::now();
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .expect("the thread ends")
        .expect("it runs");

    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    let cases = said
        .lines()
        .find(|line| line.contains("generated"))
        .unwrap_or_default();
    announce(&format!(
        "figure: requests by the API document: {}, in {:.0} s",
        cases.trim(),
        started.elapsed().as_secs_f64()
    ));
}

/// Installed by `make api-tools`, beside what is built.
fn program() -> Option<PathBuf> {
    let built = PathBuf::from(env!("CARGO_BIN_EXE_controller"));
    let target = built.ancestors().nth(2).expect("a target directory");
    let program = target.join("tools/schemathesis/bin/schemathesis");
    if program.exists() {
        return Some(program);
    }
    assert!(std::env::var_os("CI").is_none(), "Schemathesis is missing");
    announce("SKIPPED: the API is not held against its document: run `make api-tools`");
    None
}

fn is_full() -> bool {
    std::env::var_os("TOMBOLO_TEST_FULL").is_some()
}
