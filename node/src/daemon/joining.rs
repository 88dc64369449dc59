//! `node join` and `node leave`.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tombolo_engine::reconcile::LinkName;
use tombolo_proto::{
    control::{Standing, ToController},
    id::{NetworkId, NodeId},
};

use super::{Daemon, network::Network, wall};
use crate::{
    failure::{Failure, FailureKind},
    io::tun,
    local_api::{Answer, JoinRequest},
    report::{JoinReport, LeaveReport, NetworkStatus},
    state_dir::settings::NetworkSettings,
};

/// How long a join without `--wait` waits for a controller to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A `node join` that waits for its outcome.
#[derive(Debug)]
pub(super) struct JoinWaiter {
    network: NetworkId,
    answer: oneshot::Sender<Answer>,
    deadline: Instant,
    /// `--wait`: not content with the request being recorded.
    for_authorization: bool,
}

impl Daemon {
    pub(super) fn join(&mut self, request: JoinRequest, answer: oneshot::Sender<Answer>) {
        let id = request.network;
        let wait = request.wait;
        if let Err(failure) = self.record_join(request) {
            let _ = answer.send(failure.into());
            return;
        }
        self.write_caches();
        let authority = id.authority();
        let known = self
            .authorities
            .get(&authority)
            .and_then(|known| known.connected.as_ref());
        let greeting = known.map(|connected| (connected.root, connected.keyring.clone()));
        self.link_authority(authority, true);
        if let Some((root, keyring)) = greeting {
            self.greet(id, root, &keyring);
        }
        let patience = wait.map_or(ANSWER_WITHIN, Duration::from_secs);
        self.joins.push(JoinWaiter {
            network: id,
            answer,
            deadline: Instant::now() + patience,
            for_authorization: wait.is_some(),
        });
    }

    /// Notes down what to join and how; a second join adds to the first.
    fn record_join(&mut self, mut request: JoinRequest) -> Result<(), Failure> {
        let id = request.network;
        if request.controllers.is_empty() {
            request
                .controllers
                .clone_from(&self.config.file.controllers);
        }
        let has_controllers = self.networks_of(id.authority()).next().is_some();
        if request.controllers.is_empty() && !has_controllers {
            let message = "no controller is known for this network: add --controller HOST:PORT, or use the join link";
            return Err(Failure::new(FailureKind::Usage, message));
        }
        match self.networks.get_mut(&id) {
            Some(network) => rejoin(network, request),
            None => {
                let network = self.new_network(request)?;
                self.networks.insert(id, network);
                Ok(())
            }
        }
    }

    fn new_network(&self, request: JoinRequest) -> Result<Network, Failure> {
        let id = request.network;
        let link = self.choose_link(request.interface.as_deref())?;
        let settings = NetworkSettings {
            controllers: request.controllers,
            known_controllers: Vec::new(),
            root: None,
            digest: request.digest,
            token: request.token,
            interface: link.to_string(),
            allow_global: false,
            allow_default: false,
            denied: None,
            not_found: false,
        };
        let files = self.state.network(id);
        // A join that cannot be kept would be forgotten by the next start: better to say so now.
        files.store_settings(&settings).map_err(Failure::from)?;
        Ok(Network::new(id, files, settings, link))
    }

    fn choose_link(&self, wanted: Option<&str>) -> Result<LinkName, Failure> {
        let is_ours = |name: &LinkName| self.networks.values().any(|network| network.link == *name);
        if let Some(name) = wanted {
            let name: LinkName = name
                .parse()
                .map_err(|error| Failure::new(FailureKind::Usage, format!("{error}")))?;
            if is_ours(&name) || tun::exists(&name) {
                let message = format!(
                    "the interface {name} exists already: choose another name with --interface"
                );
                return Err(Failure::new(FailureKind::Conflict, message));
            }
            return Ok(name);
        }
        let free = (0..=u16::MAX)
            .filter_map(|number| format!("tmb{number}").parse().ok())
            .find(|name| !is_ours(name) && !tun::exists(name));
        free.ok_or_else(|| {
            Failure::new(
                FailureKind::Conflict,
                "no interface name tmb0 … tmb65535 is free",
            )
        })
    }

    /// Answers the joins whose outcome is known, or whose time is up.
    pub(super) fn settle_joins(&mut self) {
        let now = Instant::now();
        for waiter in std::mem::take(&mut self.joins) {
            match self.outcome(&waiter, now) {
                Some(answer) => {
                    // If who asked has gone away, the join goes on all the same.
                    let _ = waiter.answer.send(answer);
                }
                None => self.joins.push(waiter),
            }
        }
    }

