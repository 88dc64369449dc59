//! The task that keeps containers in the overlay: looks, plans, settles, again and again.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ipnet::IpNet;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until},
};
use tombolo_containers::{Plan, Situation, plan};
use tombolo_proto::id::NetworkId;

use super::{
    Errand, Opened, Question, Settings, World,
    engine_api::{ApiError, EngineApi, Events, NETWORK_EVENTS},
    firewall,
    memory::Remembered,
    routes::Standing,
};
use crate::failure::{Failure, FailureKind};

/// How often everything is compared, events apart.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How soon a Docker that came back is seen. The look is one attempt to connect to a UNIX socket.
const RETRY_EVERY: Duration = Duration::from_secs(2);
/// Docker's events come in bursts: one look for all of them.
const SETTLES: Duration = Duration::from_millis(300);
/// The overlay's documents may change all the time in a large network, and rarely so that it matters here.
const FOLLOWS: Duration = Duration::from_secs(3);

/// Where everything comes in.
pub(super) struct Inputs {
    pub(super) errands: mpsc::Receiver<Errand>,
    pub(super) changed: watch::Receiver<u64>,
}

/// Where everything goes out.
pub(super) struct Tells {
    pub(super) questions: mpsc::Sender<Question>,
    /// What is wrong, one line each, for `node status`.
    pub(super) problems: watch::Sender<Vec<String>>,
    /// What is let through, so that nobody else does.
    pub(super) opened: watch::Sender<Opened>,
}

/// The state of the task.
pub(super) struct Task {
    settings: Settings,
    pub(super) memory: Remembered,
    tells: Tells,
    docker: Option<EngineApi>,
    engine: Option<tombolo_containers::situation::Engine>,
    events: Option<Events>,
    pub(super) standings: BTreeMap<(NetworkId, IpNet), Standing>,
    /// Rules of ours, as of the last look; none before the first one.
    pub(super) rules: Option<usize>,
}

impl Task {
    pub(super) const fn new(settings: Settings, memory: Remembered, tells: Tells) -> Self {
        Self {
            settings,
            memory,
            tells,
            docker: None,
            engine: None,
            events: None,
            standings: BTreeMap::new(),
            rules: None,
        }
    }

    /// Runs until the daemon is gone.
    pub(super) async fn run(mut self, mut inputs: Inputs) {
        let mut due = Instant::now();
        loop {
            tokio::select! {
                errand = inputs.errands.recv() => match errand {
                    Some(errand) => self.run_errand(errand).await,
                    None => return,
                },
                changed = inputs.changed.changed() => match changed {
                    Ok(()) => due = due.min(Instant::now() + FOLLOWS),
                    Err(_) => return,
                },
                heard = next_event(&mut self.events) => {
                    if heard.is_none() {
                        tracing::info!("Docker has gone away; containers keep what they have");
                        self.disconnect();
                    }
                    due = due.min(Instant::now() + SETTLES);
                }
                () = sleep_until(due), if self.settings.enabled => due = Instant::now() + self.routine().await,
            }
        }
    }

    /// One look on its own account; how long until the next.
    async fn routine(&mut self) -> Duration {
        match self.look().await {
            Ok(refused) => {
                self.complain(refused);
                LOOK_EVERY
            }
            Err(failure) => {
                // A host without Docker is as it should be.
                let problem = format!("containers are not looked after: {failure}");
                let is_worth_a_word = self.docker.is_some();
                self.complain(is_worth_a_word.then_some(problem).into_iter().collect());
                RETRY_EVERY
            }
        }
    }

    /// Makes the host what it should be; gives the networks that cannot be published, one line each.
    async fn look(&mut self) -> Result<Vec<String>, Failure> {
        let situation = self.observe().await?;
        let plan = plan(&situation);
        self.settle(&situation, &plan).await?;
        let refused = plan.entries.iter().filter_map(|entry| {
            let refusal = entry.opening.as_ref().err()?;
            Some(format!("Docker network {}: {refusal}", entry.name))
        });
        Ok(refused.collect())
    }

    /// Tells `node status`, and the log of what is new.
    fn complain(&self, problems: Vec<String>) {
        self.tells.problems.send_if_modified(|known| {
            for problem in problems.iter().filter(|problem| !known.contains(problem)) {
                tracing::warn!("{problem}");
            }
            let is_new = *known != problems;
            *known = problems;
            is_new
        });
    }

