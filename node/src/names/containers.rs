//! Which containers run on this host, from Docker.

use std::{net::IpAddr, path::PathBuf};

use tombolo_names::table::Container;

use crate::docker::engine_api::{ApiError, CONTAINER_EVENTS, EngineApi, Events};

/// Containers as of the last look; they stay while Docker is away, as the containers do.
#[derive(Debug)]
pub(super) struct Containers {
    socket: PathBuf,
    docker: Option<(EngineApi, Events)>,
    pub(super) running: Vec<Container>,
    /// Addresses of bridges.
    pub(super) gateways: Vec<IpAddr>,
}

impl Containers {
    pub(super) const fn new(socket: PathBuf) -> Self {
        Self {
            socket,
            docker: None,
            running: Vec::new(),
            gateways: Vec::new(),
        }
    }

    /// Whether Docker was there when last seen.
    pub(super) const fn is_connected(&self) -> bool {
        self.docker.is_some()
    }

    /// Lists everything anew.
    pub(super) async fn look(&mut self) {
        if let Err(error) = self.try_look().await {
            tracing::debug!(%error, "Failed to look for containers to name");
            self.docker = None;
        }
    }

    async fn try_look(&mut self) -> Result<(), ApiError> {
        // Events are asked for before anything else, so that none is missed.
        let (docker, events) = match self.docker.take() {
            Some(connected) => connected,
            None => {
                let (docker, _) = EngineApi::connect(&self.socket).await?;
                let events = docker.events(CONTAINER_EVENTS).await?;
                (docker, events)
            }
        };
        self.running = docker.containers().await?;
        let networks = docker.networks().await?;
        let subnets = networks.iter().flat_map(|network| &network.subnets);
        self.gateways = subnets.filter_map(|subnet| subnet.gateway).collect();
        self.docker = Some((docker, events));
        Ok(())
    }

    /// Waits until something happens to containers or Docker goes away.
    pub(super) async fn changed(&mut self) {
        match &mut self.docker {
            Some((_, events)) => {
                if events.next().await.is_none() {
                    self.docker = None;
                }
            }
            None => std::future::pending().await,
        }
    }
}
