//! The key of a replica is stolen. Until it is revoked the thief is believed; afterwards everybody is back on the truth,
//! with or without a controller, and who was never robbed has not lost a packet.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::Value;
use tombolo_node::state_dir::StateDir;
use tombolo_proto::{
    config::{DirectoryEntry, MemberCert},
    id::{NetworkId, Revision, UnixSeconds, Version},
    key::{IdentitySecret, Seed},
    signed::Signed,
};
use tombolo_tests::{
    netns::{Claim, Lab},
    overlay::{Controller, Node, Overlay, Pings, SOON, files_under, wait_for_mesh, wait_for_ping},
    process::{Process, figure, wait_for},
};

/// The key of the second replica, which is stolen.
const STOLEN: [u8; 32] = [0x57; 32];
const PROMISE: Duration = Duration::from_secs(5);

#[test]
fn what_a_stolen_key_signs_is_undone_everywhere_once_it_is_revoked_and_nobody_else_notices() {
    let Some(lab) = Lab::new(Claim::Alone) else {
        return;
    };
    let mut overlay = Overlay::new(lab, &["a", "b", "c", "d", "e"]);
    wait_for_mesh(&overlay.nodes);
    let second = Controller::new(overlay.lab.host("ctl2"), None);
    admit_second_replica(&overlay, &second);
    let mut rogue = the_thief_runs_a_replica(&mut overlay, second);

    // As a controller: it puts b out and renames d. c hears nobody else, the others hear it from c.
    let [b, d] = [1, 3].map(|index| overlay.nodes[index].id());
    rogue
        .verb(&["member", "set", "home", &d, "--name", "stolen"])
        .ok();
    rogue.deauthorize("home", &b);
    for index in [0, 2, 3, 4] {
        wait_for("the thief to be believed", SOON, || {
            (!overlay.nodes[index].knows(&b)).then_some(())
        });
    }
    // The honest replica signs another document of the same version: somebody must notice.
    overlay
        .controller
        .verb(&["member", "set", "home", &d, "--name", "honest"])
        .ok();
    wait_for("an alarm", SOON, || {
        let alarms = &overlay.nodes[0].json(&["status"])["networks"][0]["alarms"];
        alarms[0]
            .as_str()
            .is_some_and(|alarm| alarm.contains("keyring revoke"))
            .then_some(())
    });
    let log = overlay.nodes[0].log();
    assert_eq!(log.matches("two different documents").count(), 1, "{log}");

    // Through a member: documents of the highest revision there is.
    forge_on_disk(&mut overlay.nodes[3]);
    for index in [0, 2, 4] {
        wait_for("the highest revision to be believed", SOON, || {
            names(&overlay.nodes[index])
                .values()
                .any(|name| name == "mallory")
                .then_some(())
        });
    }
    // With all of that on its disk, e goes away.
    let mut absent = overlay.nodes.pop().expect("five nodes");
    absent.kill();

    let pings: Vec<Pings> = [(0, 2), (2, 3), (3, 0)]
        .map(|(from, to)| {
            let log = overlay.lab.dir().join(format!("{from}-{to}.log"));
            let to = overlay.nodes[to].v4();
            Pings::start(&overlay.nodes[from].host.namespace, to, &log)
        })
        .into();
    wait_for("pings to flow", SOON, || {
        pings.iter().all(|pings| pings.answers() > 5).then_some(())
    });
    let key = stolen_key().public().to_string();
    let start = Instant::now();
    overlay.controller.verb(&["keyring", "revoke", &key]).ok();
    let truth = truth(&overlay.controller);
    for node in &overlay.nodes {
        wait_for("the truth", SOON * 2, || {
            knows_exactly(node, &truth).then_some(())
        });
    }
    figure(
        "revocation of a stolen key to the truth at all members, one of them connected to the thief",
        start.elapsed(),
        PROMISE,
    );
    wait_for_ping(&overlay.nodes[2].host.namespace, overlay.nodes[1].v4());
    wait_for("c to leave the thief", SOON, || {
        overlay.nodes[2]
            .controller(&overlay.network)
            .is_none()
            .then_some(())
    });
    let many = pings[0].answers() + 40;
    wait_for("pings after that", SOON, || {
        (pings[0].answers() >= many).then_some(())
    });
    for pings in pings {
        let (sent, received) = pings.stop();
        assert_eq!(sent, received, "not one ping may be lost");
    }

    // Nobody believes what the thief goes on to say, and who was away hears the truth although all controllers are gone.
    rogue
        .verb(&["member", "set", "home", &d, "--name", "again"])
        .ok();
    overlay.controller.kill();
    let start = Instant::now();
    absent.up();
    wait_for("the absent member to know the truth", SOON, || {
        knows_exactly(&absent, &truth).then_some(())
    });
    figure(
        "start of a member that was away to the truth, with the thief as the only controller",
        start.elapsed(),
        PROMISE,
    );
    overlay.nodes.push(absent);
    rogue.kill();
    for node in &mut overlay.nodes {
        node.kill();
    }
    for node in &mut overlay.nodes {
        node.up();
    }
    wait_for_mesh(&overlay.nodes);
    for node in &overlay.nodes {
        assert!(knows_exactly(node, &truth));
    }
}

