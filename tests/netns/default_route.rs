//! Default routes into the overlay: hosts and containers reach the Internet by an exit, and nothing else changes its way.

mod leaving;

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use serde_json::Value;
use tombolo_tests::{
    footprint::Footprint,
    netns::{Capture, Claim, Host, Lab, Namespace},
    overlay::{Controller, Node, Overlay, Pings, SOON, answers, wait_for_ping},
    process::{Process, Said, figure, wait_for},
};

/// A host of the Internet, to which everybody has a default route only.
const OUTSIDE: [&str; 2] = ["198.51.100.7", "2001:db8:ffff::7"];
const DEFAULTS: [&str; 2] = ["0.0.0.0/0", "::/0"];
/// Between two pings.
const BEAT: Duration = Duration::from_millis(20);
const FAILOVER: Duration = Duration::from_secs(3);
const PUT_BACK: Duration = Duration::from_secs(1);

#[test]
fn hosts_and_containers_leave_by_the_exit_while_the_underlay_stays_what_it_is() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let mut overlay = with_internet(lab, &["a", "x"]);
    let [a, x] = overlay.nodes.as_slice() else {
        panic!("two nodes")
    };
    let (_, container) = overlay.containers_behind(a, 1);
    let outside = outside();
    wait_for_ping(&container.namespace, x.v4());
    wait_for_ping(&a.host.namespace, outside[0]);
    add_defaults(&overlay, x);

    // Not before the owner of the host says so, and then `routes` says what to do.
    let reasons = wait_for("the routes to be known", SOON, || {
        let reasons = DEFAULTS.map(|prefix| reason(a, prefix));
        reasons.iter().all(Option::is_some).then_some(reasons)
    });
    for reason in reasons.into_iter().flatten() {
        assert!(reason.contains("allow-default=on"), "{reason}");
    }
    let why = a.verb(&["why", OUTSIDE[0]]).stdout;
    let mend = format!("-> tombolo set {} allow-default=on", overlay.network);
    assert!(why.contains(&mend), "{why}");
    let network = a.network(&overlay.network).expect("a member");
    assert_eq!(
        network["clashes"],
        Value::Array(Vec::new()),
        "a choice is no clash"
    );
    wait_for("the bridge to settle", SOON, || {
        let said = a.host.namespace.run("ip -br link show dev br1");
        said.contains(" UP ").then_some(())
    });
    let before = Footprint::of(&a.host, None);

    allow(a, &overlay.network, true);

    wait_for_defaults(a, "installed");
    let seen = Capture::start(
        overlay.lab.underlay(),
        "br0",
        "icmp or icmp6",
        overlay.lab.dir(),
    );
    for from in [&a.host.namespace, &container.namespace] {
        for to in outside {
            wait_for_ping(from, to);
        }
    }
    let seen = seen.stop();
    let by_exit = [IpAddr::from(x.host.v4), x.host.v6.into()];
    for (exit, to) in by_exit.into_iter().zip(outside) {
        assert!(
            has_request(&seen.lines, exit, to),
            "{exit} > {to}: {:?}",
            seen.lines
        );
    }
    for (own, to) in [IpAddr::from(a.host.v4), a.host.v6.into()]
        .into_iter()
        .zip(outside)
    {
        assert!(
            !has_request(&seen.lines, own, to),
            "{own} > {to}: {:?}",
            seen.lines
        );
    }

    // The peers are where they were: nothing goes round, and nothing goes by itself.
    let peers = a.json(&["peers"]);
    assert_eq!(peers[0]["path"]["kind"], "direct", "{peers}");
    let endpoint = peers[0]["path"]["endpoint"].as_str().unwrap_or_default();
    let is_underlay = endpoint.contains("203.0.113.") || endpoint.contains("[2001:db8::");
    assert!(is_underlay, "{peers}");
    assert_eq!(a.standing(&overlay.network).as_deref(), Some("ok"));
    assert_eq!(findings(a, "default"), ["ok", "ok"]);
    assert_eq!(findings(x, "exit"), ["ok", "ok"]);

    callers_are_answered(overlay.lab.underlay(), a, &container);

    // Somebody removes a rule, and it is back.
    let rules = policy(&a.host);
    let removed = Instant::now();
    a.host.namespace.run("ip rule del priority 32702");
    wait_for("the rule to be back", SOON, || {
        (policy(&a.host) == rules).then_some(())
    });
    figure(
        "removed policy rule to back again",
        removed.elapsed(),
        PUT_BACK,
    );

    // Killed, the host is on its own again; started, everything is there once.
    overlay.nodes[0].kill();
    wait_for_ping(&overlay.nodes[0].host.namespace, outside[0]);
    overlay.nodes[0].up();
    let [a, x] = overlay.nodes.as_slice() else {
        panic!("two nodes")
    };
    wait_for_defaults(a, "installed");
    wait_for_ping(&container.namespace, outside[0]);
    wait_for_ping(&container.namespace, outside[1]);
    assert_eq!(policy(&a.host), rules);

    allow(a, &overlay.network, false);
    wait_for_defaults(a, "not_installed");
    wait_for("the firewall to be as it was", SOON, || {
        let rules = a.host.namespace.run("nft list ruleset");
        (!rules.contains("tombolo_carried")).then_some(())
    });
    Footprint::of(&a.host, None).assert_same_as(&before);
    wait_for_ping(&a.host.namespace, outside[0]);
    wait_for_ping(&a.host.namespace, x.v4());

    // What ends with the daemon ends whole, at both.
    allow(a, &overlay.network, true);
    wait_for_defaults(a, "installed");
    overlay.nodes[0].stop();
    overlay.nodes[1].stop();
    for node in &overlay.nodes {
        assert!(
            !policy(&node.host).contains("32702"),
            "{}",
            policy(&node.host)
        );
        let rules = node.host.namespace.run("nft list ruleset");
        assert!(!rules.contains("tombolo"), "{rules}");
    }
}

