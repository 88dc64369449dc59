//! `node docker`: containers on every host in one flat network of both families.

use std::net::IpAddr;

use tombolo_tests::{
    docker::{self, ForwardPolicy},
    footprint::Footprint,
    netns::Claim,
    process::wait_for,
};

use crate::town::{SOON, Town, addresses, carries, seen_as, wait_until_seen};

#[test]
fn containers_of_three_hosts_reach_each_other_with_addresses_of_their_own() {
    let Some(lab) = docker::lab(Claim::Shared) else {
        return;
    };
    let town = Town::new(
        lab,
        &[
            ForwardPolicy::Drop,
            ForwardPolicy::Accept,
            ForwardPolicy::Drop,
        ],
    );
    let before: Vec<_> = (0..3)
        .map(|number| Footprint::of(&town.node(number).host, Some(&town.dockers[number])))
        .collect();

    // A firewall that Docker 20.10 knows nothing of, as ufw sets it up.
    town.node(2).host.namespace.run("ip6tables -P FORWARD DROP");
    for number in 0..3 {
        let created = town.json(number, "create app");
        assert_eq!(created["state"], "published", "{created}");
        assert_eq!(
            (&created["bridge"], &created["mtu"]),
            (&"tmbbr1".into(), &1400.into())
        );
        assert_eq!(created["allocated"], true);
    }
    let containers: Vec<_> = town
        .dockers
        .iter()
        .map(|docker| docker.container("web", "--network app --publish 8080:7777"))
        .collect();

    // What the keeper of containers lets through, nobody else does.
    let host = &town.node(0).host.namespace;
    wait_for("one owner of each prefix", SOON, || {
        let programs = ["iptables-save", "ip6tables-save", "nft list ruleset"];
        let rules = programs.map(|program| host.run(program)).concat();
        (rules.contains("tombolo:1") && !rules.contains("carried")).then_some(())
    });

    // All six directions, from containers and from hosts, in both families.
    for (from, source) in containers.iter().enumerate() {
        for (to, target) in containers.iter().enumerate().filter(|(to, _)| *to != from) {
            for (own, address) in addresses(source).into_iter().zip(addresses(target)) {
                let seen = wait_until_seen(&source.namespace, &target.namespace, address);
                assert_eq!(seen, own, "container on h{from} to container on h{to}");
                let host = &town.node(from).host.namespace;
                let seen = wait_until_seen(host, &target.namespace, address);
                let own: [IpAddr; 2] = [town.node(from).v4().into(), town.node(from).v6().into()];
                assert!(
                    own.contains(&seen),
                    "host h{from} to container on h{to}: {seen}"
                );
            }
            let far = town.node(to);
            for (own, address) in addresses(source)
                .into_iter()
                .zip([far.v4().into(), far.v6().into()])
            {
                let seen = wait_until_seen(&source.namespace, &far.host.namespace, address);
                assert_eq!(seen, own, "container on h{from} to host h{to}");
            }
        }
    }
    for address in addresses(&containers[1]) {
        assert!(carries(
            &containers[0].namespace,
            &containers[1].namespace,
            address,
            1 << 20
        ));
    }

    // The world: with the host's address, in both families.
    let world = town.overlay.lab.underlay();
    let host = &town.node(0).host;
    for (address, own) in [
        ("203.0.113.1", IpAddr::V4(host.v4)),
        ("2001:db8::1", IpAddr::V6(host.v6)),
    ] {
        let address = address.parse().expect("an address");
        assert_eq!(
            wait_until_seen(&containers[0].namespace, world, address),
            own
        );
    }

    // A neighbour on the LAN who adds a route is refused; a published port is open to him.
    let neighbour = town.overlay.lab.host("neighbour");
    let subnet = |index: usize| {
        let listed = town.listed(0, "app").expect("it is listed");
        listed["subnets"][index]["prefix"]
            .as_str()
            .expect("a prefix")
            .to_owned()
    };
    neighbour
        .namespace
        .run(&format!("ip route add {} via {}", subnet(0), host.v4));
    neighbour
        .namespace
        .run(&format!("ip route add {} via {}", subnet(1), host.v6));
    for address in addresses(&containers[0]) {
        assert_eq!(
            seen_as(&neighbour.namespace, &containers[0].namespace, address),
            None
        );
    }
    let published = format!("http://{}:8080/", host.v4);
    town.dockers[0].run("exec --detach web httpd -p 7777 -h /etc");
    let got = wait_for("the published port", SOON, || {
        let said = neighbour
            .namespace
            .try_run(&format!("curl -sS -m 2 {published}passwd"));
        (said.code == 0).then_some(said.stdout)
    });
    assert!(got.contains("root"));

    // The policy is what it was, and so is everything else once the networks are gone.
    let forward = host.namespace.run("iptables -S FORWARD");
    assert!(forward.contains("-P FORWARD DROP"));
    let said = town.verb(0, "create app").ok();
    let words: Vec<_> = said.lines().map(|line| line[..8].trim()).collect();
    assert_eq!(
        words,
        ["network", "ipv4", "ipv6", "route", "firewall", "use it"],
        "{said}"
    );
    assert!(said.contains("published"), "{said}");
    let said = town.verb(0, "ls").ok();
    assert!(
        said.lines()
            .any(|line| line.starts_with("app ") && line.contains("published  ok")),
        "{said}"
    );
    let again = town.json(0, "create app");
    assert_eq!(
        again["subnets"],
        town.listed(0, "app").expect("listed")["subnets"]
    );
    town.verb(0, "create app --internal")
        .refused(4, &["exists already"]);
    town.verb(0, "check").ok();
    town.verb(0, "rm app").refused(4, &["web", "--force"]);
    town.node(0)
        .verb(&["leave", &town.overlay.network])
        .refused(4, &["web", "--force"]);
    let removed = town.json(0, "rm app --force");
    assert_eq!(removed["disconnected"][0], "web");
    town.verb(0, "rm app")
        .refused(1, &["no network called app"]);
    for docker in &town.dockers {
        docker.run("rm --force web");
    }
    town.json(2, "rm app");
    town.node(1).verb(&["leave", &town.overlay.network]).ok();
    town.wait_for_footprint(1, &town.before[1]);
    town.node(2)
        .host
        .namespace
        .run("ip6tables -P FORWARD ACCEPT");
    for number in [0, 2] {
        town.wait_for_footprint(number, &before[number]);
    }
}

