//! `node docker create`.

use ipnet::{IpNet, Ipv4Net};
use tombolo_containers::{
    Situation,
    create::{self, V6, Wish},
    guard::{self, SUBNET_LENGTH},
    plan,
    situation::{Membership, Subnet},
};

use super::{
    CreateRequest,
    keeper::Task,
    routes::Standing,
    verbs::{conflict, which},
};
use crate::{
    failure::{Failure, FailureKind},
    report::docker::CreatedReport,
};

/// Subnets of the controller's choice that are tried. More than this in use by others, and somebody should choose.
const ATTEMPTS: usize = 16;

impl Task {
    /// First the routes, then Docker, then the firewall; whatever fails, what was done before it is undone.
    pub(super) async fn create(
        &mut self,
        request: CreateRequest,
    ) -> Result<CreatedReport, Failure> {
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
            metric: request.route_metric,
        };
        let v4 = request.subnet.map(|subnet| subnet.trunc());
        if let Some(existing) = situation.container_network(&request.name) {
            if !create::is_as_wished(existing, &membership, &wish, v4) {
                let message = format!(
                    "a Docker network called {0} exists already: choose another name, publish it as it is with `tombolo docker publish {0}`, or remove it first",
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
            None => {
                self.choose_subnet(&situation, &membership, wish.metric)
                    .await?
            }
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

    /// A subnet that the controller has given before and nothing uses, or a new one. What it gives can be in use on this
    /// host, which it knows little of: then the next one is tried, and what was no good is given back.
    async fn choose_subnet(
        &mut self,
        situation: &Situation,
        membership: &Membership,
        metric: u32,
    ) -> Result<Ipv4Net, Failure> {
        let usable = |subnet: &Ipv4Net| {
            create::subnets(membership, V6::Off, 0, *subnet)
                .iter()
                .try_for_each(|subnet| guard::check_subnet(situation, membership, subnet, None))
        };
        let spare = create::spare_subnet(situation, membership, SUBNET_LENGTH);
        // Its route has the metric that it has.
        if let Some(spare) = spare.filter(|spare| metric == 0 && usable(spare).is_ok()) {
            return Ok(spare);
        }
        let mut useless = Vec::new();
        let chosen = loop {
            let prefix = match self
                .allocate(membership.network, SUBNET_LENGTH, metric)
                .await
            {
                Ok(prefix) => prefix,
                Err(failure) => break Err(failure),
            };
            let IpNet::V4(subnet) = prefix else {
                useless.push(prefix);
                let message = format!(
                    "the controller chose {prefix}, which is not IPv4: say which subnet with --subnet"
                );
                break Err(Failure::new(FailureKind::Failed, message));
            };
            match usable(&subnet) {
                Ok(()) => break Ok(subnet),
                Err(refusal) => {
                    useless.push(prefix);
                    if useless.len() == ATTEMPTS {
                        break Err(conflict(refusal));
                    }
                }
            }
        };
        for prefix in useless {
            self.withdraw_route(membership.network, prefix).await?;
        }
        chosen
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
            match self
                .publish_route(membership.network, prefix, wish.metric)
                .await?
            {
                Standing::Active | Standing::Pending => {}
                Standing::Refused(reason) => {
                    return Err(Failure::new(FailureKind::Conflict, reason));
                }
                Standing::Unanswered => {
                    let message = "no controller answers, so nothing was made: try again later, see `tombolo status`";
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
}
