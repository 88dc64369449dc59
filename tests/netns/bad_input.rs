//! What goes wrong on real machines: each has one clear line and the right exit code.

use std::{fs, process::Command, time::Duration};

use tombolo_tests::{
    netns::{Claim, Host, Lab},
    overlay::{Controller, Node, Overlay, files_under},
    process::{Said, wait_for},
};

const FAILED: i32 = 1;
const UNREACHABLE: i32 = 3;
const CONFLICT: i32 = 4;

#[test]
fn a_verb_without_a_daemon_says_how_to_start_one() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let node = Node::new(lab.host("a"));

    node.verb(&["status"])
        .refused(UNREACHABLE, &["daemon", "not running"]);
}

#[test]
fn without_net_admin_the_daemon_says_what_it_needs() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let node = Node::new(lab.host("a"));

    let said = up_within(
        &node,
        "exec capsh --drop=cap_net_admin -- -c 'exec \"$0\" up' \"$0\"",
    );

    said.refused(FAILED, &["CAP_NET_ADMIN"]);
}

#[test]
fn without_the_tun_device_the_daemon_says_so() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let node = Node::new(lab.host("a"));

    let said = up_within(&node, "mount -t tmpfs none /dev/net; exec \"$0\" up");

    said.refused(FAILED, &["/dev/net/tun"]);
}

#[test]
fn a_data_port_in_use_is_named() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let host = lab.host("a");
    let mut first = Node::new(host);
    first.up();

    let said = Said::by(
        first
            .command(&["up"])
            .env("TOMBOLO_STATE_DIR", first.host.dir.join("other"))
            .env("TOMBOLO_SOCKET", first.host.dir.join("other.sock")),
    );

    said.refused(FAILED, &["9790", "in use"]);
}

#[test]
fn a_second_daemon_on_the_same_state_is_refused() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let mut node = Node::new(lab.host("a"));
    node.up();

    let said = Said::by(
        node.command(&["up", "--port", "9795"])
            .env("TOMBOLO_SOCKET", node.host.dir.join("other.sock")),
    );

    said.refused(FAILED, &["running"]);
}

#[test]
fn an_interface_name_that_exists_is_refused() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let overlay = Overlay::new(lab, &[]);
    let mut node = Node::new(overlay.lab.host("a"));
    node.up();
    node.host.namespace.run("ip link add taken0 type bridge");

    let address = overlay.controller.control_address();
    let said = node.verb(&[
        "join",
        &overlay.network,
        "--controller",
        &address,
        "--interface",
        "taken0",
    ]);

    said.refused(CONFLICT, &["taken0", "exists"]);
    assert!(
        node.host.namespace.run("ip -br link").contains("taken0"),
        "somebody else's interface stays"
    );
}

#[test]
fn a_state_directory_that_is_read_only_is_named() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let node = Node::new(lab.host("a"));
    fs::create_dir_all(node.state_dir()).expect("the lab's directory is writable");
    let state = node.state_dir().display().to_string();

    let said = up_within(
        &node,
        &format!("mount -t tmpfs -o ro,size=1m none {state}; exec \"$0\" up"),
    );

    said.refused(FAILED, &[&state, "read-only"]);
}

#[test]
fn a_state_directory_that_is_full_is_named() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let node = Node::new(lab.host("a"));
    fs::create_dir_all(node.state_dir()).expect("the lab's directory is writable");
    let state = node.state_dir().display().to_string();

    let said = up_within(
        &node,
        &format!(
            "mount -t tmpfs -o size=64k none {state}; head -c 1m /dev/zero >{state}/filler 2>/dev/null || true; exec \"$0\" up"
        ),
    );

    said.refused(FAILED, &[&state, "full"]);
}

#[test]
fn an_unreachable_controller_ends_join_with_3_and_the_daemon_goes_on_trying() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let mut overlay = Overlay::new(lab, &[]);
    let mut node = Node::new(overlay.lab.host("a"));
    node.up();
    overlay.controller.kill();

    let said = node.join(&overlay.network, &overlay.controller);

    said.refused(
        UNREACHABLE,
        &["controller", &overlay.controller.host.v4.to_string()],
    );
    assert_eq!(
        node.standing(&overlay.network).as_deref(),
        Some("requesting")
    );
    overlay.controller.serve();
    wait_for("the request to arrive", Duration::from_secs(60), || {
        (node.standing(&overlay.network).as_deref() == Some("pending")).then_some(())
    });
}

