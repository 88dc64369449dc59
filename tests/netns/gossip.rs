//! What members tell each other when no controller can.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tombolo_tests::{
    netns::{Claim, Lab},
    overlay::{Overlay, Pings, SOON, answers, wait_for_mesh, wait_for_ping},
    process::{figure, wait_for},
};

const PROMISE: Duration = Duration::from_secs(3);

#[test]
fn a_removal_outlives_the_controllers_reaches_who_could_not_hear_it_and_survives_reboots() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let mut overlay = Overlay::new(lab, &["a", "b", "c", "d", "absent", "removed"]);
    wait_for_mesh(&overlay.nodes);
    let removed = overlay.nodes.pop().expect("six nodes");
    let mut absent = overlay.nodes.pop().expect("six nodes");
    absent.kill();
    let controller = overlay.controller.host.v4;
    // One that stays cannot hear the controller; nor can the one to be removed, so nobody can tell it to stop.
    overlay.nodes[2].host.cut_off(controller);
    removed.host.cut_off(controller);
    let dir = overlay.lab.dir().to_owned();
    let pings: Vec<Pings> = overlay
        .nodes
        .iter()
        .map(|node| {
            let log = dir.join(format!("to-{}.log", node.host.name));
            Pings::start(&removed.host.namespace, node.v4(), &log)
        })
        .collect();
    wait_for("pings to flow", SOON, || {
        pings.iter().all(|pings| pings.answers() > 5).then_some(())
    });

    let start = now();
    overlay
        .controller
        .deauthorize(&overlay.network, &removed.id());
    let answered = Instant::now();
    wait_for("one second", SOON, || {
        (answered.elapsed() >= Duration::from_secs(1)).then_some(())
    });
    overlay.controller.kill();

    let last = wait_for("everybody to stop answering", SOON * 2, || {
        let last = pings.iter().flat_map(Pings::times).fold(start, f64::max);
        // Twenty pings without an answer, from anybody.
        (now() - last > 1.0).then_some(last)
    });
    figure(
        "deauthorise to cut off by all, controllers killed, one member out of their reach",
        Duration::from_secs_f64(last - start),
        PROMISE,
    );
    assert_ne!(
        removed.standing(&overlay.network).as_deref(),
        Some("denied"),
        "it was told, so this shows nothing"
    );

    let start = Instant::now();
    absent.up();
    wait_for("who was absent to hear of it", SOON, || {
        (!absent.knows(&removed.id())).then_some(())
    });
    figure(
        "start of an absent member to its enforcing the removal",
        start.elapsed(),
        PROMISE,
    );

    overlay.nodes.push(absent);
    for node in &mut overlay.nodes {
        node.kill();
    }
    let start = Instant::now();
    for node in &mut overlay.nodes {
        node.up();
    }
    wait_for_mesh(&overlay.nodes);
    figure(
        "reboot of all with all controllers dead to all pairs pinging",
        start.elapsed(),
        Duration::from_secs(5),
    );
    for node in &overlay.nodes {
        assert!(!answers(&removed.host.namespace, node.v4()));
        assert!(!node.knows(&removed.id()));
    }
}

#[test]
fn a_member_whose_address_has_changed_is_found_again_without_a_controller() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let mut overlay = Overlay::new(lab, &["a", "b", "moved", "late"]);
    wait_for_mesh(&overlay.nodes);
    let target = overlay.nodes[2].v4();
    wait_for("endpoints to be on disk", SOON, || {
        let late = &overlay.nodes[3];
        let all = overlay.nodes[..3]
            .iter()
            .all(|node| late.remembers(&node.host));
        all.then_some(())
    });
    overlay.nodes[3].kill();
    overlay.controller.kill();

    let start = Instant::now();
    overlay.nodes[2].host.move_to_another_address();
    wait_for_ping(&overlay.nodes[0].host.namespace, target);
    figure(
        "change of address to ping from a member",
        start.elapsed(),
        Duration::from_secs(5),
    );

    let start = Instant::now();
    overlay.nodes[3].up();
    wait_for_ping(&overlay.nodes[3].host.namespace, target);
    figure(
        "start with an old address to ping at the new one",
        start.elapsed(),
        Duration::from_secs(5),
    );
}

fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs_f64()
}
