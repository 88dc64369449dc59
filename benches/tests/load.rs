//! The load harness itself, on a network small enough for every test run.

use std::{path::Path, process::Command, time::Duration};

use tombolo_benches::load::{plan::StoreKind, record::LoadRecord};
use tombolo_tests::{
    overlay::binary,
    process::{Said, announce, figure},
};

/// How soon a change that cannot wait is with every connected node.
const URGENT: Duration = Duration::from_secs(2);

#[test]
fn one_controller_on_sqlite_serves_a_swarm() {
    measure(StoreKind::Sqlite);
}

#[test]
fn two_controllers_on_postgresql_serve_a_swarm() {
    if !Path::new("/usr/lib/postgresql").exists() {
        let complaint = "NOT TESTED: PostgreSQL is not installed (package postgresql)";
        assert!(std::env::var_os("CI").is_none(), "{complaint}");
        announce(complaint);
        return;
    }
    measure(StoreKind::Postgres);
}

fn measure(store: StoreKind) {
    let results = tempfile::tempdir().expect("a directory");
    let controller = binary("controller");
    let binaries = controller.parent().expect("it lies in a directory");
    let name = match store {
        StoreKind::Sqlite => "sqlite",
        StoreKind::Postgres => "postgres",
    };

    Said::by(
        Command::new(env!("CARGO_BIN_EXE_bench"))
            .args(["load", "--quick", "--members", "20,60", "--stores", name])
            .arg("--binaries")
            .arg(binaries)
            .arg("--results")
            .arg(results.path()),
    )
    .ok();

    let read = |file: &str| std::fs::read_to_string(results.path().join(file)).expect("a result");
    let record: LoadRecord = serde_json::from_str(&read("load-quick.json")).expect("a record");
    let points = &record.series[0].points;
    assert_eq!(record.series[0].store, store);
    assert_eq!(
        points.iter().map(|point| point.members).collect::<Vec<_>>(),
        [20, 60]
    );
    assert!(points.iter().all(|point| point.joins_per_second > 0.0));
    // Removed nodes are replaced by others.
    assert_eq!(points[1].joined, 40 + 3);
    for (what, cost) in [("removal", points[1].removal), ("route", points[1].route)] {
        let reached = Duration::from_secs_f64(cost.reached.p99 / 1e3);
        figure(
            &format!("a {what} reaches 99 of 100 of 60 nodes ({name})"),
            reached,
            URGENT,
        );
    }
    assert!(read("load-quick.md").contains("| members, all connected | unit | 20 | 60 |"));
    assert!(read("load-quick.svg").contains("One network, up to 60 members"));
}
