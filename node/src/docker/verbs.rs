//! The verbs that change something: create, publish, unpublish, rm, and what `node leave` needs.

use ipnet::{IpNet, Ipv4Net};
use tombolo_containers::{
    Situation,
    create::{self, V6, Wish},
    guard::{self, SUBNET_LENGTH},
    plan,
    situation::{ContainerNetwork, Membership, Publication, Subnet},
};
use tombolo_proto::id::NetworkId;

use super::{
    CreateRequest, DockerRequest,
    keeper::{Standing, Task},
};
use crate::{
    failure::{Failure, FailureKind},
    local_api::Answer,
    report::docker::{CreatedReport, RemovedReport, UnpublishedReport},
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

    /// First the routes, then Docker, then the firewall; whatever fails, what was done before it is undone.
    async fn create(&mut self, request: CreateRequest) -> Result<CreatedReport, Failure> {
        let situation = self.observe().await?;
        let membership = which(&situation, request.network)?.clone();
        if situation.engine.rootless {
            return Err(conflict(guard::Refusal::Rootless));
        }
        let wish = Wish {
            name: request.name.clone(),
            v6: match request.ipv6_subnet {
                Some(prefix) => V6::Subnet(prefix.trunc()),
                None if request.no_ipv6 => V6::Off,
                None => V6::Automatic,
            },
            internal: request.internal,
            masquerade: !request.no_masquerade,
        };
        let v4 = request.subnet.map(|subnet| subnet.trunc());
        if let Some(existing) = situation.container_network(&request.name) {
            if !create::is_as_wished(existing, &membership, &wish, v4) {
                let message = format!(
                    "a Docker network called {0} exists already: choose another name, publish it as it is with `node docker publish {0}`, or remove it first",
                    request.name
                );
                return Err(Failure::new(FailureKind::Conflict, message));
            }
            let plan = plan(&situation);
            self.settle(&situation, &plan).await?;
            return self.created(&membership, &request.name, v4.is_none()).await;
        }
        let number = create::next_number(&situation, &membership).ok_or_else(|| {
            Failure::new(
                FailureKind::Conflict,
                "every bridge number is taken: remove networks first",
            )
        })?;
        let chosen = match v4 {
            Some(v4) => v4,
            None => self.choose_subnet(&situation, &membership).await?,
        };
        let subnets = create::subnets(&membership, wish.v6, number, chosen);
        let mut routes = Vec::new();
        let made = self
            .make(&situation, &membership, &wish, number, subnets, &mut routes)
            .await;
        if let Err(failure) = made {
            self.undo(
                &membership,
                &wish.name,
                v4.is_none().then_some(chosen),
                routes,
            )
            .await;
            return Err(failure);
        }
        self.created(&membership, &wish.name, v4.is_none()).await
    }

    /// A subnet that the controller has given before and nothing uses, or a new one.
    async fn choose_subnet(
        &mut self,
        situation: &Situation,
        membership: &Membership,
    ) -> Result<Ipv4Net, Failure> {
        let network = membership.network;
        if let Some(spare) = create::spare_subnet(situation, membership, SUBNET_LENGTH) {
            return Ok(spare);
        }
        match self.allocate(network, SUBNET_LENGTH).await? {
            IpNet::V4(subnet) => Ok(subnet),
            other @ IpNet::V6(_) => {
                self.withdraw_route(network, other).await?;
                let message = format!(
                    "the controller chose {other}, which is not IPv4: say which subnet with --subnet"
                );
                Err(Failure::new(FailureKind::Failed, message))
            }
        }
    }

    async fn make(
        &mut self,
        situation: &Situation,
        membership: &Membership,
        wish: &Wish,
        number: u16,
        subnets: Vec<Subnet>,
        routes: &mut Vec<IpNet>,
    ) -> Result<(), Failure> {
        for subnet in &subnets {
            guard::check_subnet(situation, membership, subnet, None).map_err(conflict)?;
        }
        let spec = create::spec(situation, membership, wish, number, subnets);
        for prefix in spec.subnets.iter().map(|subnet| subnet.prefix) {
            if guard::needs_no_route(membership, &prefix)
                || self
                    .memory
                    .get()
                    .asked
                    .contains(&(membership.network, prefix))
            {
                continue;
            }
            routes.push(prefix);
            match self.publish_route(membership.network, prefix).await {
                Standing::Active | Standing::Pending => {}
                Standing::Refused(reason) => {
                    return Err(Failure::new(FailureKind::Conflict, reason));
                }
                Standing::Unanswered => {
                    let message = "no controller answers, so nothing was made: try again later, see `node status`";
                    return Err(Failure::new(FailureKind::Unreachable, message));
                }
            }
        }
        self.api().await?.create(&spec).await?;
        let after = self.observe().await?;
        let plan = plan(&after);
        let entry = plan.entry(&wish.name);
        if let Some(Err(refusal)) = entry.map(|entry| &entry.opening) {
            return Err(conflict(refusal.clone()));
        }
        self.settle(&after, &plan).await
    }

    /// Nothing half done stays. What cannot be undone now is put right by a later look.
    async fn undo(
        &mut self,
        membership: &Membership,
        name: &str,
        allocated: Option<Ipv4Net>,
        routes: Vec<IpNet>,
    ) {
        if let Ok(situation) = self.observe().await {
            if let Some(network) = situation.container_network(name)
                && network.is_managed()
                && let Ok(api) = self.api().await
                && let Err(error) = api.remove(&network.id).await
            {
                tracing::warn!(%error, "Failed to remove a network that was not finished");
            }
            for prefix in routes.into_iter().chain(allocated.map(IpNet::V4)) {
                if let Err(error) = self.withdraw_route(membership.network, prefix).await {
                    tracing::warn!(%error, %prefix, "Failed to give a route back");
                }
            }
        }
    }

    async fn created(
        &mut self,
        membership: &Membership,
        name: &str,
        allocated: bool,
    ) -> Result<CreatedReport, Failure> {
        let network = self.report(name).await?;
        let engine = self.observe().await?.engine;
        Ok(CreatedReport {
            network,
            allocated,
            member: membership.member.clone(),
            addresses: membership.addresses.iter().copied().collect(),
            engine: format!("{} {}", engine.version, engine.firewall.as_str()),
            rules: self.rules.unwrap_or_default(),
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
            match self.publish_route(network, prefix).await {
                Standing::Refused(reason) => {
                    return Err(Failure::new(FailureKind::Conflict, reason));
                }
                Standing::Active | Standing::Pending | Standing::Unanswered => {}
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
                format!("{name} was made for the overlay: remove it with `node docker rm {name}`")
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
                "{name} was not made by `node docker create`: `node docker unpublish {name}` takes it out of the overlay, `docker network rm {name}` removes it"
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

    /// Takes all containers off a network, if `force` allows it.
    async fn empty(
        &mut self,
        network: &ContainerNetwork,
        force: bool,
    ) -> Result<Vec<String>, Failure> {
        let api = self.api().await?;
        let attached = api.network(&network.id).await?.containers;
        if !attached.is_empty() && !force {
            let message = format!(
                "{} is used by {}: stop these containers first, or repeat with --force",
                network.name,
                attached.join(", ")
            );
            return Err(Failure::new(FailureKind::Conflict, message));
        }
        for container in &attached {
            api.disconnect(&network.id, container).await?;
        }
        Ok(attached)
    }

    /// Removes what belongs to an overlay network that is to be left. Nothing is touched unless all of it can go.
    pub(super) async fn forget(&mut self, network: NetworkId, force: bool) -> Result<(), Failure> {
        let memory = self.memory.get();
        let has_traces = memory.asked.iter().any(|(of, _)| *of == network)
            || memory
                .published
                .values()
                .any(|publication| publication.network == network);
        let mut situation = match self.observe().await {
            Ok(situation) => situation,
            // Nothing of ours is there, or its owner knows better.
            Err(_) if !has_traces || force => return self.forget_memory(network),
            Err(failure) => {
                let message = format!(
                    "{failure}; containers are published in this network: start Docker first, or repeat with --force"
                );
                return Err(Failure::new(failure.kind, message));
            }
        };
        let label = network.to_string();
        let ours: Vec<ContainerNetwork> = situation
            .networks
            .iter()
            .filter(|docker| {
                docker.is_managed() && docker.has(tombolo_containers::labels::NETWORK, &label)
            })
            .cloned()
            .collect();
        if !force {
            for docker in &ours {
                self.empty(docker, false).await?;
            }
        }
        for docker in &ours {
            self.empty(docker, true).await?;
            self.api().await?.remove(&docker.id).await?;
        }
        situation.networks.retain(|docker| !ours.contains(docker));
        situation
            .memberships
            .retain(|membership| membership.network != network);
        self.forget_memory(network)?;
        situation.memory = self.memory.get().clone();
        let plan = plan(&situation);
        self.settle_firewall(&situation, &plan).await
    }

    /// The routes go with the membership.
    fn forget_memory(&mut self, network: NetworkId) -> Result<(), Failure> {
        self.standings.retain(|(of, _), _| *of != network);
        self.memory.change(|memory| {
            memory.asked.retain(|(of, _)| *of != network);
            memory
                .published
                .retain(|_, publication| publication.network != network);
        })?;
        Ok(())
    }
}

/// The overlay network that is meant: the one that was named, or the only one.
fn which(situation: &Situation, named: Option<NetworkId>) -> Result<&Membership, Failure> {
    let failed = |kind, message: String| Err(Failure::new(kind, message));
    match (named, situation.memberships.as_slice()) {
        (Some(id), _) => situation.membership(id).ok_or_else(|| {
            let message = format!("this node is not a member of network {id}: see `node networks`");
            Failure::new(FailureKind::Failed, message)
        }),
        (None, [only]) => Ok(only),
        (None, []) => failed(
            FailureKind::Failed,
            "this node is not a member of any network yet: see `node status`".to_owned(),
        ),
        (None, _) => failed(
            FailureKind::Usage,
            "this node is in several networks: say which with --network ID".to_owned(),
        ),
    }
}

fn known<'s>(situation: &'s Situation, name: &str) -> Result<&'s ContainerNetwork, Failure> {
    situation.container_network(name).ok_or_else(|| {
        let message = format!("Docker has no network called {name}: see `node docker ls`");
        Failure::new(FailureKind::Failed, message)
    })
}

fn conflict(refusal: guard::Refusal) -> Failure {
    Failure::new(FailureKind::Conflict, refusal.to_string())
}