#[test]
fn a_network_id_that_the_controller_does_not_know_is_not_found() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let overlay = Overlay::new(lab, &[]);
    let mut node = Node::new(overlay.lab.host("a"));
    node.up();
    // The same authority, another number.
    let wrong = format!("{}abcdef", &overlay.network[..10]);

    let said = node.join(&wrong, &overlay.controller);

    said.refused(FAILED, &[&wrong]);
    assert_eq!(node.standing(&wrong).as_deref(), Some("not-found"));
}

#[test]
fn a_controller_with_the_wrong_key_is_not_trusted() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let honest = Controller::start(lab.host("honest"));
    let other = Controller::start_fresh(lab.host("other"));
    let network = honest.create_network("home", "172.27.0.0/16");
    let mut node = Node::new(lab.host("a"));
    node.up();

    let said = node.join(&network, &other);

    assert_ne!(said.code, 0);
    assert_eq!(
        said.stderr.lines().filter(|line| !line.is_empty()).count(),
        1,
        "{said:?}"
    );
    assert!(node.kernel_addresses("tmb0").is_empty());
}

#[test]
fn ports_in_use_at_the_controller_are_named() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let controller = Controller::start(lab.host("ctl"));

    let said = Said::by(
        controller
            .command(&["serve"])
            .env("TOMBOLO_STATE_DIR", controller.host.dir.join("other")),
    );

    assert_eq!(said.code, FAILED, "{said:?}");
    let last = said
        .stderr
        .lines()
        .last()
        .unwrap_or_default()
        .to_lowercase();
    assert!(last.contains("in use") && last.contains("979"), "{said:?}");
}

#[test]
fn a_controller_store_that_is_read_only_or_broken_is_named() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let host = lab.host("ctl");
    let state = host.dir.join("controller");
    fs::create_dir_all(&state).expect("the lab's directory is writable");
    let mount = format!("mount -t tmpfs -o ro,size=1m none {}", state.display());

    let said = serve_within(&host, &mount);

    assert_eq!(said.code, FAILED, "{said:?}");
    assert!(said.stderr.contains(&*state.to_string_lossy()), "{said:?}");

    let mut controller = Controller::start(host);
    let _ = controller.create_network("home", "172.27.0.0/16");
    controller.kill();
    for file in files_under(&state) {
        if file
            .extension()
            .is_some_and(|extension| extension == "sqlite" || extension == "db")
        {
            fs::write(
                &file,
                b"this is no database, but it is long enough to look like a file",
            )
            .expect("our file");
        } else if file.to_string_lossy().ends_with("-wal")
            || file.to_string_lossy().ends_with("-shm")
        {
            fs::remove_file(&file).expect("our file");
        }
    }

    let said = Said::by(&mut controller.command(&["serve"]));

    assert_eq!(said.code, FAILED, "{said:?}");
    let last = said.stderr.lines().last().unwrap_or_default();
    assert!(last.contains(&*state.to_string_lossy()), "{said:?}");
}

/// Runs `node up` in a mount namespace of its own after (or within) a piece of shell; `$0` is the binary.
fn up_within(node: &Node, script: &str) -> Said {
    let binary = tombolo_tests::overlay::binary("node");
    let mut command = node.host.namespace.command("timeout");
    node.environment(&mut command);
    command
        .args(["20", "unshare", "-m", "sh", "-ec", script])
        .arg(binary);
    Said::by(&mut command)
}

fn serve_within(host: &Host, script: &str) -> Said {
    let mut command: Command = host.namespace.command("timeout");
    command
        .env("TOMBOLO_STATE_DIR", host.dir.join("controller"))
        .args([
            "20",
            "unshare",
            "-m",
            "sh",
            "-ec",
            &format!("{script}; exec \"$0\" serve"),
        ])
        .arg(tombolo_tests::overlay::binary("controller"));
    Said::by(&mut command)
}
