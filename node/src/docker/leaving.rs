//! What goes when a network goes: containers off a network that is removed, and all of Docker's traces of an overlay network
//! that is left.

use tombolo_containers::{labels, plan, situation::ContainerNetwork};
use tombolo_proto::id::NetworkId;

use super::keeper::Task;
use crate::failure::{Failure, FailureKind};

impl Task {
    /// Takes all containers off a network, if `force` allows it.
    pub(super) async fn empty(
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
            .filter(|docker| docker.is_managed() && docker.has(labels::NETWORK, &label))
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
