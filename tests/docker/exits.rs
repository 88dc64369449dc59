//! Containers of one host leave by an exit on another, and who calls them at their own host is answered from there.

use std::net::IpAddr;

use tombolo_tests::{
    docker::{self, ForwardPolicy},
    footprint::Footprint,
    netns::{Claim, Host, Lab, Lan, Namespace},
    overlay::Node,
    process::wait_for,
};

use crate::town::{SOON, Town, carries, seen_as, wait_until_seen};

/// A server that only the exit's own network leads to.
const FAR: [&str; 2] = ["192.0.2.80", "2001:db8:80::80"];
/// What that server sees of everybody in the exit's network.
const MASQUERADED: [&str; 2] = ["192.0.2.1", "2001:db8:80::1"];
/// Somebody on the underlay to whom hosts have a default route only.
const CALLER: [&str; 2] = ["198.51.100.7", "2001:db8:ffff::7"];
/// A transfer with packets of every size.
const BYTES: usize = 1 << 20;

#[test]
fn containers_leave_by_an_exit_elsewhere_and_published_ports_stay_reachable() {
    let Some(lab) = docker::lab(Claim::Shared) else {
        return;
    };
    let made = ["a", "x"].map(|name| docker::Docker::host(&lab, name, ForwardPolicy::Drop));
    let beyond = Beyond::behind(&lab, &made[1].0);
    for address in CALLER {
        let add = format!("ip addr add {address} dev lo");
        lab.underlay().run(&add);
    }
    let town = Town::of(lab, made.into());
    let (a, x) = (town.node(0), town.node(1));
    town.json(0, "create app");
    // One in the overlay, one that Docker hides behind its host.
    let app = town.dockers[0].container("app", "--network app --publish 8080:7777");
    let plain = town.dockers[0].container("plain", "--publish 8081:7777");
    for name in ["app", "plain"] {
        let serve = format!("exec --detach {name} httpd -p 7777 -h /etc");
        town.dockers[0].run(&serve);
    }
    let far = FAR.map(|text| text.parse::<IpAddr>().expect("an address"));
    let leaving = [(&app, far[0]), (&app, far[1]), (&plain, far[0])];
    let network = &town.overlay.network;
    for prefix in ["0.0.0.0/0", "::/0"] {
        town.overlay.controller.add_route(network, prefix, &x.id());
    }
    are_reached(&town, "before");
    for (container, to) in leaving {
        let seen = seen_as(&container.namespace, &beyond.server, to);
        assert_eq!(seen, None, "only the exit's network leads there");
    }
    let before = Footprint::of(&a.host, Some(&town.dockers[0]));

    allow_default(a, network, "on");

    for (container, to) in leaving {
        let seen = wait_until_seen(&container.namespace, &beyond.server, to);
        assert!(MASQUERADED.contains(&seen.to_string().as_str()), "{seen}");
        let whole = carries(&container.namespace, &beyond.server, to, BYTES);
        assert!(whole, "a transfer to {to}");
    }
    are_reached(&town, "while everything leaves by the exit");

    allow_default(a, network, "off");

    wait_for("the firewall to be as it was", SOON, || {
        let rules = a.host.namespace.run("nft list ruleset");
        (!rules.contains("tombolo_carried")).then_some(())
    });
    town.wait_for_footprint(0, &before);
    are_reached(&town, "afterwards");
    for (container, to) in leaving {
        assert_eq!(seen_as(&container.namespace, &beyond.server, to), None);
    }
}

/// The network that the exit is at home in, and what lies beyond it.
struct Beyond {
    server: Namespace,
    _router: Namespace,
    _switches: [Lan; 2],
}

impl Beyond {
    /// Has a host leave by a router that masquerades, to a server that knows that router alone.
    fn behind(lab: &Lab, exit: &Host) -> Self {
        let switches = [lab.lan("home"), lab.lan("provider")];
        let [home, provider] = &switches;
        let router = lab.machine_on(home, "router", "10.77.0.1/24");
        provider.connect(&router, "eth1", &format!("{}/24", MASQUERADED[0]));
        router.shell(&format!(
            "ip addr add fd77::1/64 dev eth0 nodad
             ip addr add {}/64 dev eth1 nodad
             sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
             nft add table inet nat
             nft add chain inet nat after '{{ type nat hook postrouting priority srcnat; }}'
             nft add rule inet nat after oifname eth1 masquerade",
            MASQUERADED[1]
        ));
        let server = lab.machine_on(provider, "server", &format!("{}/24", FAR[0]));
        server.run(&format!("ip addr add {}/64 dev eth0 nodad", FAR[1]));
        home.connect(&exit.namespace, "home0", "10.77.0.2/24");
        exit.namespace.shell(
            "ip addr add fd77::2/64 dev home0 nodad
             ip route del default
             ip -6 route del default
             ip route add default via 10.77.0.1
             ip -6 route add default via fd77::1",
        );
        Self {
            server,
            _router: router,
            _switches: switches,
        }
    }
}

/// Both published ports answer a caller from far away, at both of the host's own addresses.
#[track_caller]
fn are_reached(town: &Town, when: &str) {
    let host = &town.node(0).host;
    let own = [host.v4.to_string(), format!("[{}]", host.v6)];
    for (from, own) in CALLER.into_iter().zip(own) {
        for port in [8080, 8081] {
            let call = format!("curl -g -sS -m 5 --interface {from} http://{own}:{port}/passwd");
            let what = format!("{from} to reach {own}:{port} {when}");
            let got = wait_for(&what, SOON, || {
                let said = town.overlay.lab.underlay().try_run(&call);
                (said.code == 0).then_some(said.stdout)
            });
            assert!(got.contains("root"), "{got}");
        }
    }
}

#[track_caller]
fn allow_default(node: &Node, network: &str, value: &str) {
    let setting = format!("allow-default={value}");
    node.verb(&["set", network, &setting]).ok();
}
