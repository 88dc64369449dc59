//! Containers in the overlay. What is to be done is decided in [`tombolo_containers`]; here it is observed and done.
//!
//! One task, the keeper, owns everything that concerns Docker. It looks at start, on every event of Docker's, when the
//! overlay's documents change, every 30 seconds, and when Docker comes back; the data path never waits for it and never
//! needs Docker. Rules stay when the node or Docker stops, so containers keep their connections.

mod creating;
pub mod engine_api;
mod firewall;
mod keeper;
mod leaving;
mod memory;
mod reporting;
mod routes;
mod verbs;

use std::collections::BTreeSet;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};
use tombolo_containers::situation::{LocalPrefix, Membership};
use tombolo_proto::{control::RouteAction, id::NetworkId};

use crate::{failure::Failure, local_api::Answer, state_dir::generations::Generations};

/// Requests that may wait for the keeper.
const QUEUE: usize = 16;

/// What the keeper lets through the firewall: TUN device and prefix.
pub type Opened = BTreeSet<(String, IpNet)>;

/// What a verb of `node docker` asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum DockerRequest {
    /// `node docker create`
    Create(CreateRequest),
    /// `node docker ls`
    List,
    /// `node docker publish`
    Publish {
        /// Docker's name for the network.
        name: String,
        /// Which overlay network, if said.
        network: Option<NetworkId>,
        /// Even Docker's default subnet.
        force: bool,
    },
    /// `node docker unpublish`
    Unpublish {
        /// Docker's name for the network.
        name: String,
    },
    /// `node docker rm`
    Remove {
        /// Docker's name for the network.
        name: String,
        /// Even with containers attached.
        force: bool,
    },
    /// `node docker check`
    Check,
}

/// What `node docker create` asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateRequest {
    /// Docker's name for the network.
    pub name: String,
    /// Which overlay network, if said.
    pub network: Option<NetworkId>,
    /// This IPv4 subnet instead of one that the controller chooses.
    pub subnet: Option<Ipv4Net>,
    /// This IPv6 subnet instead of a part of the member's /80.
    pub ipv6_subnet: Option<Ipv6Net>,
    /// No IPv6.
    pub no_ipv6: bool,
    /// Nothing but the overlay.
    pub internal: bool,
    /// Keep the containers' addresses towards the world.
    pub no_masquerade: bool,
    /// Metric of its routes.
    pub route_metric: u32,
}

/// What the keeper wants of the daemon.
#[derive(Debug)]
pub enum Question {
    /// How things are.
    World(oneshot::Sender<World>),
    /// Publish or withdraw a prefix; answered as `node route` is.
    Route {
        /// Where.
        network: NetworkId,
        /// The prefix.
        prefix: IpNet,
        /// Publish or withdraw.
        action: RouteAction,
        /// Where the answer goes.
        answer: oneshot::Sender<Answer>,
    },
    /// A subnet that the controller chooses; answered as `node route add` is.
    Subnet {
        /// Where.
        network: NetworkId,
        /// Length of the prefix.
        length: u8,
        /// Metric of its route.
        metric: u32,
        /// Where the answer goes.
        answer: oneshot::Sender<Answer>,
    },
    /// Docker has nothing of the network any more: it can be left.
    Leave {
        /// Which.
        network: NetworkId,
        /// Where the answer goes.
        answer: oneshot::Sender<Answer>,
    },
}

/// The overlay and the host, as the daemon knows them.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// Networks that this node is a member of.
    pub memberships: Vec<Membership>,
    /// What the host reaches by other means, default routes apart.
    pub local: Vec<LocalPrefix>,
}

/// What the daemon wants of the keeper.
#[derive(Debug)]
enum Errand {
    Verb(DockerRequest, oneshot::Sender<Answer>),
    /// Remove what belongs to a network, or say why not; then the daemon is told to leave it.
    Forget {
        network: NetworkId,
        force: bool,
        answer: oneshot::Sender<Answer>,
    },
}

/// The daemon's end of the keeper. Dropping it ends the keeper; what it did stays.
#[derive(Debug)]
pub struct Keeper {
    errands: mpsc::Sender<Errand>,
    changes: watch::Sender<u64>,
    problems: watch::Receiver<Vec<String>>,
    opened: watch::Receiver<Opened>,
}

impl Keeper {
    /// Starts the task; its questions come out of the receiver.
    #[must_use]
    pub fn start(settings: Settings, memory: Generations) -> (Self, mpsc::Receiver<Question>) {
        let (errands, errand_queue) = mpsc::channel(QUEUE);
        let (questions, question_queue) = mpsc::channel(QUEUE);
        let (changes, changed) = watch::channel(0);
        let inputs = keeper::Inputs {
            errands: errand_queue,
            changed,
        };
        let (problem_sender, problems) = watch::channel(Vec::new());
        let (opened_sender, opened) = watch::channel(Opened::new());
        let memory = memory::Remembered::load(memory);
        let tells = keeper::Tells {
            questions,
            problems: problem_sender,
            opened: opened_sender,
        };
        let task = keeper::Task::new(settings, memory, tells);
        tokio::spawn(task.run(inputs));
        let keeper = Self {
            errands,
            changes,
            problems,
            opened,
        };
        (keeper, question_queue)
    }

    /// The overlay's documents have changed.
    pub fn nudge(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// What is wrong with containers on this host, one line each.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        self.problems.borrow().clone()
    }

    /// What is let through, now and later.
    #[must_use]
    pub fn opened(&self) -> watch::Receiver<Opened> {
        self.opened.clone()
    }

    /// Has a verb answered.
    pub fn ask(&self, request: DockerRequest, answer: oneshot::Sender<Answer>) {
        self.send(Errand::Verb(request, answer));
    }

    /// Has everything of a network removed from Docker, and then the network left ([`Question::Leave`]).
    pub fn forget(&self, network: NetworkId, force: bool, answer: oneshot::Sender<Answer>) {
        self.send(Errand::Forget {
            network,
            force,
            answer,
        });
    }

    fn send(&self, errand: Errand) {
        if let Err(error) = self.errands.try_send(errand) {
            let (Errand::Verb(_, answer) | Errand::Forget { answer, .. }) = error.into_inner();
            let busy = "Docker is slow and others wait already: try again";
            let _ = answer.send(Failure::new(crate::failure::FailureKind::Failed, busy).into());
        }
    }
}

/// How to reach Docker.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the engine listens.
    pub socket: std::path::PathBuf,
    /// Whether to look at all.
    pub enabled: bool,
}