/// Lets a second replica register at the first one's store, admits it, and ends it. Nodes hear of its address without
/// losing their connection.
fn admit_second_replica(overlay: &Overlay, second: &Controller) {
    second.put("replica.key", &STOLEN);
    let store = overlay.controller.state_dir().join("store.sqlite");
    let store = format!("sqlite:{}", store.display());
    let address = second.control_address();
    let replica = Process::spawn(
        "second replica",
        &mut second.command(&["serve", "--store", &store, "--advertise", &address]),
        &second.host.dir.join("registering.log"),
    );
    wait_for("the second replica to register", SOON, || {
        let keyring = overlay.controller.json(&["keyring", "show"]);
        (keyring["replicas"].as_array()?.len() == 2).then_some(())
    });
    overlay
        .controller
        .verb(&["keyring", "add", "--all-pending"])
        .ok();
    for node in &overlay.nodes {
        wait_for("a node to know the second replica", SOON, || {
            let settings = files_under(&node.state_dir())
                .into_iter()
                .filter(|path| path.to_string_lossy().contains("settings"));
            settings
                .filter_map(|path| fs::read(path).ok())
                .any(|settings| String::from_utf8_lossy(&settings).contains(&address))
                .then_some(())
        });
        let log = node.log();
        assert!(!log.contains("Connection to the controller lost"), "{log}");
    }
    drop(replica);
}

/// Starts the second replica on a copy of the store. c cannot reach the first one, so it connects there.
fn the_thief_runs_a_replica(overlay: &mut Overlay, mut rogue: Controller) -> Controller {
    overlay.controller.stop();
    overlay.nodes[2].host.cut_off(overlay.controller.host.v4);
    let from = overlay.controller.state_dir();
    for path in files_under(&from) {
        let name = path.strip_prefix(&from).expect("it lies below");
        let is_stolen = name.to_string_lossy().starts_with("store.sqlite");
        if is_stolen || name == Path::new("admin.token") {
            let contents = fs::read(&path).expect("the controller has ended");
            rogue.put(&name.to_string_lossy(), &contents);
        }
    }
    overlay.controller.serve();
    for index in [0, 1, 3, 4] {
        let node = &overlay.nodes[index];
        wait_for("the nodes to be back", Duration::from_secs(60), || {
            (node.standing(&overlay.network)? == "ok").then_some(())
        });
    }
    rogue.serve();
    wait_for("c to fall for it", Duration::from_secs(60), || {
        let controller = overlay.nodes[2].controller(&overlay.network)?;
        (controller == rogue.control_address()).then_some(())
    });
    rogue
}

fn stolen_key() -> IdentitySecret {
    Seed::from_bytes(STOLEN).identity()
}

/// Restarts a node with certificates of the highest revision in its cache: another name for one member, and a stranger.
fn forge_on_disk(node: &mut Node) {
    node.kill();
    let state = StateDir::open(&node.state_dir()).expect("the daemon is gone");
    let (id, settings) = state
        .networks()
        .expect("a readable directory")
        .pop()
        .expect("a network");
    let root = settings
        .expect("whole settings")
        .root
        .expect("it is pinned");
    let files = state.network(id);
    let mut directory = files.directory(root).expect("a cached directory");
    let cert = directory
        .members(UnixSeconds(0))
        .next()
        .expect("a member")
        .clone();
    let robbed = MemberCert {
        name: "robbed".to_owned(),
        ..cert.clone()
    };
    let stranger = Seed::from_bytes([0x58; 32]);
    let mallory = MemberCert {
        name: "mallory".to_owned(),
        identity: stranger.identity().public(),
        transport: stranger.transport(id, 0).public(),
        addresses: BTreeSet::new(),
        ..cert
    };
    let accepted = directory.accept(vec![forged(robbed, id), forged(mallory, id)]);
    assert!(accepted.refused.is_empty(), "{accepted:?}");
    files
        .store_directory(&directory)
        .expect("a writable directory");
    drop(state);
    node.up();
}

fn forged(cert: MemberCert, network: NetworkId) -> DirectoryEntry {
    let version = Version {
        revision: Revision(u64::MAX),
        ..cert.version
    };
    let cert = MemberCert { version, ..cert };
    DirectoryEntry::Member(Signed::sign(&cert, network.into(), &stolen_key()))
}

/// Members by node address, as a controller has them.
fn truth(controller: &Controller) -> BTreeMap<String, String> {
    by_address(&controller.json(&["member", "ls", "home"]))
}

/// Peers by node address.
fn names(node: &Node) -> BTreeMap<String, String> {
    by_address(&node.json(&["peers"]))
}

fn knows_exactly(node: &Node, truth: &BTreeMap<String, String>) -> bool {
    let mut others = truth.clone();
    others.remove(&node.id());
    names(node) == others
}

fn by_address(list: &Value) -> BTreeMap<String, String> {
    let entries = list.as_array().into_iter().flatten();
    entries
        .filter_map(|entry| {
            let text = |name: &str| entry[name].as_str().map(str::to_owned);
            Some((text("node")?, text("name")?))
        })
        .collect()
}
