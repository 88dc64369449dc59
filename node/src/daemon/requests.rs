//! Requests on the local socket.

use std::time::{Duration, Instant};

use ipnet::IpNet;
use tokio::sync::oneshot;
use tombolo_proto::{
    control::{RouteAction, RouteOutcome, SubnetOutcome, ToController},
    id::{NetworkId, NodeId},
};

use super::{Daemon, RouteWaiter, joining::not_joined};
use crate::{
    cli::SettingName,
    failure::{Failure, FailureKind},
    local_api::{Answer, Request, server::Asked},
    report::{IdReport, RouteChange, RouteChangeReport},
};

/// How long a controller may take to answer a route request.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

impl Daemon {
    pub(super) fn handle_request(&mut self, asked: Asked) {
        let Asked { request, answer } = asked;
        let reply = match request {
            Request::Id => Answer::done(&IdReport {
                node: self.node,
                public_key: self.me,
            }),
            Request::Status => Answer::done(&self.status_report()),
            Request::Peers => Answer::done(&self.peer_reports()),
            Request::Routes => Answer::done(&self.route_reports()),
            Request::Ping {
                network,
                node,
                patience_ms,
            } => return self.ping(network, node, patience_ms, answer),
            Request::Why { member, network } => Answer::done(&self.why_report(&member, network)),
            Request::Doctor => return self.doctor(answer),
            Request::Join(request) => return self.join(request, answer),
            Request::Leave { network, force } => {
                return self.docker.forget(network, force, answer);
            }
            Request::Docker(request) => return self.docker.ask(request, answer),
            Request::Set { network, settings } => self.set(network, &settings),
            Request::Route {
                network,
                prefix,
                publish,
            } => {
                let action = if publish {
                    RouteAction::Publish { metric: 0 }
                } else {
                    RouteAction::Withdraw
                };
                return self.ask_route(network, prefix, action, answer);
            }
        };
        // If who asked has gone away, nobody wants to know.
        let _ = answer.send(reply);
    }

    fn set(&mut self, id: NetworkId, settings: &[(SettingName, bool)]) -> Answer {
        let Some(network) = self.networks.get_mut(&id) else {
            return not_joined(id).into();
        };
        let mut changed = network.settings.clone();
        for (name, on) in settings {
            match name {
                SettingName::AllowGlobal => changed.allow_global = *on,
                SettingName::AllowDefault => changed.allow_default = *on,
            }
        }
        if let Err(error) = network.files.store_settings(&changed) {
            return error.into();
        }
        self.engine.allow_default(id, changed.allow_default);
        network.settings = changed;
        // Who owns what depends on it.
        self.refresh_membership(id);
        match self.network_report(id) {
            Some(report) => Answer::done(&report),
            None => not_joined(id).into(),
        }
    }

    /// Asks the controller to publish or withdraw a prefix behind this node.
    pub(super) fn ask_route(
        &mut self,
        id: Option<NetworkId>,
        prefix: IpNet,
        action: RouteAction,
        answer: oneshot::Sender<Answer>,
    ) {
        let prefix = prefix.trunc();
        self.ask_controller(id, Some(prefix), answer, |network, request| {
            ToController::Route {
                network,
                request,
                prefix,
                action,
            }
        });
    }

    /// Asks the controller for a subnet of this length for containers of this node.
    pub(super) fn ask_subnet(
        &mut self,
        id: NetworkId,
        length: u8,
        metric: u32,
        answer: oneshot::Sender<Answer>,
    ) {
        self.ask_controller(Some(id), None, answer, |network, request| {
            ToController::Subnet {
                network,
                request,
                length,
                metric,
            }
        });
    }