#[test]
fn when_an_exit_dies_the_next_one_takes_over() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let mut overlay = with_internet(lab, &["first", "second", "a"]);
    for (node, metric) in overlay.nodes.iter().take(2).zip(["100", "200"]) {
        let via = node.id();
        let route = ["route", "add", &overlay.network, "0.0.0.0/0"];
        let how = ["--via", &via, "--failover", "--metric", metric];
        let _ = overlay.controller.verb(&[&route[..], &how].concat()).ok();
    }
    let [outside, outside_v6] = outside();
    let a = &overlay.nodes[2];
    wait_for("both routes", SOON, || {
        let routes = a.json(&["routes"]);
        let routes = routes.as_array()?.iter();
        (routes
            .filter(|route| route["prefix"] == DEFAULTS[0])
            .count()
            == 2)
            .then_some(())
    });
    allow(a, &overlay.network, true);
    wait_for("the route to be installed", SOON, || {
        let said = a.host.namespace.run("ip route show table 93");
        said.contains("default").then_some(())
    });
    wait_for_ping(&a.host.namespace, outside);
    let log = overlay.lab.dir().join("exits");
    let pings = Pings::start_every(BEAT, &a.host.namespace, outside, &log);
    wait_for("answers", SOON, || (pings.answers() > 10).then_some(()));
    // A family that nobody carries leaves as before, and doctor says that it does.
    assert_eq!(findings(a, "default"), ["warning"]);
    wait_for_ping(&a.host.namespace, outside_v6);

    let lost = seconds();
    overlay.nodes[0].kill();
    let back = wait_for("answers by the other exit", FAILOVER * 5, || {
        pings.times().into_iter().find(|at| *at > lost + 0.06)
    });

    figure(
        "death of an exit to packets by the other",
        Duration::from_secs_f64(back - lost),
        FAILOVER,
    );
    let seen = Capture::start(overlay.lab.underlay(), "br0", "icmp", overlay.lab.dir());
    wait_for_ping(&overlay.nodes[2].host.namespace, outside);
    let by: IpAddr = overlay.nodes[1].host.v4.into();
    let seen = seen.stop();
    assert!(has_request(&seen.lines, by, outside), "{:?}", seen.lines);
}

/// Who is to be reached by name must not depend on an exit that is dead.
#[test]
fn a_controller_is_found_by_name_while_the_exit_is_dead() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let hosts = ["a", "x"].map(|name| lab.host(name));
    add_internet(&lab);
    let other = Controller::start_fresh(lab.host("other"));
    let network = other.create_network("other", "172.29.0.0/16");
    let _resolver = Resolver::named(&hosts[0].namespace, OUTSIDE[0]);
    let names = answer_names(
        lab.underlay(),
        other.host.v4.into(),
        &lab.dir().join("names.log"),
    );
    let mut overlay = Overlay::on_hosts(lab, hosts.into(), "");
    let [a, x] = overlay.nodes.as_slice() else {
        panic!("two nodes")
    };
    add_defaults(&overlay, x);
    allow(a, &overlay.network, true);
    wait_for_defaults(a, "installed");
    overlay.nodes[1].kill();
    let a = &overlay.nodes[0];
    assert!(
        !answers(&a.host.namespace, outside()[0]),
        "nothing else gets out"
    );

    a.verb(&["join", &network, "--controller", "ctl.example.org:9791"])
        .ok();

    assert_eq!(a.standing(&network).as_deref(), Some("pending"));
    let log = names.log();
    let asker = a.host.v4.to_string();
    assert!(log.lines().any(|line| line == asker), "asked from {log}");
}