    fn outcome(&mut self, waiter: &JoinWaiter, now: Instant) -> Option<Answer> {
        let id = waiter.network;
        let failed = |kind, message: String| Some(Answer::failed(kind, message));
        let Some(network) = self.networks.get(&id) else {
            return failed(
                FailureKind::Failed,
                format!("network {id} was left meanwhile"),
            );
        };
        let late = now >= waiter.deadline;
        match network.status(&self.me, self.is_connected(id), wall()) {
            NetworkStatus::Ok | NetworkStatus::OfflineOk if network.slot.is_some() => {
                self.joined(id)
            }
            NetworkStatus::Ok | NetworkStatus::OfflineOk if network.link_problem.is_some() => {
                failed(
                    FailureKind::Failed,
                    network.link_problem.clone().unwrap_or_default(),
                )
            }
            NetworkStatus::Pending
                if !waiter.for_authorization && network.standing == Some(Standing::Pending) =>
            {
                self.joined(id)
            }
            NetworkStatus::Denied => {
                let reason = network.settings.denied.clone().unwrap_or_default();
                failed(
                    FailureKind::NotAuthorized,
                    format!("the controller refused this node: {reason}"),
                )
            }
            NetworkStatus::NotFound => failed(
                FailureKind::Failed,
                format!(
                    "the controller knows no network {id}: check the id, then `tombolo leave {id}`"
                ),
            ),
            NetworkStatus::Requesting
            | NetworkStatus::Pending
            | NetworkStatus::Ok
            | NetworkStatus::OfflineOk => {
                if let Some(problem) = network
                    .sync_problem
                    .as_ref()
                    .filter(|problem| problem.is_wrong_key())
                {
                    return failed(FailureKind::Failed, problem.to_string());
                }
                late.then(|| self.too_late(waiter, network).into())
            }
        }
    }

    fn joined(&mut self, id: NetworkId) -> Option<Answer> {
        let network = self.network_report(id)?;
        let trusted = self
            .networks
            .get_mut(&id)
            .is_some_and(|network| std::mem::take(&mut network.trusted_on_first_use));
        Some(Answer::done(&JoinReport {
            network,
            trusted_on_first_use: trusted,
        }))
    }

    fn too_late(&self, waiter: &JoinWaiter, network: &Network) -> Failure {
        if network.standing == Some(Standing::Busy) {
            let message = "the controller takes no further requests now; the daemon goes on asking";
            return Failure::new(FailureKind::Unreachable, message);
        }
        if network.standing.is_some() && waiter.for_authorization {
            let message = format!(
                "not authorised in time: authorise node {} at the controller; the request stands",
                self.node
            );
            return Failure::new(FailureKind::NotAuthorized, message);
        }
        let problem = network.sync_problem.as_ref().map_or_else(
            || "no controller has answered".to_owned(),
            ToString::to_string,
        );
        Failure::new(
            FailureKind::Unreachable,
            format!("{problem}; the daemon goes on trying"),
        )
    }

    /// Leaves: tells a controller if one is there, and forgets the network.
    pub(super) fn leave(&mut self, id: NetworkId, answer: oneshot::Sender<Answer>) {
        if !self.networks.contains_key(&id) {
            let _ = answer.send(not_joined(id).into());
            return;
        }
        let told = self.is_connected(id);
        self.deactivate(id);
        if let Some(network) = self.networks.remove(&id)
            && let Err(error) = network.files.remove()
        {
            // It would come back with the next start.
            let _ = answer.send(error.into());
            self.networks.insert(id, network);
            return;
        }
        let authority = id.authority();
        if let Some(known) = self.authorities.get(&authority).filter(|_| told) {
            known.link.send(ToController::Leave { network: id });
        }
        let left = Answer::done(&LeaveReport {
            id,
            controller_told: told,
        });
        if self.networks_of(authority).next().is_some() {
            self.link_authority(authority, false);
            let _ = answer.send(left);
        } else if let Some(known) = self.authorities.remove(&authority) {
            tokio::spawn(async move {
                known.link.close().await;
                let _ = answer.send(left);
            });
        }
        tracing::info!(network = %id, "Left the network");
    }

    pub(super) fn is_connected(&self, id: NetworkId) -> bool {
        self.is_connected_to(id.authority())
    }

    pub(super) fn is_connected_to(&self, authority: NodeId) -> bool {
        self.authorities
            .get(&authority)
            .is_some_and(|known| known.connected.is_some())
    }
}

/// What a verb says of a network that this node is not in.
pub(super) fn not_joined(id: NetworkId) -> Failure {
    Failure::new(
        FailureKind::Failed,
        format!("this node has not joined network {id}: see `tombolo networks`"),
    )
}

fn rejoin(network: &mut Network, request: JoinRequest) -> Result<(), Failure> {
    let conflict = |message: String| Err(Failure::new(FailureKind::Conflict, message));
    let settings = &mut network.settings;
    if let (Some(root), Some(digest)) = (settings.root, request.digest)
        && root.digest() != digest
    {
        return conflict(format!(
            "network {} is pinned to another authority key than this link names: check the link; `tombolo leave {}` forgets the pin",
            network.id, network.id
        ));
    }
    if request
        .interface
        .as_ref()
        .is_some_and(|name| *name != settings.interface)
    {
        return conflict(format!(
            "network {} is on interface {} already: leave it first to change the name",
            network.id, settings.interface
        ));
    }
    // The newest word on where controllers are goes first.
    let older: Vec<_> = settings
        .controllers
        .iter()
        .filter(|known| !request.controllers.contains(known))
        .cloned()
        .collect();
    settings.controllers = request.controllers.into_iter().chain(older).collect();
    settings.digest = request.digest.or(settings.digest);
    settings.token = request.token.or(settings.token.take());
    settings.denied = None;
    settings.not_found = false;
    network.standing = None;
    network.sync_problem = None;
    network.unsaved.settings = true;
    Ok(())
}
