//! A small resolver for names of members and containers; off unless the configuration says otherwise. What is answered is
//! decided in [`tombolo_names`]; here are the sockets, and the look at Docker.
//!
//! It listens on this node's overlay addresses and on the gateways of the bridges behind it, never on all addresses: port 53
//! of a host is often taken in part. Who asks is told by the source address.

mod containers;
mod exchange;
mod keeper;
pub(crate) mod lookup;
mod serving;

use std::{net::IpAddr, path::PathBuf};

use tokio::sync::watch;
use tombolo_names::table::Zone;

/// Where DNS is spoken.
const PORT: u16 = 53;
/// The host's own resolvers.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// How the resolver is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Where it listens.
    pub listening: Vec<IpAddr>,
    /// What keeps it from listening, or names from being answered; one line each.
    pub problems: Vec<String>,
}

/// The daemon's end of the resolver. Dropping it ends the resolver.
#[derive(Debug)]
pub struct Names {
    zones: watch::Sender<Vec<Zone>>,
    status: watch::Receiver<Status>,
}

impl Names {
    /// Starts the resolver. Without Docker's socket it answers for members alone.
    #[must_use]
    pub fn start(docker: Option<PathBuf>) -> Self {
        let (zones, zone_changes) = watch::channel(Vec::new());
        let (status_sender, status) = watch::channel(Status::default());
        tokio::spawn(keeper::Task::new(docker, status_sender).run(zone_changes));
        Self { zones, status }
    }

    /// The networks and members that there are now.
    pub fn follow(&self, zones: Vec<Zone>) {
        self.zones.send_if_modified(|known| {
            let is_new = *known != zones;
            *known = zones;
            is_new
        });
    }

    /// How the resolver is.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }
}
