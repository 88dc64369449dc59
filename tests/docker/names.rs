//! Names of members and containers, as containers see them.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::Duration,
};

use tombolo_tests::{
    docker::{self, ForwardPolicy},
    netns::{Claim, Namespace},
    overlay::Node,
    process::{Said, wait_for},
};

use crate::town::{SOON, Town};

/// What the emulated resolver of the hosts answers to everything.
const WORLD: [u8; 4] = [192, 0, 2, 53];
const RESOLVER: &str = "203.0.113.1";
const ON: &str = "[names]\nenabled = true\n";

#[test]
fn containers_find_containers_and_members_on_other_hosts_by_name() {
    let Some(lab) = docker::lab(Claim::Shared) else {
        return;
    };
    let mut town = Town::new(lab, &[ForwardPolicy::Drop, ForwardPolicy::Accept]);
    let world = town.overlay.lab.underlay();
    world.within(|| emulate_resolver(RESOLVER.parse().expect("an address")));
    let gateways = [0, 1].map(|number| {
        let created = town.json(number, "create app");
        let gateway = created["subnets"][0]["gateway"].as_str();
        gateway.expect("an IPv4 subnet has one").to_owned()
    });

    let own = town.node(0).v4();

    // Off, and nothing of it is there, until somebody wants it.
    for node in &town.overlay.nodes {
        assert_eq!(node.json(&["status"])["names"], serde_json::Value::Null);
        assert!(!node.host.namespace.run("ss -Hlntu").contains(":53 "));
    }
    for node in &mut town.overlay.nodes {
        let machine = node.host.namespace.machine().expect("it has a Docker");
        let resolv_conf = machine.root().join("etc/resolv.conf");
        std::fs::write(resolv_conf, format!("nameserver {RESOLVER}\n")).expect("its own /etc");
        node.stop();
        node.configure(ON);
    }

    // A port that is taken is told, and used as soon as it is free.
    let squatter = (town.node(0).host.namespace)
        .within(|| UdpSocket::bind(("0.0.0.0", 53)).expect("the port is free"));
    for node in &mut town.overlay.nodes {
        node.up();
    }
    wait_for("the warning", SOON, || {
        let status = town.node(0).json(&["status"]);
        let warnings = status["warnings"].to_string();
        warnings
            .contains(&format!(
                "names are not answered on {own}: port 53 is taken"
            ))
            .then_some(())
    });
    drop(squatter);
    for (node, gateway) in town.overlay.nodes.iter().zip(&gateways) {
        for address in [
            gateway.clone(),
            node.v4().to_string(),
            node.v6().to_string(),
        ] {
            wait_until_listening(node, &address);
        }
    }

    let web = town.dockers[0].container("web", &format!("--network app --dns {}", gateways[0]));
    let own = town.node(1).v4();
    let db = town.dockers[1].container("db.1", &format!("--network app --dns {own}"));
    let lookup = |number: usize, container: &str, kind: &str, name: &str| {
        town.dockers[number].verb(&format!("exec {container} nslookup -type={kind} {name}"))
    };
    let finds = |number: usize, container: &str, name: &str, address: IpAddr| {
        let kind = if address.is_ipv4() { "a" } else { "aaaa" };
        let expected = format!("Address: {address}");
        wait_for(&format!("{name} to be {address}"), SOON, || {
            let said = lookup(number, container, kind, name);
            said.stdout.contains(&expected).then_some(())
        });
    };

    // Containers on the other host, by a name with and without a dot, by its node's id too, both ways.
    for address in [IpAddr::V4(db.v4), IpAddr::V6(db.v6)] {
        finds(0, "web", "DB.1.h2.Home", address);
        let by_ids = format!("db.1.{}.{}", town.node(1).id(), town.overlay.network);
        finds(0, "web", &by_ids, address);
    }
    for address in [IpAddr::V4(web.v4), IpAddr::V6(web.v6)] {
        finds(1, "db.1", "web.h1.home", address);
        finds(0, "web", "web.h1.home", address);
    }
    wait_for("a ping by name", SOON, || {
        let said = town.dockers[0].verb("exec web ping -c 1 -W 2 db.1.h2.home");
        (said.code == 0 && said.stdout.contains(&db.v4.to_string())
            || said.stdout.contains(&db.v6.to_string()))
        .then_some(())
    });

    // Members, the own one too, and a question over TCP.
    finds(0, "web", "h1.home", town.node(0).v4().into());
    finds(0, "web", "h2.home", town.node(1).v4().into());
    finds(1, "db.1", "h1.home", town.node(0).v6().into());
    let host = &town.node(0).host.namespace;
    let reply = over_tcp(host, town.node(0).v4().into(), &question(&["h2", "home"]));
    assert!(reply.ends_with(&town.node(1).v4().octets()), "{reply:?}");

    // What is not there, here and there; what has no such address; the rest of the world.
    for name in ["none.h2.home", "none.h1.home", "none.home", "web.none.home"] {
        assert_unknown(&lookup(0, "web", "a", name));
    }
    let nothing = lookup(0, "web", "mx", "h2.home");
    assert!(!nothing.stdout.contains("NXDOMAIN"), "{nothing:?}");
    finds(0, "web", "www.example.org", WORLD.into());
    finds(1, "db.1", "www.example.org", WORLD.into());

    // Members are told of containers of the host that they ask, and of nothing else; strangers are told nothing.
    let near = &town.node(0).host.namespace;
    let far = town.node(1).v4();
    let code =
        |labels: &[&str]| ask(near, far.into(), &question(labels)).map(|reply| reply[3] & 15);
    assert_eq!(code(&["db", "1", "h2", "home"]), Some(0));
    assert_eq!(code(&["web", "h1", "home"]), Some(5), "one hop");
    assert_eq!(code(&["www", "example", "org"]), Some(5), "not for others");
    let sender = near.within(|| UdpSocket::bind(("0.0.0.0", 0)).expect("a port is free"));
    for garbage in [&[][..], &[0; 3], &[7; 12], &[0xc0; 300]] {
        sender
            .send_to(garbage, (far, 53))
            .expect("there is a route");
    }
    assert_eq!(code(&["h2", "home"]), Some(0), "it goes on");
    let own = town.node(0).v4();
    let host = town.node(0).host.v4;
    world.run(&format!("ip route add {own} via {host}"));
    let stranger = ask(world, own.into(), &question(&["h1", "home"]));
    assert_eq!(stranger, None);

    // A container that goes takes its name along.
    town.dockers[1].run("rm --force db.1");
    wait_for("the name to be gone", SOON, || {
        let said = lookup(0, "web", "a", "db.1.h2.home");
        said.stdout.contains("NXDOMAIN").then_some(())
    });
}