    async fn run_errand(&mut self, errand: Errand) {
        match errand {
            Errand::Verb(request, answer) => {
                let reply = self.obey(request).await;
                // If who asked has gone away, nobody wants to know.
                let _ = answer.send(reply.unwrap_or_else(Into::into));
            }
            Errand::Forget {
                network,
                force,
                answer,
            } => match self.forget(network, force).await {
                Ok(()) => self.put(Question::Leave { network, answer }).await,
                Err(failure) => {
                    let _ = answer.send(failure.into());
                }
            },
        }
    }

    /// Everything that decisions depend on, as it is now. Docker first: without it nothing else is worth a look.
    pub(super) async fn observe(&mut self) -> Result<Situation, Failure> {
        if !self.settings.enabled {
            let message =
                "Docker is switched off in the configuration: set `enabled = true` under [docker]";
            return Err(Failure::new(FailureKind::Unreachable, message));
        }
        let networks = match self.api().await?.networks().await {
            Ok(networks) => networks,
            Err(error) => {
                self.disconnect();
                return Err(error.into());
            }
        };
        let engine = self.engine.clone().ok_or_else(gone)?;
        let world = self.world().await?;
        Ok(Situation {
            engine,
            networks,
            memberships: world.memberships,
            local: world.local,
            memory: self.memory.get().clone(),
        })
    }

    /// The engine, connected to if need be. Events are asked for before anything else, so that none is missed.
    pub(super) async fn api(&mut self) -> Result<&EngineApi, Failure> {
        if self.docker.is_none() || self.events.is_none() {
            let (docker, engine) = EngineApi::connect(&self.settings.socket).await?;
            self.events = Some(docker.events(NETWORK_EVENTS).await?);
            tracing::info!(version = %engine.version, api = %engine.api, "Connected to Docker");
            self.engine = Some(engine);
            self.docker = Some(docker);
        }
        self.docker.as_ref().ok_or_else(gone)
    }

    fn disconnect(&mut self) {
        self.docker = None;
        self.events = None;
    }

    /// Brings firewall and routes to what the plan says. Routes that the controller does not answer for now are asked for
    /// again with the next look.
    pub(super) async fn settle(
        &mut self,
        situation: &Situation,
        plan: &Plan,
    ) -> Result<(), Failure> {
        self.settle_firewall(situation, plan).await?;
        self.settle_routes(situation, plan).await
    }

    pub(super) async fn settle_firewall(
        &mut self,
        situation: &Situation,
        plan: &Plan,
    ) -> Result<(), Failure> {
        let openings: Vec<_> = plan.openings().collect();
        // Where nothing is open and nothing was, nobody has to look.
        if openings.is_empty() && self.rules == Some(0) {
            return Ok(());
        }
        let links = overlay_links(situation);
        self.rules = Some(firewall::settle(&openings, &links).await?);
        let opened: Opened = openings
            .iter()
            .flat_map(|opening| {
                let subnets = opening.subnets.iter();
                subnets.map(|subnet| (opening.link.clone(), *subnet))
            })
            .collect();
        self.tells.opened.send_if_modified(|known| {
            let is_new = *known != opened;
            *known = opened;
            is_new
        });
        Ok(())
    }

    async fn world(&self) -> Result<World, Failure> {
        let (sender, receiver) = oneshot::channel();
        self.put(Question::World(sender)).await;
        receiver.await.map_err(|_| stopping())
    }

    pub(super) async fn put(&self, question: Question) {
        // A daemon that is gone is found out by waiting for its answer.
        let _ = self.tells.questions.send(question).await;
    }
}

pub(super) fn overlay_links(situation: &Situation) -> BTreeSet<String> {
    let memberships = situation.memberships.iter();
    memberships
        .map(|membership| membership.link.clone())
        .collect()
}

async fn next_event(events: &mut Option<Events>) -> Option<()> {
    match events {
        Some(events) => events.next().await,
        None => std::future::pending().await,
    }
}

pub(super) fn stopping() -> Failure {
    Failure::new(FailureKind::Unreachable, "the daemon is stopping")
}

fn gone() -> Failure {
    Failure::new(FailureKind::Unreachable, "Docker has gone away: try again")
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        let kind = match &error {
            ApiError::Unreachable { .. } => FailureKind::Unreachable,
            ApiError::Refused { status, .. } if status.as_u16() == 409 => FailureKind::Conflict,
            ApiError::Refused { .. } | ApiError::TooNew(_) | ApiError::Unreadable { .. } => {
                FailureKind::Failed
            }
        };
        Self::new(kind, error.to_string())
    }
}
