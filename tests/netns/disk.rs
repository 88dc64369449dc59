//! Disks that lose a part of a file, or are full when something has to be written.

use std::{fs, path::PathBuf, process::Command};

use tombolo_tests::{
    netns::{Claim, Lab},
    overlay::{Controller, Node, Overlay, SOON, files_under, repetitions, wait_for_ping},
    process::{Said, wait_for},
};

#[test]
fn a_node_with_any_one_file_cut_short_is_back_as_itself_without_a_controller() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let mut overlay = Overlay::new(lab, &["a", "b"]);
    wait_for_ping(&overlay.nodes[0].host.namespace, overlay.nodes[1].v4());
    let target = overlay.nodes[0].v4();
    let id = overlay.nodes[1].id();
    // Two generations of documents that have everything a member needs.
    for target in ["10.9.1.0/24", "10.9.2.0/24"] {
        route(&overlay, target);
    }
    wait_for("endpoints to be on disk", SOON, || {
        overlay.nodes[1]
            .remembers(&overlay.nodes[0].host)
            .then_some(())
    });
    overlay.nodes[1].stop();
    overlay.controller.kill();
    let node = &mut overlay.nodes[1];
    let files: Vec<_> = files_under(&node.state_dir())
        .into_iter()
        .filter(|file| fs::metadata(file).is_ok_and(|meta| meta.len() > 1))
        .collect();
    assert!(files.len() > 6, "{files:?}");

    for file in files {
        let whole = fs::read(&file).expect("the node's own file");
        let cuts = [whole.len() / 2, 0, 1, whole.len() - 2];
        for length in cuts.into_iter().take(repetitions(1, 4)) {
            fs::write(&file, &whole[..length]).expect("the node's own file");

            node.up();

            assert_eq!(node.id(), id);
            wait_for_ping(&node.host.namespace, target);
            let name = file.file_name().expect("a file").to_string_lossy();
            let log = node.log();
            assert!(
                log.lines()
                    .any(|line| line.contains(&*name) && line.contains("damaged")),
                "{name} is not named in: {log}"
            );
            node.kill();
            fs::remove_file(node.host.dir.join("node.log")).expect("it said something");
        }
    }
}

#[test]
fn a_node_whose_disk_is_full_goes_on_says_so_and_keeps_what_it_had() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let mut overlay = Overlay::new(lab, &["a"]);
    let mut node = Node::new(overlay.lab.host("b"));
    let disk = SmallDisk::mount(node.state_dir());
    node.up();
    node.join(&overlay.network, &overlay.controller).ok();
    overlay.controller.authorize(&overlay.network, &node.id());
    node.wait_for_addresses("tmb0");
    overlay.nodes.insert(0, node);
    route(&overlay, "10.9.1.0/24");

    disk.fill();
    route(&overlay, "10.9.2.0/24");

    let node = &overlay.nodes[0];
    wait_for("a warning", SOON, || {
        warnings(node).contains("is full").then_some(())
    });
    disk.free();
    wait_for("the warning to go", SOON, || {
        (!warnings(node).contains("is full")).then_some(())
    });

    // Once more, and this time it does not live to see room again.
    disk.fill();
    route(&overlay, "10.9.3.0/24");
    let id = overlay.nodes[0].id();
    let target = overlay.nodes[1].v4();
    overlay.nodes[0].kill();
    overlay.controller.kill();
    overlay.nodes[0].up();
    assert_eq!(overlay.nodes[0].id(), id);
    wait_for_ping(&overlay.nodes[0].host.namespace, target);
    drop(overlay);
    drop(disk);
}

#[test]
fn a_controller_whose_disk_is_full_refuses_changes_and_keeps_all_it_acknowledged() {
    let Some(lab) = Lab::new(Claim::Shared) else {
        return;
    };
    let host = lab.host("ctl");
    let disk = SmallDisk::mount(host.dir.join("controller"));
    let mut controller = Controller::start(host);

    disk.fill();
    let mut acknowledged = Vec::new();
    let refused = (0..500).find_map(|number| {
        let name = format!("net{number}");
        let said = controller.verb(&["network", "create", &name]);
        if said.code == 0 {
            acknowledged.push(name);
            return None;
        }
        Some(said)
    });

    let refused = refused.expect("a full disk takes no more");
    refused.refused(1, &["changes are refused", "disk"]);
    controller.kill();
    disk.free();
    controller.serve();
    let names = controller.json(&["network", "ls"]).to_string();
    for name in &acknowledged {
        assert!(
            names.contains(&format!("{name:?}")),
            "{name} was acknowledged"
        );
    }
    let _ = controller.create_network("after", "172.27.0.0/16");
    drop(controller);
    drop(disk);
}

/// Adds a route via the last node, and waits until the first has it.
fn route(overlay: &Overlay, target: &str) {
    let [first, .., last] = overlay.nodes.as_slice() else {
        panic!("two nodes")
    };
    let _ = overlay
        .controller
        .add_route(&overlay.network, target, &last.id());
    wait_for("the route", SOON, || {
        let routes = first.host.namespace.run("ip route show dev tmb0");
        routes.contains(target).then_some(())
    });
}

fn warnings(node: &Node) -> String {
    node.json(&["status"])["warnings"].to_string()
}

/// A file system of two megabytes.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(place: PathBuf) -> Self {
        fs::create_dir_all(&place).expect("the lab's directory is writable");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=2m,mode=700", "none"]);
        Said::by(mount.arg(&place)).ok();
        Self(place)
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    /// Leaves no byte.
    fn fill(&self) {
        let full = fs::write(self.filler(), vec![0; 4 << 20]);
        assert!(full.is_err(), "it has no room for this");
    }

    fn free(&self) {
        fs::remove_file(self.filler()).expect("it was filled");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that still runs there must not keep the mount.
        let _ = Said::by(Command::new("umount").arg("-l").arg(&self.0));
    }
}