/// Default routes of both families by this exit.
fn add_defaults(overlay: &Overlay, exit: &Node) {
    for prefix in DEFAULTS {
        let _ = overlay
            .controller
            .add_route(&overlay.network, prefix, &exit.id());
    }
}

fn outside() -> [IpAddr; 2] {
    OUTSIDE.map(|text| text.parse().expect("an address"))
}

/// The resolver of a host, as `ip netns exec` shows it to what runs there.
struct Resolver(PathBuf);

impl Resolver {
    fn named(of: &Namespace, resolver: &str) -> Self {
        let dir = Path::new("/etc/netns").join(of.name());
        fs::create_dir_all(&dir).expect("root may write there");
        let line = format!("nameserver {resolver}\n");
        fs::write(dir.join("resolv.conf"), line).expect("root may write there");
        Self(dir)
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
        let _ = fs::remove_dir("/etc/netns");
    }
}

/// A resolver that answers every question for an IPv4 address with this one, and prints who asked.
fn answer_names(inside: &Namespace, address: IpAddr, log: &Path) -> Process {
    let script = format!(
        "import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('{}', 53))
print('listening', flush=True)
while True:
    asked, by = s.recvfrom(512)
    end = asked.index(0, 12) + 5
    is_v4 = asked[end - 4:end - 2] == bytes([0, 1])
    found = bytes([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4]) + socket.inet_aton('{address}')
    head = asked[:2] + bytes([0x81, 0x80, 0, 1, 0, is_v4, 0, 0, 0, 0])
    s.sendto(head + asked[12:end] + (found if is_v4 else bytes()), by)
    print(by[0], flush=True)",
        OUTSIDE[0]
    );
    let mut command = inside.command("python3");
    let process = Process::spawn("a resolver", command.args(["-c", &script]), log);
    wait_for("the resolver to listen", SOON, || {
        process.log().contains("listening").then_some(())
    });
    process
}

#[test]
fn doctor_finds_what_keeps_an_exit_from_letting_others_out_and_who_is_in_the_way() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let hosts = ["a", "x"].map(|name| lab.host(name));
    add_internet(&lab);
    // The owner of these hosts looks after the firewall.
    let overlay = Overlay::on_hosts(lab, hosts.into(), "[host]\nfirewall = false\n");
    let [a, x] = overlay.nodes.as_slice() else {
        panic!("two nodes")
    };
    let [outside, _] = outside();
    add_defaults(&overlay, x);
    allow(a, &overlay.network, true);
    wait_for_defaults(a, "installed");
    wait_for("doctor at the exit", SOON, || {
        (findings(x, "exit") == ["broken", "broken"]).then_some(())
    });
    assert!(!answers(&a.host.namespace, outside));

    mend(x, "exit");

    assert_eq!(findings(x, "exit"), ["ok", "ok"]);
    wait_for_ping(&a.host.namespace, outside);
    x.host.namespace.shell(
        "nft add table inet fw
         nft add chain inet fw forward '{ type filter hook forward priority 0; policy drop; }'",
    );
    assert!(findings(x, "exit").contains(&"broken".to_owned()));
    assert!(!answers(&a.host.namespace, outside));
    mend(x, "exit");
    wait_for_ping(&a.host.namespace, outside);
    x.host.namespace.run("ip -6 route del default");
    assert!(
        findings(x, "exit").contains(&"broken".to_owned()),
        "no way out for IPv6"
    );

    for rule in [
        "from all fwmark 0x1050 lookup 7",
        "from 192.0.2.9 lookup 93",
    ] {
        a.host
            .namespace
            .run(&format!("ip rule add {rule} priority 5"));
        wait_for("the rule to be told of", SOON, || {
            (findings(a, "policy") == ["warning"]).then_some(())
        });
        mend(a, "policy");
        wait_for("the rule to be gone", SOON, || {
            findings(a, "policy").is_empty().then_some(())
        });
    }
}

