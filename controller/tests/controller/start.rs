//! Starting, and everything that can be wrong then: one line that says what to do, and an exit code.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use tombolo_controller::{Controller, config::Config};

use crate::rig::{Rig, a_config, a_state_dir};

async fn refused(config: Config) -> String {
    match Controller::start(config).await {
        Ok(_) => panic!("it started"),
        Err(error) => {
            let line = error.to_string();
            assert!(!line.contains('\n'), "{line}");
            line
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_named() {
    let rig = Rig::start().await;
    let state = a_state_dir();
    for (config, protocol) in [
        (
            Config {
                http: rig.controller.http(),
                ..a_config(state.path())
            },
            "TCP",
        ),
        (
            Config {
                control: rig.controller.control(),
                ..a_config(state.path())
            },
            "UDP",
        ),
        (
            Config {
                relay: rig.controller.relay(),
                ..a_config(state.path())
            },
            "UDP",
        ),
    ] {
        let line = refused(config).await;
        assert!(line.contains(protocol), "{line}");
        assert!(line.contains("choose another port"), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_controllers_never_share_a_state_directory() {
    let rig = Rig::start().await;

    let line = refused(a_config(rig.state.path())).await;

    assert!(line.contains("another controller uses"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_key_file_is_named_and_left_alone() {
    for name in ["authority.key", "replica.key"] {
        let rig = Rig::start().await;
        let Rig {
            controller, state, ..
        } = rig;
        controller.shutdown().await;
        let path = state.path().join(name);
        let whole = std::fs::read(&path).expect("a key");
        let lengths = if std::env::var_os("TOMBOLO_TEST_FULL").is_some() {
            (0..32).collect()
        } else {
            vec![0, 5, 31]
        };
        for length in lengths {
            std::fs::write(&path, &whole[..length]).expect("a file can be written");

            let line = refused(a_config(state.path())).await;

            assert!(line.contains(name) && line.contains("backup"), "{line}");
            assert_eq!(std::fs::read(&path).expect("it is there"), &whole[..length]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_its_replica_key_is_refused() {
    let rig = Rig::start().await;
    let Rig {
        controller, state, ..
    } = rig;
    controller.shutdown().await;
    std::fs::remove_file(state.path().join("replica.key")).expect("it was there");

    let line = refused(a_config(state.path())).await;

    assert!(
        line.contains("replica.key") && line.contains("is missing"),
        "{line}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_serves_without_the_root_key() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    std::fs::remove_file(rig.state.path().join("authority.key")).expect("it was there");

    let rig = rig.restart().await;

    rig.member(network.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_readable_by_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let rig = Rig::start().await;

    for name in ["replica.key", "admin.token"] {
        let metadata = std::fs::metadata(rig.state.path().join(name)).expect("it is there");
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http_beyond_this_host_needs_a_word() {
    let state = a_state_dir();
    let config = Config {
        http: "0.0.0.0:0".parse().expect("an address"),
        ..a_config(state.path())
    };

    let line = refused(config.clone()).await;
    assert!(line.contains("--insecure-http"), "{line}");

    let accepted = Config {
        insecure_http: true,
        ..config
    };
    let controller = Controller::start(accepted).await.expect("it starts");
    controller.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_store_is_refused() {
    let state = a_state_dir();
    std::fs::write(state.path().join("store.sqlite"), [b'x'; 8192]).expect("a file");

    let line = refused(a_config(state.path())).await;

    assert!(line.contains("store.sqlite"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_cut_short_or_gone_is_refused_and_no_empty_one_is_served_instead() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    rig.member(network.id).await;
    let Rig {
        controller, state, ..
    } = rig;
    controller.shutdown().await;
    let path = state.path().join("store.sqlite");
    let whole = std::fs::read(&path).expect("the store");

    let full = std::env::var_os("TOMBOLO_TEST_FULL").is_some();
    // No multiple of the size of a page, and around every page's end in the full count.
    let lengths = (0..whole.len()).step_by(if full { 509 } else { 8191 });
    let ends = (4096..whole.len()).step_by(if full { 4096 } else { 32768 });
    for length in lengths.chain(ends).chain([whole.len() - 1]) {
        std::fs::write(&path, &whole[..length]).expect("our file");
        let line = refused(a_config(state.path())).await;
        assert!(
            line.contains("store.sqlite") && line.contains("backup"),
            "{length}: {line}"
        );
    }
    std::fs::remove_file(&path).expect("our file");
    let line = refused(a_config(state.path())).await;
    assert!(line.contains("belongs to another one"), "{line}");

    std::fs::write(&path, &whole).expect("our file");
    let again = Controller::start(a_config(state.path()))
        .await
        .expect("it starts");
    again.shutdown().await;
}

#[test]
fn a_store_of_another_kind_is_a_usage_error() {
    let state = a_state_dir();

    let output = serve(state.path(), &["--store", "mysql://x"]);

    expect(&output, 2, "sqlite:PATH");
}

#[test]
fn a_state_directory_that_cannot_be_written_is_named() {
    // Under /proc nobody can create anything, not even root.
    let output = serve(Path::new("/proc/tombolo"), &[]);

    expect(&output, 1, "choose another with --state-dir");
}

#[test]
fn a_full_disk_is_named() {
    let Some(disk) = TinyDisk::mount() else {
        eprintln!("SKIPPED: mounting a tmpfs needs root");
        return;
    };
    let filler = disk.0.path().join("filler");
    let mut file = std::fs::File::create(filler).expect("a file");
    while file.write_all(&[0; 4096]).is_ok() {}

    let output = serve(disk.0.path(), &[]);

    expect(&output, 1, "has room");
}

#[test]
fn odd_configuration_files_are_usage_errors() {
    let state = a_state_dir();
    let path = state.path().join("controller.toml");
    let file = path.to_str().expect("a text");
    for (text, complaint) in [
        ("htpp = \"127.0.0.1:1\"", "unknown field"),
        ("http = 7", "line 1"),
        ("= = =", "line 1"),
        ("store = \"redis:x\"", "sqlite:PATH"),
    ] {
        std::fs::write(&path, text).expect("a file");
        expect(&serve(state.path(), &["--config", file]), 2, complaint);
    }
    expect(
        &serve(state.path(), &["--config", "/nonexistent.toml"]),
        2,
        "--config",
    );
}

#[test]
fn the_configuration_file_has_the_keys_of_the_flags() {
    let state = a_state_dir();
    let path = state.path().join("controller.toml");
    std::fs::write(
        &path,
        "http = \"0.0.0.0:0\"\ncontrol = \"127.0.0.1:0\"\nrelay = \"127.0.0.1:0\"\nadvertise = [\"a.example:1\"]\n",
    )
    .expect("a file");
    let output = Command::new(env!("CARGO_BIN_EXE_controller"))
        .args(["serve", "--config", path.to_str().expect("a text")])
        .args(["--state-dir", state.path().to_str().expect("a text")])
        .output()
        .expect("the program runs");

    expect(&output, 1, "--insecure-http");
}

#[test]
fn sigterm_stops_the_program_cleanly() {
    use std::io::{BufRead as _, BufReader};
    let state = a_state_dir();
    let mut child = serve_command(state.path(), &[])
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let log = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut lines = log.lines().map(|line| line.expect("a line"));
    lines
        .find(|line| line.contains("controller is ready"))
        .expect("it becomes ready");

    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is there");

    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    assert!(lines.any(|line| line.contains("stopping")));
}

fn serve_command(state: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_controller"));
    command
        .arg("serve")
        .args(["--http", "127.0.0.1:0", "--control", "127.0.0.1:0"])
        .args(["--relay", "127.0.0.1:0"])
        .arg("--state-dir")
        .arg(state)
        .args(arguments)
        .env("RUST_LOG", "info");
    command
}

fn serve(state: &Path, arguments: &[&str]) -> Output {
    serve_command(state, arguments)
        .env("RUST_LOG", "off")
        .output()
        .expect("the program runs")
}

#[track_caller]
fn expect(output: &Output, code: i32, text: &str) {
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{complaint}");
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
    assert!(complaint.contains(text), "{complaint}");
}

/// A file system of 256 kilobytes, gone with this value.
struct TinyDisk(tempfile::TempDir);

impl TinyDisk {
    fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
            .arg(directory.path())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        mounted.then_some(Self(directory))
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}
