//! Routes for containers: asked of the controller, by way of the daemon.

use ipnet::IpNet;
use tokio::sync::oneshot;
use tombolo_containers::{Plan, Situation};
use tombolo_proto::{control::RouteAction, id::NetworkId};

use super::{
    Question,
    keeper::{Task, stopping},
};
use crate::{
    failure::{Failure, FailureKind},
    local_api::Answer,
    report::{RouteChange, RouteChangeReport},
};

/// What became of a route that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    Active,
    Pending,
    Refused(String),
    Unanswered,
}

impl Task {
    /// Asks for what is missing and gives back what nobody wants any more.
    pub(super) async fn settle_routes(
        &mut self,
        situation: &Situation,
        plan: &Plan,
    ) -> Result<(), Failure> {
        for (network, prefix) in plan.routes.iter().copied() {
            let certified = situation
                .membership(network)
                .is_some_and(|membership| membership.routes.contains(&prefix));
            if certified {
                self.remember(network, prefix)?;
                self.standings.insert((network, prefix), Standing::Active);
            } else {
                let metric = situation.metric(&prefix);
                self.publish_route(network, prefix, metric).await?;
            }
        }
        let asked = &situation.memory.asked;
        for (network, prefix) in asked.difference(&plan.routes).copied() {
            self.withdraw_route(network, prefix).await?;
        }
        Ok(())
    }

    /// Asks for a route, again if it was asked for before: the answer says where it stands. That it was asked for is on
    /// disk before; if nobody turns out to want it, the next look gives it back.
    pub(super) async fn publish_route(
        &mut self,
        network: NetworkId,
        prefix: IpNet,
        metric: u32,
    ) -> Result<Standing, Failure> {
        self.remember(network, prefix)?;
        let asked = self.ask(|answer| Question::Route {
            network,
            prefix,
            action: RouteAction::Publish { metric },
            answer,
        });
        let standing = match asked.await {
            Ok(report) if report.state == RouteChange::Active => Standing::Active,
            Ok(_) => Standing::Pending,
            Err(failure) if failure.kind == FailureKind::Unreachable => Standing::Unanswered,
            Err(failure) => Standing::Refused(failure.message),
        };
        let before = self.standings.insert((network, prefix), standing.clone());
        if before.as_ref() != Some(&standing) {
            tracing::info!(%network, %prefix, ?standing, "Route for containers");
        }
        Ok(standing)
    }

    fn remember(&mut self, network: NetworkId, prefix: IpNet) -> Result<(), Failure> {
        self.memory.change(|memory| {
            memory.asked.insert((network, prefix));
        })?;
        Ok(())
    }

    /// Gives a route back; `false` if that has to wait for a controller.
    pub(super) async fn withdraw_route(
        &mut self,
        network: NetworkId,
        prefix: IpNet,
    ) -> Result<bool, Failure> {
        let asked = self.ask(|answer| Question::Route {
            network,
            prefix,
            action: RouteAction::Withdraw,
            answer,
        });
        match asked.await {
            Err(failure) if failure.kind == FailureKind::Unreachable => return Ok(false),
            Ok(_) => tracing::info!(%network, %prefix, "Route for containers withdrawn"),
            // An administrator's, or of a network that was left: not ours to withdraw.
            Err(failure) => tracing::info!(%network, %prefix, "Route left as it is: {failure}"),
        }
        self.standings.remove(&(network, prefix));
        self.memory.change(|memory| {
            memory.asked.remove(&(network, prefix));
        })?;
        Ok(true)
    }

    /// Has the controller choose a subnet.
    pub(super) async fn allocate(
        &mut self,
        network: NetworkId,
        length: u8,
        metric: u32,
    ) -> Result<IpNet, Failure> {
        let report = self
            .ask(|answer| Question::Subnet {
                network,
                length,
                metric,
                answer,
            })
            .await?;
        self.remember(network, report.prefix)?;
        self.standings
            .insert((network, report.prefix), Standing::Active);
        Ok(report.prefix)
    }

    async fn ask(
        &self,
        question: impl FnOnce(oneshot::Sender<Answer>) -> Question,
    ) -> Result<RouteChangeReport, Failure> {
        let (sender, receiver) = oneshot::channel();
        self.put(question(sender)).await;
        match receiver.await {
            Ok(Answer::Done(report)) => serde_json::from_value(report)
                .map_err(|error| Failure::new(FailureKind::Failed, error.to_string())),
            Ok(Answer::Failed(failure)) => Err(failure),
            Err(_) => Err(stopping()),
        }
    }
}
