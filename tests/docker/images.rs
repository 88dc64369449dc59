//! Tombolo's own images: built by their Dockerfiles from binaries that are there, run as their compose files say.

use std::{fs, path::Path, process::Command};

use serde_json::json;
use tombolo_tests::{
    docker::{self, Docker, ForwardPolicy},
    docker_image,
    netns::{Claim, Host, Lab},
    overlay::{SOON, binary, files_under, identifier, wait_for_ping},
    process::{Said, wait_for},
};

#[test]
fn servers_that_run_everything_in_containers_reach_each_other_and_their_containers() {
    let Some(lab) = docker::lab(Claim::Shared) else {
        return;
    };
    let (a, docker_a) = server(&lab, "a", "10.1.0.1/24");
    let (b, docker_b) = server(&lab, "b", "10.2.0.1/24");
    build_images(&lab, &docker_a);
    hand_over(&lab, &docker_a, &docker_b, "tombolo-node");

    let control = format!("{}:9791", a.v4);
    compose(&a, "server.compose.yml", &[("ADVERTISE", &control)]);
    compose(&b, "node.compose.yml", &[]);

    for (docker, name) in [
        (&docker_a, "tombolo-controller"),
        (&docker_a, "tombolo"),
        (&docker_b, "tombolo"),
    ] {
        wait_until_healthy(docker, name);
    }
    let ctl = |verb: &str| -> serde_json::Value {
        let line = format!("exec tombolo-controller tombolo-controller {verb} --json");
        serde_json::from_str(&docker_a.run(&line)).expect("JSON")
    };
    let network = identifier(&ctl("network create home --v4 172.27.0.0/16"));
    for (docker, subnet) in [(&docker_a, "10.1.0.0/24"), (&docker_b, "10.2.0.0/24")] {
        docker.run(&format!(
            "exec tombolo tombolo join {network} --controller {control}"
        ));
        let id = docker.run("exec tombolo tombolo id --json");
        let id: serde_json::Value = serde_json::from_str(&id).expect("JSON");
        let node = id["node"].as_str().expect("a node address");
        docker_a.run(&format!(
            "exec tombolo-controller tombolo-controller member authorize {network} {node}"
        ));
        let _ = ctl(&format!("route add {network} {subnet} --via {node}"));
    }
    let (on_a, on_b) = (docker_a.container("web", ""), docker_b.container("web", ""));

    wait_for_ping(&a.namespace, on_b.v4);
    wait_for_ping(&on_a.namespace, on_b.v4);
    wait_for_ping(&on_b.namespace, on_a.v4);
    let user = docker_a.run("exec tombolo-controller id -u");
    assert_ne!(user.trim(), "0", "the controller runs without root");
}

#[test]
fn an_application_keeps_its_network_while_the_node_beside_it_is_killed_and_comes_back() {
    let Some(lab) = docker::lab(Claim::Shared) else {
        return;
    };
    let (host, docker) = server(&lab, "a", "10.1.0.1/24");
    build_images(&lab, &docker);
    compose(
        &host,
        "sidecar.compose.yml",
        &[("IMAGE", docker_image::IMAGE)],
    );
    let app = docker.find("app");
    assert!(app.namespace.run("ip link show").contains("eth0"));
    let node = || {
        let said = docker.verb("exec tombolo-sidecar pidof tombolo");
        said.stdout.trim().to_owned()
    };
    let answers = || docker.verb("exec tombolo-sidecar tombolo status").code == 0;
    wait_for("the node to answer", SOON, || answers().then_some(()));
    wait_until_healthy(&docker, "tombolo-sidecar");
    let first = node();

    docker.run(&format!("exec tombolo-sidecar kill -9 {first}"));

    wait_for("another node to answer", SOON, || {
        (node() != first && answers()).then_some(())
    });
    assert!(app.namespace.run("ip link show").contains("eth0"));
    assert_eq!(docker.find("app").v4, app.v4, "the same network");
    docker.run("stop --time 10 tombolo-sidecar");
    let code = docker.run("inspect --format {{.State.ExitCode}} tombolo-sidecar");
    assert_eq!(code.trim(), "0", "a clean end on SIGTERM");
}

