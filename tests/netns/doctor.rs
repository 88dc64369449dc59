//! `node doctor` against hosts that are broken for real, and mended by the commands that it prints.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use serde_json::Value;
use tombolo_tests::{
    nat::Nat,
    netns::{Claim, Host, Lab},
    overlay::{Controller, Node, Overlay, SOON, binary, wait_for_ping},
    process::{Process, Said, wait_for},
};

#[test]
fn doctor_finds_a_host_in_order_and_works_without_a_daemon() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let mut overlay = Overlay::new(lab, &["a", "b"]);
    let [a, b] = overlay.nodes.as_mut_slice() else {
        panic!("two nodes")
    };
    wait_for_ping(&a.host.namespace, b.v4());

    let healthy = wait_for("everything to be in order", SOON, || {
        let (code, report) = doctor(a);
        (code == 0 && report["healthy"] == true).then_some(report)
    });
    for check in [
        "daemon",
        "tun",
        "clock",
        "disk",
        "port",
        "firewall",
        "forwarding",
        "rp_filter",
        "underlay",
        "reachability",
        "controller",
        "mtu",
    ] {
        assert_ne!(worst(&healthy, check), "missing", "{check}: {healthy}");
    }

    // The disk is the one that the daemon writes to, whatever whoever asks believes.
    let mut elsewhere = a.command(&["doctor", "--json"]);
    elsewhere.env("TOMBOLO_STATE_DIR", "/nowhere");
    let said = elsewhere.output().expect("the binary starts").stdout;
    let said = String::from_utf8(said).expect("text");
    let kept = a.state_dir();
    assert!(
        said.contains(&format!("left for {}", kept.display())),
        "{said}"
    );

    a.stop();

    let (code, without) = doctor(a);
    assert_eq!(code, 1);
    assert_eq!(mend_of(&without, "daemon"), "systemctl start tombolo");
    assert_eq!(worst(&without, "port"), "ok");
}

#[test]
fn what_is_broken_on_a_host_is_mended_by_the_command_that_doctor_prints() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let overlay = Overlay::new(lab, &["a", "b"]);
    let [a, b] = &overlay.nodes[..] else {
        panic!("two nodes")
    };
    wait_for_ping(&a.host.namespace, b.v4());
    overlay
        .controller
        .add_route(&overlay.network, "172.28.9.0/24", &a.id());
    wait_for("the route", SOON, || {
        let forwarding = a.host.namespace.run("sysctl -n net.ipv4.ip_forward");
        (forwarding.trim() == "1").then_some(())
    });
    let host = |script: &str| a.host.namespace.shell(script);

    // The laboratory's hosts filter strictly by reverse path.
    is_mended(a, "rp_filter", "warning");

    host("ip link set eth0 mtu 1200");
    is_mended(a, "underlay", "broken");
    host("ip link set eth0 mtu 1500");

    host("sysctl -w net.ipv4.ip_forward=0");
    is_mended(a, "forwarding", "broken");

    host("ip link set tmb0 mtu 1300");
    is_mended(a, "mtu", "warning");

    // Closed by default, by a rule, and by a chain that the first one leads to.
    for [policy, rule] in [
        ["drop", "ct state established,related accept"],
        [
            "accept",
            "meta l4proto '{ udp, tcp }' th dport '{ 53, 9790 }' drop",
        ],
        ["accept", "jump closed"],
    ] {
        host(&format!(
            "nft add table inet fw
             nft add chain inet fw closed
             nft add rule inet fw closed iifname lo accept
             nft add rule inet fw closed ct state established accept
             nft add rule inet fw closed udp dport 1-65535 drop
             nft add rule inet fw closed tcp dport '{{ 80, 9790 }}' drop
             nft add chain inet fw in '{{ type filter hook input priority 0; policy {policy}; }}'
             nft add rule inet fw in {rule}"
        ));
        assert!(!takes_tcp(&b.host, &a.host), "{rule}");
        is_mended(a, "firewall", "warning");
        assert!(takes_tcp(&b.host, &a.host), "{rule}");
        host("nft delete table inet fw");
    }

    host(
        "ip link add elsewhere type veth peer name nowhere
         ip link set nowhere up
         ip address add 172.28.77.1/24 dev elsewhere
         ip link set elsewhere up",
    );
    overlay
        .controller
        .add_route(&overlay.network, "172.28.77.0/24", &b.id());
    is_mended(a, "clash", "warning");
}

