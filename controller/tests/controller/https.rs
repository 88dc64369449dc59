//! Panel and API over TLS.

use std::{
    io::Write as _,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tombolo_controller::{
    Controller,
    config::{Config, TlsFiles},
};

use crate::rig::{a_config, a_state_dir};

#[tokio::test(flavor = "multi_thread")]
async fn the_verbs_reach_a_controller_that_serves_tls() {
    let state = a_state_dir();
    let files = a_certificate(state.path(), "tls");
    let config = Config {
        http: "0.0.0.0:0".parse().expect("an address"),
        tls: Some(files.clone()),
        ..a_config(state.path())
    };
    let controller = Controller::start(config).await.expect("it starts");
    let address = SocketAddr::from(([127, 0, 0, 1], controller.http().port()));
    // One that says nothing holds up nobody, and plain HTTP gets no answer that tells anything.
    let mut silent = TcpStream::connect(address).expect("a connection");
    let mut plain = TcpStream::connect(address).expect("a connection");
    plain
        .write_all(b"GET / HTTP/1.1\r\n\r\n")
        .expect("it is sent");

    let trusting = verb(state.path(), address, Some(&files.certificate)).await;
    let strict = verb(state.path(), address, None).await;

    assert!(trusting.status.success(), "{trusting:?}");
    assert!(!strict.status.success(), "{strict:?}");
    let link = controller.setup_link().expect("a link");
    assert!(link.starts_with("https://127.0.0.1:"), "{link}");
    let _ = silent.write_all(b"x");
    controller.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_cannot_be_used_is_named() {
    let state = a_state_dir();
    let good = a_certificate(state.path(), "good");
    let other = a_certificate(state.path(), "other");
    let empty = state.path().join("empty.pem");
    std::fs::write(&empty, "").expect("a file");
    let missing = state.path().join("missing.pem");
    for (certificate, key, complaint) in [
        (&missing, &good.key, "missing.pem"),
        (&good.certificate, &missing, "missing.pem"),
        (&empty, &good.key, "no certificate"),
        (&good.certificate, &good.certificate, "--tls-key"),
        (&good.certificate, &other.key, "cannot be used"),
    ] {
        let config = Config {
            tls: Some(TlsFiles {
                certificate: certificate.clone(),
                key: key.clone(),
            }),
            ..a_config(state.path())
        };
        let Err(error) = Controller::start(config).await else {
            panic!("it started with {certificate:?} and {key:?}");
        };
        let line = error.to_string();
        assert!(line.contains(complaint), "{line}");
    }
}

#[test]
fn a_certificate_without_its_key_is_a_usage_error() {
    let state = a_state_dir();
    let output = Command::new(env!("CARGO_BIN_EXE_controller"))
        .args(["serve", "--tls-cert", "/nonexistent.pem", "--state-dir"])
        .arg(state.path())
        .output()
        .expect("the program runs");

    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{complaint}");
    assert!(complaint.contains("--tls-key"), "{complaint}");
}

fn a_certificate(directory: &Path, name: &str) -> TlsFiles {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let write = |suffix: &str, text: String| -> PathBuf {
        let path = directory.join(format!("{name}.{suffix}.pem"));
        std::fs::write(&path, text).expect("a file");
        path
    };
    TlsFiles {
        certificate: write("cert", made.cert.pem()),
        key: write("key", made.signing_key.serialize_pem()),
    }
}

async fn verb(state: &Path, address: SocketAddr, trusted: Option<&Path>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_controller"));
    command
        .args(["network", "ls", "--url"])
        .arg(format!("https://{address}"))
        .arg("--state-dir")
        .arg(state);
    if let Some(trusted) = trusted {
        command.arg("--tls-ca").arg(trusted);
    }
    tokio::task::spawn_blocking(move || command.output().expect("the program runs"))
        .await
        .expect("the verb runs")
}
