//! Members with Docker on their hosts.

use tombolo_tests::{
    docker::{Docker, ForwardPolicy},
    netns::{Capture, Claim, Container},
    overlay::{Overlay, wait_for_ping},
};

/// A network whose members have Docker.
pub(crate) struct Members {
    /// One per member, in the order of `overlay.nodes`.
    pub(crate) dockers: Vec<Docker>,
    pub(crate) overlay: Overlay,
}

impl Members {
    /// Members with these names and policies, Docker installed but not started; `None` where it cannot be had.
    #[track_caller]
    pub(crate) fn new(claim: Claim, members: &[(&str, ForwardPolicy)]) -> Option<Self> {
        let lab = tombolo_tests::docker::lab(claim)?;
        let (hosts, dockers) = members
            .iter()
            .map(|(name, policy)| Docker::installed(&lab, name, *policy))
            .unzip();
        Some(Self {
            dockers,
            overlay: Overlay::on_hosts(lab, hosts, ""),
        })
    }

    /// Routes a prefix, as somebody typed it, to a member, and gives the route's id.
    #[track_caller]
    pub(crate) fn route(&self, typed: &str, member: usize) -> String {
        let Overlay {
            controller,
            network,
            nodes,
            ..
        } = &self.overlay;
        controller.add_route(network, typed, &nodes[member].id())
    }

    /// Every host and every container reaches every container on another host, v4 and v6.
    #[track_caller]
    pub(crate) fn assert_all_reach(&self, containers: &[&Container]) {
        for (to, container) in containers.iter().enumerate() {
            for (from, other) in containers.iter().enumerate() {
                if from != to {
                    let host = &self.overlay.nodes[from].host.namespace;
                    for namespace in [host, &other.namespace] {
                        wait_for_ping(namespace, container.v4);
                        wait_for_ping(namespace, container.v6);
                    }
                }
            }
        }
    }

    /// `far` sees the packets of `near` with the address that `near` has.
    #[track_caller]
    pub(crate) fn assert_own_address_is_seen(&self, near: &Container, far: &Container) {
        let capture = Capture::start(
            &far.namespace,
            "eth0",
            "icmp or icmp6",
            self.overlay.lab.dir(),
        );
        wait_for_ping(&near.namespace, far.v4);
        wait_for_ping(&near.namespace, far.v6);
        let seen = capture.stop();
        for direction in [
            format!("{} > {}", near.v4, far.v4),
            format!("{} > {}", near.v6, far.v6),
        ] {
            assert!(
                seen.lines.iter().any(|line| line.contains(&direction)),
                "{direction} is missing in {:?}",
                seen.lines
            );
        }
    }
}