#[test]
fn a_clock_that_is_behind_is_found_and_the_command_sets_it_to_what_a_controller_has_signed() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let overlay = Overlay::new(lab, &["a"]);
    let [a] = &overlay.nodes[..] else {
        panic!("one node");
    };
    let late = a_clock_behind(overlay.lab.dir());
    let look = |clock: Option<&Path>| {
        let mut command = a.host.namespace.command("env");
        if let Some(clock) = clock {
            let mut preload = OsString::from("LD_PRELOAD=");
            preload.push(clock);
            command.arg(preload);
        }
        a.environment(&mut command);
        let said = Said::by(command.arg(binary("node")).args(["doctor", "--json"]));
        serde_json::from_str::<Value>(&said.stdout).expect("JSON")
    };
    assert_eq!(worst(&look(None), "clock"), "ok");

    let behind = look(Some(&late));

    assert_eq!(worst(&behind, "clock"), "broken", "{behind}");
    let mend = of(&behind, "clock").next().expect("a finding")["mend"].clone();
    let mend = mend.as_str().expect("a command");
    // The machine's clock is not this test's to set; where the command would set it can be seen.
    let set_to = mend.split('@').nth(1).and_then(|rest| {
        let seconds = rest.trim_end_matches(')');
        seconds.parse::<u64>().ok()
    });
    let off = now().abs_diff(set_to.expect("a time"));
    assert!(off < 60, "{mend} is {off} s off");
    assert_eq!(worst(&look(None), "clock"), "ok");
}

#[test]
fn doctor_has_a_controller_call_this_host_and_says_what_opens_the_port() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let overlay = Overlay::new(lab, &["a"]);
    let a = &overlay.nodes[0];
    let wait_for_outside = |said: &str| wait_for_outside(a, said);
    let open = "9790 is reachable from outside over IPv4";
    let closed = "9790 is not reachable from outside over IPv4";
    wait_for_outside(open);

    // Here. Answers pass, so everything that this host begins goes on.
    a.host.namespace.shell(
        "nft add table inet fw
         nft add chain inet fw in '{ type filter hook input priority 0; policy drop; }'
         nft add rule inet fw in ct state established,related accept
         nft add rule inet fw in meta l4proto ipv6-icmp accept",
    );
    let mend = command(&wait_for_outside(closed));
    assert_eq!(mend, "nft insert rule inet fw in udp dport 9790 accept");
    a.host.namespace.shell(&mend);
    wait_for_outside(open);

    // In front of it, as a provider's firewall does.
    overlay.lab.underlay().shell(&format!(
        "nft add table bridge front
         nft add chain bridge front pass '{{ type filter hook forward priority 0; }}'
         nft add rule bridge front pass ip daddr {} udp dport 9790 udp sport != {{ 9790, 9793, 9794 }} drop",
        a.host.v4
    ));
    let finding = wait_for_outside(closed);
    let mend = finding["mend"].as_str().expect("what mends it");
    assert!(mend.contains("in the firewall in front of it"), "{mend}");
    overlay.lab.underlay().run("nft delete table bridge front");
    wait_for_outside(open);
}

#[test]
fn behind_a_nat_doctor_takes_the_controller_that_gets_in_for_nobody_else() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let router = lab.router("router", 1, Nat::AddressRestricted);
    let inner = lab.host_behind(&router, "a", 2);
    let overlay = Overlay::on_hosts(lab, vec![inner], "");

    let said = "9790 is reachable from outside over IPv4 for the controller that tried";
    let finding = wait_for_outside(&overlay.nodes[0], said);

    assert_eq!(finding["health"], "unknown", "{finding}");
}