    fn ask_controller(
        &mut self,
        id: Option<NetworkId>,
        prefix: Option<IpNet>,
        answer: oneshot::Sender<Answer>,
        message: impl FnOnce(NetworkId, u32) -> ToController,
    ) {
        let asked = self.which_network(id).and_then(|id| match self.authorities.get(&id.authority()) {
            Some(known) if known.connected.is_some() => Ok((id, known)),
            _ => Err(Failure::new(
                FailureKind::Unreachable,
                "no controller is connected, so nothing was asked: try again later, see `tombolo status`",
            )),
        });
        let (network, known) = match asked {
            Ok(asked) => asked,
            Err(failure) => {
                let _ = answer.send(failure.into());
                return;
            }
        };
        let request = self.next_route_request;
        self.next_route_request = request.wrapping_add(1);
        known.link.send(message(network, request));
        let deadline = Instant::now() + ANSWER_WITHIN;
        self.routes_asked.insert(
            request,
            RouteWaiter {
                network,
                prefix,
                answer,
                deadline,
            },
        );
    }

    /// The network that is meant: the one that was named, or the only one.
    fn which_network(&self, named: Option<NetworkId>) -> Result<NetworkId, Failure> {
        match (named, self.networks.keys().next(), self.networks.len()) {
            (Some(id), _, _) if self.networks.contains_key(&id) => Ok(id),
            (Some(id), _, _) => Err(not_joined(id)),
            (None, Some(only), 1) => Ok(*only),
            (None, None, _) => Err(Failure::new(
                FailureKind::Failed,
                "this node has joined no network: `tombolo join` first",
            )),
            (None, Some(_), _) => Err(Failure::new(
                FailureKind::Usage,
                "this node is in several networks: say which with --network ID",
            )),
        }
    }

    pub(super) fn route_answered(
        &mut self,
        network: NetworkId,
        request: u32,
        outcome: RouteOutcome,
    ) {
        let Some(waiter) = self.routes_asked.remove(&request) else {
            return;
        };
        let state = match outcome {
            RouteOutcome::Active => Ok(RouteChange::Active),
            RouteOutcome::Pending => Ok(RouteChange::Pending),
            RouteOutcome::Withdrawn => Ok(RouteChange::Withdrawn),
            RouteOutcome::Refused { reason } => Err(reason),
        };
        let prefix = waiter.prefix;
        waiter.finish(network, state.map(|state| (prefix, state)));
    }

    pub(super) fn subnet_answered(
        &mut self,
        network: NetworkId,
        request: u32,
        outcome: SubnetOutcome,
    ) {
        let Some(waiter) = self.routes_asked.remove(&request) else {
            return;
        };
        waiter.finish(
            network,
            match outcome {
                SubnetOutcome::Allocated { prefix } => Ok((Some(prefix), RouteChange::Active)),
                SubnetOutcome::Refused { reason } => Err(reason),
            },
        );
    }

    /// Answers requests that the controller has not answered in time.
    pub(super) fn expire_routes(&mut self, now: Instant) {
        for (_, waiter) in self
            .routes_asked
            .extract_if(.., |_, waiter| waiter.deadline <= now)
        {
            let _ = waiter.answer.send(no_answer().into());
        }
    }

    /// Answers requests whose controller is gone.
    pub(super) fn fail_routes(&mut self, authority: NodeId) {
        for (_, waiter) in self
            .routes_asked
            .extract_if(.., |_, waiter| waiter.network.authority() == authority)
        {
            let _ = waiter.answer.send(no_answer().into());
        }
    }
}

impl RouteWaiter {
    fn finish(self, network: NetworkId, outcome: Result<(Option<IpNet>, RouteChange), String>) {
        let answer = match outcome {
            Ok((Some(prefix), state)) => Answer::done(&RouteChangeReport {
                network,
                prefix,
                state,
            }),
            Ok((None, _)) => Answer::failed(
                FailureKind::Failed,
                "the controller answered something else than it was asked",
            ),
            Err(reason) => Answer::failed(FailureKind::Conflict, reason),
        };
        // If who asked has gone away, nobody wants to know.
        let _ = self.answer.send(answer);
    }
}

fn no_answer() -> Failure {
    Failure::new(
        FailureKind::Unreachable,
        "the controller has not answered: look at `tombolo routes`, then try again",
    )
}
