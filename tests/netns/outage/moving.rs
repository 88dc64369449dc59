//! A controller moves to an empty machine by a backup, then to another store, while members talk.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use tombolo_tests::{
    netns::{Claim, Lab},
    overlay::{Overlay, SOON},
    postgres::Postgres,
    process::{figure, wait_for},
};

use super::Traffic;

/// Nodes look for a controller that was away ever more rarely, every 30 seconds at most.
const FOUND: Duration = Duration::from_secs(30);

#[test]
fn members_notice_nothing_of_a_restored_backup_or_of_another_store() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let Some(store) = Postgres::start_on(lab.host("db")) else {
        return;
    };
    let mut overlay = Overlay::new(lab, &["a", "b", "c"]);
    let traffic = Traffic::start(&overlay);
    let before = interfaces(&overlay);
    let state = overlay.controller.state_dir();
    let place = overlay.lab.dir().join("safe");
    fs::create_dir(&place).expect("the lab's directory is writable");
    let backup = place.join("backup");

    let _ = overlay.controller.verb(&["backup", text(&backup)]).ok();
    overlay.controller.kill();
    // The token is in the administrator's hands; nothing else is left of the old machine.
    fs::rename(state.join("admin.token"), place.join("admin.token")).expect("its token");
    fs::remove_dir_all(&state).expect("the lab's directory is writable");
    let _ = overlay.controller.verb(&["restore", text(&backup)]).ok();
    fs::rename(place.join("admin.token"), state.join("admin.token")).expect("the same directory");
    overlay.controller.serve();
    is_found_and_heard(&overlay, "restored backup", "10.9.1.0/24");

    overlay.controller.stop();
    let url = store.database();
    let _ = overlay.controller.verb(&["store", "migrate-to", &url]).ok();
    overlay.controller.store = Some(url);
    overlay.controller.serve();
    is_found_and_heard(&overlay, "other store", "10.9.2.0/24");

    assert_eq!(interfaces(&overlay), before);
    traffic.stop_without_loss();
}

/// Every node finds the controller again and takes a change from it.
fn is_found_and_heard(overlay: &Overlay, what: &str, target: &str) {
    let start = Instant::now();
    for node in &overlay.nodes {
        wait_for("the controller to be found again", FOUND * 2, || {
            (node.standing(&overlay.network).as_deref() == Some("ok")).then_some(())
        });
    }
    figure(
        &format!("{what}: serving to all members connected"),
        start.elapsed(),
        FOUND,
    );
    let via = overlay.nodes[0].id();
    let _ = overlay.controller.add_route(&overlay.network, target, &via);
    for node in &overlay.nodes[1..] {
        wait_for("the new route", SOON, || {
            let routes = node.host.namespace.run("ip route show dev tmb0");
            routes.contains(target).then_some(())
        });
    }
}

/// Interface numbers and addresses: another number would be another interface.
fn interfaces(overlay: &Overlay) -> Vec<String> {
    let nodes = overlay.nodes.iter();
    nodes
        .map(|node| {
            node.host
                .namespace
                .run("ip -o addr show dev tmb0 scope global")
        })
        .collect()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the lab's paths are text")
}