#[test]
fn what_keeps_a_node_from_its_network_is_mended_by_the_command_that_doctor_prints() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let mut overlay = Overlay::new(lab, &["a"]);
    let mut late = Node::new(overlay.lab.host("late"));
    late.up();
    late.join(&overlay.network, &overlay.controller).ok();
    wait_until(&late, "controller", "broken");
    let (_, report) = doctor(&late);
    let mend = mend_of(&report, "controller");
    let words: Vec<&str> = mend.split_whitespace().collect();
    assert_eq!(words.first(), Some(&"tombolo-controller"), "{mend}");
    overlay.controller.verb(&words[1..]).ok();
    wait_until(&late, "controller", "ok");

    overlay.controller.kill();
    wait_until(&late, "controller", "warning");
    let (_, report) = doctor(&late);
    assert_eq!(
        mend_of(&report, "controller"),
        "systemctl start tombolo-controller"
    );
    overlay.controller.serve();
    wait_until(&late, "controller", "ok");
    overlay.nodes.push(late);
}

#[test]
fn ports_that_others_have_and_disks_that_take_nothing_are_found() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let controller = Controller::start(lab.host("ctl"));
    let mut overlay = Overlay::around(controller, lab, Vec::new(), "");
    let mut node = Node::new(overlay.lab.host("a"));
    let other = occupy("udp", &node.host);
    wait_until(&node, "port", "broken");
    let (_, report) = doctor(&node);
    let mend = mend_of(&report, "port");
    let flags: Vec<&str> = mend.split_whitespace().skip(2).collect();
    assert_eq!(flags, ["--port", "9791"], "{mend}");
    node.up_with(&flags);
    wait_until(&node, "port", "ok");
    node.stop();
    drop(other);

    // UDP alone is not all: streams are taken on TCP.
    let other = occupy("tcp", &node.host);
    node.up();
    wait_until(&node, "port", "warning");
    let (_, report) = doctor(&node);
    assert_eq!(mend_of(&report, "port"), "systemctl restart tombolo");
    drop(other);
    node.stop();
    node.up();
    wait_until(&node, "port", "ok");

    // While the daemon runs, the disk is the one that it writes to.
    node.stop();
    let disk = Disk::mount(overlay.lab.dir().join("disk"));
    let look = || {
        let mut command = node.command(&["--state-dir"]);
        let said = Said::by(command.arg(&disk.0).args(["doctor", "--json"]));
        serde_json::from_str::<Value>(&said.stdout).expect("JSON")
    };
    assert_eq!(worst(&look(), "disk"), "ok", "{}", look());
    run(&format!("mount -o remount,ro {}", disk.0.display()));
    assert_eq!(worst(&look(), "disk"), "broken");
    run(&mend_of(&look(), "disk"));
    assert_eq!(worst(&look(), "disk"), "ok", "{}", look());
    let full = disk.0.join("full");
    fs::write(&full, vec![0; 70 << 20]).expect("room");
    assert_eq!(worst(&look(), "disk"), "broken");
    // Only its owner knows what may be removed; it is shown what there is.
    let shown = run(&mend_of(&look(), "disk"));
    assert!(shown.contains(&*disk.0.to_string_lossy()), "{shown}");
    fs::remove_file(full).expect("it is there");
    assert_eq!(worst(&look(), "disk"), "ok", "{}", look());
    overlay.nodes.push(node);
}

/// Whether doctor finds something, and is content after its command was run.
#[track_caller]
fn is_mended(node: &Node, check: &str, health: &str) {
    wait_until(node, check, health);
    let (_, report) = doctor(node);
    for finding in of(&report, check).filter(|finding| finding["health"] != "ok") {
        let mend = command(finding);
        match mend.strip_prefix("tombolo ") {
            Some(verb) => {
                let words: Vec<&str> = verb.split_whitespace().collect();
                node.verb(&words).ok()
            }
            None => node.host.namespace.shell(&mend),
        };
    }
    wait_until(node, check, "ok");
}

/// What doctor finds about the look from outside, once it says this.
#[track_caller]
fn wait_for_outside(node: &Node, said: &str) -> Value {
    wait_for(said, SOON * 2, || {
        let (_, report) = doctor(node);
        let mut findings = of(&report, "reachability");
        let found = findings.find(|it| it["said"].as_str().is_some_and(|it| it.contains(said)));
        found.cloned()
    })
}

