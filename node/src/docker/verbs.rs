//! The verbs that change something: publish, unpublish and rm; create is in [`super::creating`].

use tombolo_containers::{
    Situation, guard, plan,
    situation::{ContainerNetwork, Membership, Publication},
};
use tombolo_proto::id::NetworkId;

use super::{DockerRequest, keeper::Task, routes::Standing};
use crate::{
    failure::{Failure, FailureKind},
    local_api::Answer,
    report::docker::{RemovedReport, UnpublishedReport},
};

impl Task {
    pub(super) async fn obey(&mut self, request: DockerRequest) -> Result<Answer, Failure> {
        Ok(match request {
            DockerRequest::Create(request) => Answer::done(&self.create(request).await?),
            DockerRequest::List => Answer::done(&self.list().await?),
            DockerRequest::Publish {
                name,
                network,
                force,
            } => {
                self.publish(&name, network, force).await?;
                Answer::done(&self.report(&name).await?)
            }
            DockerRequest::Unpublish { name } => {
                self.unpublish(&name).await?;
                Answer::done(&UnpublishedReport { name })
            }
            DockerRequest::Remove { name, force } => {
                Answer::done(&self.remove(&name, force).await?)
            }
            DockerRequest::Check => Answer::done(&self.check().await?),
        })
    }

    async fn publish(
        &mut self,
        name: &str,
        network: Option<NetworkId>,
        force: bool,
    ) -> Result<(), Failure> {
        let mut situation = self.observe().await?;
        let docker = known(&situation, name)?.clone();
        let network = which(&situation, network)?.network;
        if docker
            .labels
            .contains_key(tombolo_containers::labels::NETWORK)
        {
            let plan = plan(&situation);
            return self.settle(&situation, &plan).await;
        }
        let publication = Publication { network, force };
        situation
            .memory
            .published
            .insert(name.to_owned(), publication);
        let next = plan(&situation);
        if let Some(Err(refusal)) = next.entry(name).map(|entry| &entry.opening) {
            return Err(conflict(refusal.clone()));
        }
        let routes = next
            .routes
            .iter()
            .filter(|(_, prefix)| docker.subnets.iter().any(|subnet| subnet.prefix == *prefix));
        // Asked first, so that a refusal leaves nothing behind.
        for (network, prefix) in routes.copied() {
            if let Standing::Refused(reason) =
                self.publish_route(network, prefix, docker.metric()).await?
            {
                let before = self.observe().await?;
                self.settle(&before, &plan(&before)).await?;
                return Err(Failure::new(FailureKind::Conflict, reason));
            }
        }
        self.memory.change(|memory| {
            memory.published.insert(name.to_owned(), publication);
        })?;
        self.settle(&situation, &next).await
    }

    async fn unpublish(&mut self, name: &str) -> Result<(), Failure> {
        let situation = self.observe().await?;
        if let Some(docker) = situation.container_network(name)
            && docker
                .labels
                .contains_key(tombolo_containers::labels::NETWORK)
        {
            let message = if docker.is_managed() {
                format!(
                    "{name} was made for the overlay: remove it with `tombolo docker rm {name}`"
                )
            } else {
                format!("{name} is published by its label: make it again without the label")
            };
            return Err(Failure::new(FailureKind::Conflict, message));
        }
        if !situation.memory.published.contains_key(name) {
            known(&situation, name)?;
        }
        self.memory.change(|memory| {
            memory.published.remove(name);
        })?;
        let situation = self.observe().await?;
        let plan = plan(&situation);
        self.settle(&situation, &plan).await
    }

    async fn remove(&mut self, name: &str, force: bool) -> Result<RemovedReport, Failure> {
        let situation = self.observe().await?;
        let network = known(&situation, name)?;
        if !network.is_managed() {
            let message = format!(
                "{name} was not made by `tombolo docker create`: `tombolo docker unpublish {name}` takes it out of the overlay, `docker network rm {name}` removes it"
            );
            return Err(Failure::new(FailureKind::Conflict, message));
        }
        let disconnected = self.empty(network, force).await?;
        self.api().await?.remove(&network.id).await?;
        let overlay = plan(&situation).entry(name).and_then(|entry| entry.network);
        let (mut routes, mut later) = (Vec::new(), Vec::new());
        for prefix in network.subnets.iter().map(|subnet| subnet.prefix) {
            let Some(overlay) = overlay else { continue };
            let certified = situation
                .membership(overlay)
                .is_some_and(|membership| membership.routes.contains(&prefix));
            if !certified && !situation.memory.asked.contains(&(overlay, prefix)) {
                continue;
            }
            if self.withdraw_route(overlay, prefix).await? {
                routes.push(prefix);
            } else {
                later.push(prefix);
            }
        }
        let after = self.observe().await?;
        let plan = plan(&after);
        self.settle(&after, &plan).await?;
        Ok(RemovedReport {
            name: name.to_owned(),
            routes,
            later,
            disconnected,
        })
    }
}

/// The overlay network that is meant: the one that was named, or the only one.
pub(super) fn which(
    situation: &Situation,
    named: Option<NetworkId>,
) -> Result<&Membership, Failure> {
    let failed = |kind, message: String| Err(Failure::new(kind, message));
    match (named, situation.memberships.as_slice()) {
        (Some(id), _) => situation.membership(id).ok_or_else(|| {
            let message =
                format!("this node is not a member of network {id}: see `tombolo networks`");
            Failure::new(FailureKind::Failed, message)
        }),
        (None, [only]) => Ok(only),
        (None, []) => failed(
            FailureKind::Failed,
            "this node is not a member of any network yet: see `tombolo status`".to_owned(),
        ),
        (None, _) => failed(
            FailureKind::Usage,
            "this node is in several networks: say which with --network ID".to_owned(),
        ),
    }
}

fn known<'s>(situation: &'s Situation, name: &str) -> Result<&'s ContainerNetwork, Failure> {
    situation
        .container_network(name)
        .ok_or_else(|| unknown(name))
}

pub(super) fn unknown(name: &str) -> Failure {
    let message = format!("Docker has no network called {name}: see `tombolo docker ls`");
    Failure::new(FailureKind::Failed, message)
}

pub(super) fn conflict(refusal: guard::Refusal) -> Failure {
    Failure::new(FailureKind::Conflict, refusal.to_string())
}