#[test]
fn an_internal_network_reaches_the_overlay_and_nothing_else_and_one_can_do_without_ipv6() {
    let Some(lab) = docker::lab(Claim::Shared) else {
        return;
    };
    let town = Town::new(lab, &[ForwardPolicy::Drop, ForwardPolicy::Drop]);

    let created = town.json(0, "create db --internal --no-ipv6 --route-metric 20");
    town.verb(0, "create db --internal --no-ipv6")
        .refused(4, &["exists already"]);
    assert_eq!(created["subnets"].as_array().map(Vec::len), Some(1));
    let container = town.dockers[0].container("db", "--network db");
    let far = town.node(1);

    let seen = wait_until_seen(&container.namespace, &far.host.namespace, far.v4().into());
    assert_eq!(seen, IpAddr::V4(container.v4));
    let routes = far.json(&["routes"]);
    let prefix = &created["subnets"][0]["prefix"];
    let routed = routes.as_array().and_then(|routes| {
        let mut of_it = routes.iter().filter(|route| route["prefix"] == *prefix);
        of_it.next()
    });
    assert_eq!(routed.expect("it is routed")["metric"], 20, "{routes}");
    let world = town.overlay.lab.underlay();
    let gateway = "203.0.113.1".parse().expect("an address");
    assert_eq!(seen_as(&container.namespace, world, gateway), None);
}

#[test]
fn two_overlay_networks_on_the_same_hosts_share_neither_subnets_nor_containers() {
    let Some(lab) = docker::lab(Claim::Shared) else {
        return;
    };
    let town = Town::new(lab, &[ForwardPolicy::Drop, ForwardPolicy::Drop]);
    let controller = &town.overlay.controller;
    let red = &town.overlay.network;
    let blue = &controller.create_network("blue", "172.29.0.0/16");
    for number in [0, 1] {
        let node = town.node(number);
        node.join(blue, controller).ok();
        controller.authorize(blue, &node.id());
        node.wait_for_addresses("tmb1");
    }

    town.verb(0, "create red").refused(2, &["--network ID"]);
    for number in [0, 1] {
        town.json(number, &format!("create red --network {red}"));
        town.json(number, &format!("create blue --network {blue}"));
    }
    let [near, far] = [0, 1].map(|number| {
        ["red", "blue"]
            .map(|color| town.dockers[number].container(color, &format!("--network {color}")))
    });

    for color in [0, 1] {
        for (own, address) in addresses(&near[color])
            .into_iter()
            .zip(addresses(&far[color]))
        {
            let seen = wait_until_seen(&near[color].namespace, &far[color].namespace, address);
            assert_eq!(seen, own);
        }
        for address in addresses(&far[1 - color]) {
            let far = &far[1 - color].namespace;
            assert_eq!(seen_as(&near[color].namespace, far, address), None);
        }
    }
}