#[track_caller]
fn wait_until_listening(node: &Node, address: &str) {
    wait_for(&format!("names to be answered on {address}"), SOON, || {
        let status = node.json(&["status"]);
        let mut listening = status["names"].as_array()?.iter();
        listening.find(|found| *found == address).map(drop)
    });
}

#[track_caller]
fn assert_unknown(said: &Said) {
    let is_unknown = said.code != 0 && said.stdout.contains("NXDOMAIN");
    assert!(is_unknown, "{said:?}");
}

/// A question for an A record.
fn question(labels: &[&str]) -> Vec<u8> {
    let mut question = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in labels {
        question.push(label.len().try_into().expect("a label is short"));
        question.extend(label.as_bytes());
    }
    question.extend([0, 0, 1, 0, 1]);
    question
}

fn ask(from: &Namespace, to: IpAddr, question: &[u8]) -> Option<Vec<u8>> {
    let socket = from.within(|| UdpSocket::bind(("0.0.0.0", 0)).expect("a port is free"));
    socket
        .set_read_timeout(Some(Duration::from_secs(1)))
        .expect("a socket");
    socket.send_to(question, (to, 53)).ok()?;
    let mut buffer = [0; 512];
    let (length, _) = socket.recv_from(&mut buffer).ok()?;
    Some(buffer[..length].to_vec())
}

fn over_tcp(from: &Namespace, to: IpAddr, question: &[u8]) -> Vec<u8> {
    let address = SocketAddr::new(to, 53);
    let mut stream = from.within(|| TcpStream::connect(address).expect("it listens"));
    stream.write_all(&framed(question)).expect("connected");
    read_framed(&mut stream).expect("an answer")
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).expect("a short message");
    [&length.to_be_bytes(), message].concat()
}

fn read_framed(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message)?;
    Ok(message)
}

/// Answers every question for an A record with [`WORLD`], every other with nothing, until the test ends.
fn emulate_resolver(address: IpAddr) {
    let udp = UdpSocket::bind((address, 53)).expect("the port is free");
    let tcp = TcpListener::bind((address, 53)).expect("the port is free");
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = udp.recv_from(&mut buffer) {
            let _ = udp.send_to(&world_answer(&buffer[..length]), from);
        }
    });
    thread::spawn(move || {
        for mut stream in tcp.incoming().flatten() {
            if let Ok(question) = read_framed(&mut stream) {
                let _ = stream.write_all(&framed(&world_answer(&question)));
            }
        }
    });
}

fn world_answer(question: &[u8]) -> Vec<u8> {
    let name = question[12..]
        .iter()
        .position(|byte| *byte == 0)
        .expect("a name");
    let end = 12 + name + 5;
    let is_a = question[end - 3] == 1;
    let mut answer = question[..end].to_vec();
    answer[2] |= 0x80;
    answer[4..12].copy_from_slice(&[0, 1, 0, u8::from(is_a), 0, 0, 0, 0]);
    if is_a {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend(WORLD);
    }
    answer
}
