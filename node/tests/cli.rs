//! What the binary says to bad input: one line on standard error that tells what to do, and the promised exit code.

use std::{
    fs,
    net::UdpSocket,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;
use tombolo_node::state_dir::StateDir;

const NETWORK: &str = "8056c2e21c000001";

#[test]
fn without_a_daemon_every_verb_says_how_to_start_it() {
    let place = Place::new();

    for verb in [
        &["status"][..],
        &["networks"],
        &["peers"],
        &["routes", "--json"],
        &["id"],
        &["join", NETWORK, "--controller", "192.0.2.1:9791"],
        &["leave", NETWORK],
        &["set", NETWORK, "allow-global=on"],
        &["route", "add", "10.0.0.0/24"],
        &["route", "rm", "10.0.0.0/24"],
        &["docker", "ls"],
        &["docker", "create", "app"],
        &["docker", "check", "--json"],
    ] {
        place.fails(verb, 3, "the daemon is not running");
    }
}

#[test]
fn wrong_arguments_are_usage_errors() {
    let place = Place::new();
    let link = format!("tombolo://{NETWORK}.abc@ctl.example.org:9791");

    for (verb, said) in [
        (&["join", "8056"][..], "expected 16 hex digits"),
        (&["join", "8056c2e21c000000"], "reserved"),
        (&["join", &link], "52 characters"),
        (&["join", NETWORK, "--controller", "nowhere"], "host:port"),
        (
            &["join", NETWORK, "--interface", "much-too-long-a-name"],
            "1 to 15 letters",
        ),
        (&["join", NETWORK, "--interface", "a/b"], "1 to 15 letters"),
        (
            &["set", NETWORK, "allow-global=maybe"],
            "allow-global=on|off",
        ),
        (&["route", "add", "10.0.0.0/33"], "10.0.0.0/33"),
        (&["docker", "create"], "<NAME>"),
        (
            &[
                "docker",
                "create",
                "a",
                "--no-ipv6",
                "--ipv6-subnet",
                "fd00::/96",
            ],
            "cannot be used with",
        ),
        (
            &["docker", "create", "a", "--subnet", "10.0.0.0/33"],
            "10.0.0.0/33",
        ),
        (&["fly"], "fly"),
    ] {
        place.fails(verb, 2, said);
    }
}

#[test]
fn a_configuration_that_is_wrong_or_missing_is_named() {
    let place = Place::new();

    fs::remove_file(place.config()).expect("the file");
    place.fails(&["up"], 1, "Failed to read the configuration file");
    fs::write(place.config(), "prot = 9790\n").expect("a writable directory");
    place.fails(&["up"], 1, "line 1: unknown field `prot`");
}

#[test]
fn a_state_directory_that_cannot_be_is_named() {
    let place = Place::new();
    fs::write(place.state_dir(), "a file").expect("a writable directory");

    place.fails(&["up"], 1, "failed to use the state directory");
}

#[test]
fn an_identity_of_which_both_copies_are_cut_short_is_never_replaced() {
    let place = Place::new();
    drop(place.open_state());
    let copies = ["identity", "identity.copy"].map(|name| place.state_dir().join(name));
    let text = fs::read_to_string(&copies[0]).expect("the identity");
    for copy in &copies {
        fs::write(copy, &text[..60]).expect("a writable directory");
    }

    place.fails(&["up"], 1, "restore one from a backup");

    for copy in &copies {
        assert_eq!(fs::read_to_string(copy).expect("the file"), &text[..60]);
    }
}

#[test]
fn a_second_daemon_on_the_same_state_is_refused() {
    let place = Place::new();
    let _first = place.open_state();

    place.fails(&["up"], 1, "running already");
}

#[test]
fn a_port_in_use_is_named() {
    let place = Place::new();
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a free port");
    let port = socket.local_addr().expect("an address").port().to_string();

    place.fails(
        &["up", "--port", &port],
        1,
        &format!("UDP port {port} is in use"),
    );
}

#[test]
fn without_the_right_to_make_interfaces_the_daemon_says_so() {
    let place = Place::new();
    let expected = if Path::new("/dev/net/tun").exists() {
        "CAP_NET_ADMIN"
    } else {
        "/dev/net/tun is missing"
    };
    let mut command = Command::new("setpriv");
    command
        .args(["--bounding-set=-net_admin", "--inh-caps=-net_admin", "--"])
        .arg(env!("CARGO_BIN_EXE_node"));
    if !rustix::process::geteuid().is_root() {
        command = Command::new(env!("CARGO_BIN_EXE_node"));
    }

    let output = place
        .prepared(&mut command)
        .args(["up", "--port", "0"])
        .output()
        .expect("setpriv of util-linux");

    is_failure(&output, 1, expected, &["up"]);
}

#[test]
fn completions_and_man_pages_come_from_the_same_definitions() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        let output = place.run(&["completions", shell]);
        assert!(output.status.success());
        assert!(
            String::from_utf8_lossy(&output.stdout).contains("controller"),
            "{shell}"
        );
    }

    let pages = place.dir.path().join("man");
    let output = place.run(&["man", "--dir", pages.to_str().expect("plain text")]);

    assert!(output.status.success());
    assert!(pages.join("node.1").exists() && pages.join("node-join.1").exists());
}

/// A directory of its own for state, socket and configuration.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self {
            dir: tempfile::tempdir().expect("a temporary directory"),
        };
        fs::write(place.config(), "").expect("a writable directory");
        place
    }

    fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("node.toml")
    }

    /// The state directory as a running daemon holds it, with an identity.
    fn open_state(&self) -> StateDir {
        let state = StateDir::open(&self.state_dir()).expect("a writable directory");
        let mut counter = 0;
        let draw = || {
            counter += 1;
            [counter; 32]
        };
        state.identity(draw).expect("a writable directory");
        state
    }

    fn prepared<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("TOMBOLO_STATE_DIR", self.state_dir())
            .env("TOMBOLO_SOCKET", self.dir.path().join("node.sock"))
            .env("TOMBOLO_CONFIG", self.config())
    }

    fn run(&self, arguments: &[&str]) -> Output {
        // A daemon that starts where it should not would stay for ever.
        let mut command = Command::new("timeout");
        command.args(["--kill-after=1", "60", env!("CARGO_BIN_EXE_node")]);
        self.prepared(&mut command)
            .args(arguments)
            .output()
            .expect("the binary")
    }

    fn fails(&self, arguments: &[&str], code: i32, said: &str) {
        is_failure(&self.run(arguments), code, said, arguments);
    }
}

fn is_failure(output: &Output, code: i32, said: &str, arguments: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let errors: Vec<&str> = stderr
        .lines()
        .filter(|line| line.starts_with("node: "))
        .collect();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
    assert_eq!(
        errors.len(),
        1,
        "{arguments:?} should fail with one line: {stderr}"
    );
    assert!(
        stderr.contains(said),
        "{arguments:?} should say {said:?}: {stderr}"
    );
    assert!(output.stdout.is_empty(), "{arguments:?} printed a result");
}