/// Who is outside calls the host and its container at the host's own address, and is answered from there.
fn callers_are_answered(
    outside: &Namespace,
    a: &Node,
    container: &tombolo_tests::netns::Container,
) {
    let inside = &a.host.namespace;
    inside.shell(&format!(
        "nft add table ip published
         nft add chain ip published in '{{ type nat hook prerouting priority dstnat; }}'
         nft add rule ip published in iifname eth0 tcp dport 8080 dnat to {}:8080",
        container.v4
    ));
    let own = [IpAddr::from(a.host.v4), a.host.v6.into()];
    for (from, to) in OUTSIDE.into_iter().zip(own) {
        let said = outside.try_run(&format!("ping -n -q -c 3 -i 0.2 -W 1 -I {from} {to}"));
        assert!(said.stdout.contains(" 0% packet loss"), "{said:?}");
    }
    let servers = [
        serve(inside, 2222, &a.host.dir.join("2222.log")),
        serve(&container.namespace, 8080, &container.log("8080")),
    ];
    for port in [2222, 8080] {
        let script = format!(
            "import socket
s = socket.create_connection(('{}', {port}), 5, ('{}', 0))
print(s.recv(9).decode())",
            a.host.v4, OUTSIDE[0]
        );
        let mut call = outside.command("python3");
        let said = Said::by(call.args(["-c", &script])).ok();
        assert_eq!(said.trim(), "hello");
    }
    drop(servers);
    inside.run("nft delete table ip published");
}

fn serve(inside: &Namespace, port: u16, log: &Path) -> Process {
    let script = format!(
        "import socket
s = socket.create_server(('', {port}))
print('listening', flush=True)
while True:
    c, _ = s.accept()
    c.sendall(b'hello')
    c.close()"
    );
    let mut command = inside.command("python3");
    let process = Process::spawn("a server", command.args(["-c", &script]), log);
    wait_for("the server to listen", SOON, || {
        process.log().contains("listening").then_some(())
    });
    process
}

fn with_internet(lab: Lab, names: &[&str]) -> Overlay {
    add_internet(&lab);
    Overlay::new(lab, names)
}

/// The underlay's router is the host outside, too.
fn add_internet(lab: &Lab) {
    for address in OUTSIDE {
        lab.underlay().run(&format!("ip addr add {address} dev lo"));
    }
}

fn allow(node: &Node, network: &str, on: bool) {
    let value = if on { "on" } else { "off" };
    let _ = node
        .verb(&["set", network, &format!("allow-default={value}")])
        .ok();
}

fn wait_for_defaults(node: &Node, state: &str) {
    wait_for(&format!("default routes to be {state}"), SOON, || {
        let routes = node.json(&["routes"]);
        let routes = routes.as_array()?.iter();
        let defaults = routes.filter(|route| DEFAULTS.iter().any(|it| route["prefix"] == *it));
        (defaults.filter(|route| route["state"] == state).count() == 2).then_some(())
    });
}

fn reason(node: &Node, prefix: &str) -> Option<String> {
    let routes = node.json(&["routes"]);
    let mut routes = routes.as_array()?.iter();
    let route = routes.find(|route| route["prefix"] == prefix)?;
    route["reason"].as_str().map(str::to_owned)
}

fn has_request(lines: &[String], from: IpAddr, to: IpAddr) -> bool {
    let way = format!("{from} > {to}: ICMP");
    let mut lines = lines.iter();
    lines.any(|line| line.contains(&way) && line.contains("echo request"))
}

fn policy(host: &Host) -> String {
    let inside = &host.namespace;
    inside.run("ip rule show") + &inside.run("ip -6 rule show")
}

/// How doctor's findings of one check stand.
fn findings(node: &Node, check: &str) -> Vec<String> {
    let of = |finding: Value| finding["health"].as_str().map(str::to_owned);
    doctor(node, check).into_iter().filter_map(of).collect()
}

fn doctor(node: &Node, check: &str) -> Vec<Value> {
    let said = node.verb(&["doctor", "--json"]);
    let report: Value = serde_json::from_str(&said.stdout).expect("JSON");
    let findings = report["findings"].as_array().cloned().unwrap_or_default();
    let of_check = |finding: &Value| finding["check"] == check;
    findings.into_iter().filter(of_check).collect()
}

fn mend(node: &Node, check: &str) {
    for finding in doctor(node, check) {
        if finding["health"] != "ok" {
            let mend = finding["mend"].as_str().expect("what mends it");
            node.host.namespace.shell(mend);
        }
    }
}

fn seconds() -> f64 {
    SystemTime::UNIX_EPOCH
        .elapsed()
        .map_or(0.0, |since| since.as_secs_f64())
}
