//! UPnP Internet Gateway Devices, as far as a port needs: for routers that know neither PCP nor NAT-PMP.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroU16,
    time::{Duration, Instant},
};

use crab_nat::InternetProtocol;
use igd_next::{
    AddPortError, PortMappingProtocol, SearchOptions,
    aio::{
        Gateway,
        tokio::{Tokio, search_gateway},
    },
};
use tokio::time::timeout;

use super::LIFETIME;

/// Routers answer a search within the second that it names.
const SEARCH: Duration = Duration::from_secs(2);
/// What all requests of one mapping may take together.
const PATIENCE: Duration = Duration::from_secs(5);
/// What the router's own pages show.
const DESCRIPTION: &str = "Tombolo";

/// A port that the router has mapped.
#[derive(Debug)]
pub(super) struct Mapping {
    gateway: Gateway<Tokio>,
    protocol: PortMappingProtocol,
    external: SocketAddr,
    made_at: Instant,
}

impl Mapping {
    /// Asks `router` for a port that leads to `port` of this host at `client`.
    pub(super) async fn new(
        router: Ipv4Addr,
        client: IpAddr,
        protocol: InternetProtocol,
        port: NonZeroU16,
    ) -> Option<Self> {
        let protocol = match protocol {
            InternetProtocol::Udp => PortMappingProtocol::UDP,
            InternetProtocol::Tcp => PortMappingProtocol::TCP,
        };
        let mut options = SearchOptions::default();
        options.bind_addr = SocketAddr::new(client, 0);
        options.timeout = Some(SEARCH);
        options.single_search_timeout = Some(SEARCH);
        let gateway = search_gateway(options)
            .await
            .inspect_err(|error| tracing::debug!(%error, "No router with UPnP"))
            .ok()?;
        // Anybody on the LAN may call itself a router.
        if gateway.addr.ip() != IpAddr::from(router) {
            tracing::debug!(at = %gateway.addr, "This is not the router");
            return None;
        }
        let local = SocketAddr::new(client, port.get());
        timeout(PATIENCE, Self::map(gateway, protocol, local, port.get()))
            .await
            .ok()?
    }

    /// The same port for another while.
    pub(super) async fn renew(&self, client: IpAddr, port: NonZeroU16) -> Option<Self> {
        let local = SocketAddr::new(client, port.get());
        let gateway = self.gateway.clone();
        let renewed = Self::map(gateway, self.protocol, local, self.external.port());
        timeout(PATIENCE, renewed).await.ok()?
    }

    async fn map(
        gateway: Gateway<Tokio>,
        protocol: PortMappingProtocol,
        local: SocketAddr,
        wanted: u16,
    ) -> Option<Self> {
        let made_at = Instant::now();
        let address = gateway
            .get_external_ip()
            .await
            .inspect_err(|error| tracing::debug!(%error, "The router does not tell its address"))
            .ok()?;
        let lease = u32::try_from(LIFETIME.as_secs()).unwrap_or(u32::MAX);
        let asked = gateway.add_port(protocol, wanted, local, lease, DESCRIPTION);
        let port = match asked.await {
            Ok(()) => wanted,
            // Such a router forgets only what it is told to: at the end.
            Err(AddPortError::OnlyPermanentLeasesSupported) => {
                let asked = gateway.add_port(protocol, wanted, local, 0, DESCRIPTION);
                asked.await.ok().map(|()| wanted)?
            }
            Err(AddPortError::PortInUse) => {
                let asked = gateway.add_any_port(protocol, local, lease, DESCRIPTION);
                asked.await.ok()?
            }
            Err(error) => {
                tracing::debug!(%error, "The router maps no port by UPnP");
                return None;
            }
        };
        Some(Self {
            gateway,
            protocol,
            external: SocketAddr::new(address, port),
            made_at,
        })
    }

    /// Where the router lets everybody in.
    pub(super) const fn external(&self) -> SocketAddr {
        self.external
    }

    pub(super) fn is_alive(&self) -> bool {
        self.made_at.elapsed() < LIFETIME
    }

    pub(super) async fn give_back(self) {
        let removed = self
            .gateway
            .remove_port(self.protocol, self.external.port());
        // A router that does not answer forgets it by itself.
        let _ = removed.await;
    }
}