#[track_caller]
fn wait_until(node: &Node, check: &str, health: &str) {
    wait_for(&format!("{check} to be {health}"), SOON * 2, || {
        let (_, report) = doctor(node);
        let found = worst(&report, check);
        // Of clashes only those are told of that there are.
        let is_gone = (check, health) == ("clash", "ok") && found == "missing";
        (found == health || is_gone).then_some(())
    });
}

fn doctor(node: &Node) -> (i32, Value) {
    let said = node.verb(&["doctor", "--json"]);
    let report = serde_json::from_str(&said.stdout).expect("JSON");
    (said.code, report)
}

fn of<'a>(report: &'a Value, check: &'a str) -> impl Iterator<Item = &'a Value> {
    let findings = report["findings"].as_array().expect("findings");
    findings.iter().filter(move |it| it["check"] == check)
}

/// How the findings of one check stand.
fn worst(report: &Value, check: &str) -> String {
    let rank = |finding: &&Value| {
        let worse = ["ok", "unknown", "warning", "broken"];
        worse.iter().position(|health| finding["health"] == *health)
    };
    let worst = of(report, check).max_by_key(rank);
    worst
        .and_then(|finding| finding["health"].as_str())
        .unwrap_or("missing")
        .to_owned()
}

/// The command that mends what is worst of one check.
#[track_caller]
fn mend_of(report: &Value, check: &str) -> String {
    let worst = worst(report, check);
    let finding = of(report, check).find(|finding| finding["health"] == worst.as_str());
    command(finding.expect("a finding"))
}

/// What to run, without what else is said.
#[track_caller]
fn command(finding: &Value) -> String {
    let mend = finding["mend"].as_str().expect("what mends it");
    mend.split(" (").next().unwrap_or_default().to_owned()
}

/// Whether a host gets a connection to the port of another's daemon.
fn takes_tcp(from: &Host, to: &Host) -> bool {
    let connect = format!("exec 3<>/dev/tcp/{}/9790", to.v4);
    let mut command = from.namespace.command("timeout");
    command.args(["1", "bash", "-c", &connect]);
    Said::by(&mut command).code == 0
}

fn now() -> u64 {
    SystemTime::UNIX_EPOCH
        .elapsed()
        .map_or(0, |since| since.as_secs())
}

/// A library that puts the clock of whoever loads it behind by an hour.
#[track_caller]
fn a_clock_behind(dir: &Path) -> PathBuf {
    let (source, library) = (dir.join("clock.c"), dir.join("clock.so"));
    let code = "#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, id, now);
    if (id == CLOCK_REALTIME) now->tv_sec -= 3600;
    return failed;
}
";
    fs::write(&source, code).expect("the lab's directory is writable");
    let mut compile = Command::new("cc");
    compile.args(["-shared", "-fPIC", "-o"]);
    Said::by(compile.arg(&library).arg(&source)).ok();
    library
}

#[track_caller]
fn run(script: &str) -> String {
    Said::by(Command::new("sh").args(["-c", script])).ok()
}

/// Puts another program on the daemon's port, until it is dropped.
#[track_caller]
fn occupy(protocol: &str, host: &Host) -> Process {
    let [kind, listen] = match protocol {
        "tcp" => ["STREAM", "s.listen()"],
        _ => ["DGRAM", ""],
    };
    let script = format!(
        "import signal, socket
s = socket.socket(socket.AF_INET, socket.SOCK_{kind})
s.bind(('', 9790))
{listen}
print('bound', flush=True)
signal.pause()"
    );
    let mut command = host.namespace.command("python3");
    command.args(["-c", &script]);
    let log = host.dir.join(format!("{protocol}.log"));
    let process = Process::spawn("another program", &mut command, &log);
    wait_for("the port to be taken", SOON, || {
        process.log().contains("bound").then_some(())
    });
    process
}

/// A file system of its own.
#[derive(Debug)]
struct Disk(PathBuf);

impl Disk {
    fn mount(place: PathBuf) -> Self {
        fs::create_dir_all(&place).expect("the lab's directory is writable");
        run(&format!(
            "mount -t tmpfs -o size=128m,mode=700 none {}",
            place.display()
        ));
        Self(place)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: whoever still looks at it must not keep the mount.
        let _ = Said::by(Command::new("umount").arg("-l").arg(&self.0));
    }
}
