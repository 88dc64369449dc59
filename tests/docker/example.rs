//! The worked example of `docker/examples/mariadb`, with its own files: replicate, kill, go on.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tombolo_tests::{
    docker::{self, Docker, ForwardPolicy},
    docker_image,
    netns::Claim,
    overlay::SOON,
    process::{Said, wait_for},
};

use crate::town::Town;

const IMAGE: &str = "mariadb-of-this-machine";

#[test]
fn a_replicated_database_survives_the_death_of_node_and_docker_on_either_host() {
    let Some(lab) = docker::lab(Claim::Shared) else {
        return;
    };
    let mut town = Town::new(lab, &[ForwardPolicy::Drop, ForwardPolicy::Drop]);
    let tar = image();
    let addresses: Vec<String> = (0..2)
        .map(|number| {
            town.dockers[number].load(&tar, IMAGE);
            let created = town.json(number, "create db");
            let subnet = created["subnets"][0]["prefix"].as_str().expect("a subnet");
            subnet.replace(".0/24", ".10")
        })
        .collect();
    for (number, address) in addresses.iter().enumerate() {
        let mut up = town.node(number).host.namespace.command("docker-compose");
        up.arg("--file").arg(example("compose.yml"));
        up.env("IMAGE", IMAGE).env("ADDRESS", address);
        up.env("SERVER_ID", (number + 1).to_string());
        Said::by(up.args(["up", "--detach"])).ok();
        wait_until_it_answers(&town.dockers[number]);
    }
    execute(&town.dockers[0], "primary.sql", "REPLICA", &addresses[1]);
    execute(&town.dockers[1], "replica.sql", "PRIMARY", &addresses[0]);
    sql(
        &town.dockers[0],
        "CREATE DATABASE shop; CREATE TABLE shop.orders (id INT PRIMARY KEY)",
    )
    .ok();
    insert(&town.dockers[0], 1);
    wait_for_order(&town.dockers[1], 1);

    town.overlay.nodes[1].kill();
    town.dockers[1].kill();
    insert(&town.dockers[0], 2);
    town.dockers[1].start(&[]);
    town.overlay.nodes[1].up();

    wait_for_order(&town.dockers[1], 2);

    town.overlay.nodes[0].kill();
    town.dockers[0].kill();
    assert_eq!(
        orders(&town.dockers[1]),
        [1, 2],
        "the replica goes on answering"
    );
    town.dockers[0].start(&[]);
    town.overlay.nodes[0].up();
    wait_until_it_answers(&town.dockers[0]);
    insert(&town.dockers[0], 3);

    wait_for_order(&town.dockers[1], 3);
}

fn example(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docker/examples/mariadb")
        .join(file)
}

/// MariaDB as this machine has it, with an empty database.
fn image() -> PathBuf {
    docker_image::make("docker-mariadb", |root| {
        docker_image::install(root, &["mariadbd", "mariadb"]);
        let data = root.join("var/lib/mysql");
        let mut initialise = Command::new("mariadb-install-db");
        initialise
            .args(["--no-defaults", "--user=root", "--skip-test-db"])
            .args(["--auth-root-authentication-method=normal"])
            .args(["--innodb-log-file-size=8M"])
            .arg(format!("--datadir={}", data.display()));
        Said::by(&mut initialise).ok();
        for directory in ["etc/mysql", "run/mysqld", "usr/share"] {
            fs::create_dir_all(root.join(directory)).expect("a fresh directory");
        }
        let mut copy = Command::new("cp");
        copy.args(["--archive", "/usr/share/mysql"]);
        Said::by(copy.arg(root.join("usr/share"))).ok();
        fs::write(root.join("etc/mysql/my.cnf"), "[mariadbd]\nuser=root\n")
            .expect("a fresh directory");
    })
}

#[track_caller]
fn execute(docker: &Docker, file: &str, placeholder: &str, address: &str) {
    let text = fs::read_to_string(example(file)).expect("it is there");
    let text = text
        .replace(&format!("'{placeholder}'"), &format!("'{address}'"))
        .replace("'PASSWORD'", "'secret'");
    sql(docker, &text).ok();
}

fn sql(docker: &Docker, statements: &str) -> Said {
    let line = ["exec", "db", "mariadb", "--batch", "--skip-column-names"];
    Said::by(docker.command(&line).args(["--execute", statements]))
}

#[track_caller]
fn insert(docker: &Docker, order: u32) {
    sql(docker, &format!("INSERT INTO shop.orders VALUES ({order})")).ok();
}

fn orders(docker: &Docker) -> Vec<u32> {
    let said = sql(docker, "SELECT id FROM shop.orders ORDER BY id").stdout;
    said.lines().filter_map(|line| line.parse().ok()).collect()
}

#[track_caller]
fn wait_for_order(docker: &Docker, order: u32) {
    wait_for(&format!("order {order} on the replica"), SOON * 4, || {
        orders(docker).contains(&order).then_some(())
    });
}

#[track_caller]
fn wait_until_it_answers(docker: &Docker) {
    wait_for("the database to answer", SOON * 4, || {
        (sql(docker, "SELECT 1").code == 0).then_some(())
    });
}
