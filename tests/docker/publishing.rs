//! Networks that exist already: by label, by word, and those that cannot be published.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use tombolo_tests::{
    docker::{self, ForwardPolicy},
    netns::Claim,
    overlay::wait_for_ping,
    process::{figure, wait_for},
};

use crate::town::{SOON, Town, wait_until_seen};

/// What happens to a labelled network happens to its route within this time.
const FOLLOWS: Duration = Duration::from_secs(5);

#[test]
fn a_labelled_network_is_published_and_withdrawn_by_itself() {
    let Some(lab) = docker::lab(Claim::Alone) else {
        return;
    };
    let mut town = Town::new(lab, &[ForwardPolicy::Drop, ForwardPolicy::Drop]);
    let network = &town.overlay.network.clone();
    let label = format!("--label tombolo.network={network}");
    let mut docker = town.dockers.remove(0);
    let far = town.node(1);
    let route = |prefix: &str| {
        let wanted = format!("{prefix} dev tmb0");
        far.host.namespace.run("ip route").contains(&wanted)
    };

    // By default an administrator has to approve what the controller did not choose, and the list says so.
    docker.run(&format!(
        "network create {label} --subnet 10.10.0.0/24 web1"
    ));
    let waiting = town.wait_for_state(0, "web1", "pending");
    let problem = waiting["problem"].as_str().expect("a reason");
    assert!(problem.contains("controller route approve ID"), "{problem}");
    assert_eq!(waiting["by"], "label");
    let container = docker.container("web", "--network web1");
    town.approve_routes();
    let started = Instant::now();
    wait_for("the route on the other host", SOON, || {
        route("10.10.0.0/24").then_some(())
    });
    figure(
        "approved route is on the other host",
        started.elapsed(),
        FOLLOWS,
    );
    town.wait_for_state(0, "web1", "published");

    let made = town.json(
        0,
        "create own --subnet 10.12.0.0/24 --ipv6-subnet fd00:12::/96",
    );
    assert_eq!(made["state"], "pending", "{made}");
    town.approve_routes();
    town.wait_for_state(0, "own", "published");
    wait_for("both routes on the other host", SOON, || {
        let v6 = far.host.namespace.run("ip -6 route");
        (route("10.12.0.0/24") && v6.contains("fd00:12::/96 dev tmb0")).then_some(())
    });
    town.json(0, "rm own");

    // Docker masquerades this network, but not towards the overlay.
    let seen = wait_until_seen(&container.namespace, &far.host.namespace, far.v4().into());
    assert_eq!(seen, IpAddr::V4(container.v4));
    wait_for_ping(&far.host.namespace, container.v4);

    // Where members' routes need no approval, a label is all it takes.
    town.overlay
        .controller
        .verb(&["network", "set", network, "--member-routes", "auto"])
        .ok();
    let started = Instant::now();
    docker.run(&format!(
        "network create {label} --subnet 10.11.0.0/24 web2"
    ));
    wait_for("the route on the other host", SOON, || {
        route("10.11.0.0/24").then_some(())
    });
    figure("labelled network is routed", started.elapsed(), FOLLOWS);

    let started = Instant::now();
    docker.run("network rm web2");
    wait_for("the route to go", SOON, || {
        (!route("10.11.0.0/24")).then_some(())
    });
    figure(
        "route of a removed network is gone",
        started.elapsed(),
        FOLLOWS,
    );
    town.verb(0, "unpublish web1").refused(4, &["label"]);

    // A network cannot be left behind Docker's back.
    docker.stop();
    town.node(0)
        .verb(&["leave", network])
        .refused(3, &["Docker does not answer", "--force"]);
    town.node(0).verb(&["leave", network, "--force"]).ok();
}

#[test]
fn what_cannot_be_published_is_refused_with_the_way_out_and_nothing_is_left_of_it() {
    let Some(lab) = docker::lab(Claim::Shared) else {
        return;
    };
    let town = Town::new(lab, &[ForwardPolicy::Drop, ForwardPolicy::Drop]);
    let network = &town.overlay.network;
    town.overlay
        .controller
        .verb(&["network", "set", network, "--member-routes", "auto"])
        .ok();
    let docker = &town.dockers[0];
    let host = &town.node(0).host;
    // Link-local addresses are there at once, so that looks can be compared.
    host.namespace.sysctl("net.ipv6.conf.default.accept_dad", 0);
    host.namespace.run("ip link add lan type bridge");
    host.namespace.run("ip link set lan up");
    host.namespace.run("ip route add 192.168.77.0/24 dev lan");
    docker.run("network create --subnet 10.20.0.0/24 mine");
    // With its first container a bridge gets a link-local address, which stays.
    drop(docker.container("first", "--network mine"));
    docker.run("rm --force first");
    wait_for("the bridge to notice that it is empty again", SOON, || {
        let routes = host.namespace.run("ip route show 10.20.0.0/24");
        routes.contains("linkdown").then_some(())
    });
    let look = || tombolo_tests::footprint::Footprint::of(host, Some(docker));
    let before = look();

    // Every Docker host starts with the same subnet.
    for number in [0, 1] {
        town.verb(number, "publish bridge").refused(
            4,
            &[
                "every Docker host starts with it",
                "tombolo docker create app",
                "\"bip\": \"10.240.",
            ],
        );
    }
    // On top of the underlay, of a route, of the overlay, of another member's subnet.
    town.verb(0, "create a --subnet 203.0.113.0/25")
        .refused(4, &["reaches through eth0", "--subnet"]);
    town.verb(0, "create a --subnet 192.168.77.0/25")
        .refused(4, &["reaches through lan"]);
    town.verb(0, "create a --subnet 10.20.0.0/25")
        .refused(4, &["reaches through br-"]);
    town.verb(0, "create a --subnet 172.27.5.0/24")
        .refused(4, &["172.27.0.0/16", "members"]);
    town.json(1, "create taken --subnet 10.30.0.0/24");
    wait_for("the other's route", SOON, || {
        host.namespace
            .run("ip route")
            .contains("10.30.0.0/24")
            .then_some(())
    });
    town.verb(0, "create a --subnet 10.30.0.0/24")
        .refused(4, &["routed to h2"]);
    town.json(1, "rm taken");
    let member_routes = |setting| {
        let set = ["network", "set", network, "--member-routes", setting];
        town.overlay.controller.verb(&set).ok();
    };
    member_routes("off");
    town.verb(0, "publish mine")
        .refused(4, &["may not publish"]);
    town.verb(0, "create a").refused(4, &["may not publish"]);
    member_routes("auto");
    town.verb(0, "create mine")
        .refused(4, &["exists already", "publish mine"]);
    town.verb(0, "rm mine").refused(4, &["not made by"]);
    town.verb(0, "publish nowhere")
        .refused(1, &["no network called nowhere"]);
    town.verb(0, "publish host")
        .refused(4, &["only bridge networks"]);
    town.wait_for_footprint(0, &before);

    // What works, by word, and back.
    let published = town.json(0, "publish mine");
    assert_eq!(
        (&published["state"], &published["by"]),
        (&"published".into(), &"command".into())
    );
    assert_eq!(town.json(0, "publish mine")["state"], "published");
    let container = docker.container("web", "--network mine");
    wait_for_ping(&town.node(1).host.namespace, container.v4);
    docker.run("rm --force web");
    town.json(0, "unpublish mine");
    town.wait_for_footprint(0, &before);
}