#[test]
fn a_container_that_lacks_something_says_what_to_give_it() {
    let Some(lab) = docker::lab(Claim::Shared) else {
        return;
    };
    let (_host, docker) = server(&lab, "a", "10.1.0.1/24");
    build_images(&lab, &docker);

    let no_device = docker.verb("run --rm --cap-add NET_ADMIN tombolo-node");
    let no_capability = docker.verb("run --rm --device /dev/net/tun tombolo-node");

    for (said, option) in [
        (no_device, "--device /dev/net/tun"),
        (no_capability, "--cap-add NET_ADMIN"),
    ] {
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.stderr.contains(option), "{option}: {said:?}");
    }
}

#[test]
fn every_compose_file_is_valid() {
    let files: Vec<_> = files_under(&sources().join("docker"))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "yml"))
        .collect();
    assert!(files.len() >= 5, "{files:?}");
    let Ok(_) = Command::new("docker-compose").arg("--version").output() else {
        assert!(
            std::env::var_os("CI").is_none(),
            "docker-compose is missing"
        );
        return tombolo_tests::process::announce(
            "SKIPPED: needs docker-compose. Run: make docker-tools",
        );
    };
    for file in files {
        let mut check = Command::new("docker-compose");
        check
            .env("ADVERTISE", "203.0.113.11:9791")
            .env("ADDRESS", "10.240.1.10")
            .env("SERVER_ID", "1");
        Said::by(check.arg("--file").arg(&file).args(["config", "--quiet"])).ok();
    }
}

fn sources() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests lie in the sources")
}

#[track_caller]
fn server(lab: &Lab, name: &str, bip: &str) -> (Host, Docker) {
    let (host, mut docker) = Docker::installed(lab, name, ForwardPolicy::Drop);
    docker.configure(&json!({ "bip": bip }));
    docker.start(&[]);
    docker.load_image();
    (host, docker)
}

/// Both images, from the binaries under test, on a base made of what this machine has.
#[track_caller]
fn build_images(lab: &Lab, docker: &Docker) {
    docker.load(docker_image::base(), docker_image::BASE);
    let context = lab.dir().join("context");
    fs::create_dir_all(context.join("docker")).expect("the lab's directory is writable");
    let script = "docker/entrypoint.sh";
    fs::copy(sources().join(script), context.join(script)).expect("it is there");
    for (program, installed) in [("node", "tombolo"), ("controller", "tombolo-controller")] {
        // Most of a test binary is for the debugger.
        let mut strip = Command::new("strip");
        strip.arg("-o").arg(context.join(installed));
        Said::by(strip.arg(binary(program))).ok();
        let dockerfile = sources().join(format!("docker/{program}.Dockerfile"));
        let mut build = docker.command(&["build", "--quiet", "--network", "none"]);
        build
            .args(["--build-arg", "BINARIES=given"])
            .args(["--build-arg", &format!("BASE={}", docker_image::BASE)])
            .args(["--tag", &format!("tombolo-{program}"), "--file"])
            .arg(dockerfile)
            .arg(&context)
            .env("DOCKER_BUILDKIT", "1");
        Said::by(&mut build).ok();
    }
}

#[track_caller]
fn hand_over(lab: &Lab, from: &Docker, to: &Docker, image: &str) {
    let file = lab.dir().join("image.tar");
    let file = file.to_str().expect("made of letters");
    from.run(&format!("save --output {file} {image}"));
    to.run(&format!("load --input {file}"));
}

#[track_caller]
fn compose(host: &Host, file: &str, settings: &[(&str, &str)]) {
    let mut up = host.namespace.command("docker-compose");
    up.arg("--file")
        .arg(sources().join("docker").join(file))
        .args(["up", "--detach", "--no-build"])
        .envs(settings.iter().copied());
    Said::by(&mut up).ok();
}

#[track_caller]
fn wait_until_healthy(docker: &Docker, name: &str) {
    wait_for(&format!("{name} to be healthy"), SOON * 4, || {
        let health = docker.verb(&format!(
            "inspect --format {{{{.State.Health.Status}}}} {name}"
        ));
        (health.stdout.trim() == "healthy").then_some(())
    });
}
