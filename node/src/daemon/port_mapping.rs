//! Ports of the router's that lead to this node, asked for by PCP (RFC 6887), NAT-PMP (RFC 6886) or UPnP: whoever has one
//! needs no calls. They are asked for only behind a NAT, kept alive, and given back at the end. The one for UDP leads to the
//! data sockets; the one for TCP to where streams are listened for, on the same number at both ends if the router has it free.

mod upnp;

use std::{
    future::pending,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    num::NonZeroU16,
    time::Duration,
};

use crab_nat::{
    InternetProtocol, PortMapping, PortMappingOptions, PortMappingType, TimeoutConfig, natpmp,
};
use futures_util::future::join_all;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::nat::is_global;

/// How long a router keeps the mapping of a node that is gone: the node asks again after half of it.
const LIFETIME: Duration = Duration::from_secs(1_800);
/// Until a router that gave none is asked again: most never will.
const PAUSE: Duration = Duration::from_secs(600);
/// Until a router that gave one, and then did not answer, is asked again.
const RETRY: Duration = Duration::from_secs(10);
/// What giving it back may take.
const FAREWELL: Duration = Duration::from_millis(500);
/// Answers come from the next room.
const TIMEOUTS: TimeoutConfig = TimeoutConfig {
    initial_timeout: Duration::from_millis(250),
    max_retries: 3,
    max_retry_timeout: Some(Duration::from_secs(1)),
};

/// Has ports mapped as long as that is wanted.
#[derive(Debug)]
pub(super) struct PortMapper {
    wanted: watch::Sender<bool>,
    udp: Mapped,
    tcp: Option<Mapped>,
}

/// A port that is asked for.
#[derive(Debug)]
struct Mapped {
    at: watch::Receiver<Option<SocketAddr>>,
    task: JoinHandle<()>,
}

impl PortMapper {
    /// For the data sockets' port, and for TCP to the same number if this node takes streams. Nothing is asked before it is
    /// wanted.
    pub(super) fn start(port: u16, takes_streams: bool) -> Self {
        let (wanted, wants) = watch::channel(false);
        Self {
            wanted,
            udp: Mapped::start(InternetProtocol::Udp, port, wants.clone()),
            tcp: takes_streams.then(|| Mapped::start(InternetProtocol::Tcp, port, wants)),
        }
    }

    /// Whether ports are wanted: behind a NAT.
    pub(super) fn want(&self, wanted: bool) {
        self.wanted
            .send_if_modified(|before| std::mem::replace(before, wanted) != wanted);
    }

    /// Where the router lets everybody in over UDP, at present.
    pub(super) fn mapped(&self) -> Option<SocketAddr> {
        *self.udp.at.borrow()
    }

    /// The same over TCP.
    pub(super) fn mapped_tcp(&self) -> Option<SocketAddr> {
        *self.tcp.as_ref()?.at.borrow()
    }

    /// Waits until one of them is another place.
    pub(super) async fn changed(&mut self) {
        let tcp = async {
            match &mut self.tcp {
                Some(tcp) => tcp.changed().await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = self.udp.changed() => {}
            () = tcp => {}
        }
    }

    /// Gives the ports back.
    pub(super) async fn close(self) {
        drop(self.wanted);
        let tasks = [Some(self.udp), self.tcp].into_iter().flatten();
        // A router that does not answer forgets them by itself.
        let _ = timeout(FAREWELL, join_all(tasks.map(|mapped| mapped.task))).await;
    }
}

impl Mapped {
    fn start(protocol: InternetProtocol, port: u16, wants: watch::Receiver<bool>) -> Self {
        let (sender, at) = watch::channel(None);
        let task = tokio::spawn(async move {
            if let Some(port) = NonZeroU16::new(port) {
                run(protocol, port, wants, &sender).await;
            }
        });
        Self { at, task }
    }

    async fn changed(&mut self) {
        if self.at.changed().await.is_err() {
            pending::<()>().await;
        }
    }
}

/// A port that the router has mapped.
#[derive(Debug)]
enum Held {
    /// By PCP or NAT-PMP.
    Port(PortMapping),
    Upnp(upnp::Mapping),
}

impl Held {
    fn is_alive(&self) -> bool {
        match self {
            Self::Port(mapping) => std::time::Instant::now() < mapping.expiration(),
            Self::Upnp(mapping) => mapping.is_alive(),
        }
    }

    fn lifetime(&self) -> Duration {
        match self {
            Self::Port(mapping) => Duration::from_secs(u64::from(mapping.lifetime())),
            Self::Upnp(_) => LIFETIME,
        }
    }

    async fn give_back(self) {
        match self {
            Self::Port(mapping) => {
                // A router that does not answer forgets it by itself.
                let _ = mapping.try_drop().await;
            }
            Self::Upnp(mapping) => mapping.give_back().await,
        }
    }
}

/// Until nobody can want it any more.
async fn run(
    protocol: InternetProtocol,
    port: NonZeroU16,
    mut wants: watch::Receiver<bool>,
    mapped: &watch::Sender<Option<SocketAddr>>,
) {
    let mut held: Option<Held> = None;
    loop {
        let pause = if *wants.borrow_and_update() {
            match ask(protocol, port, held.as_ref()).await {
                Some((mapping, external)) => {
                    let renew_after = mapping.lifetime() / 2;
                    held = Some(mapping);
                    announce(mapped, Some(external));
                    renew_after.clamp(RETRY, LIFETIME)
                }
                None if held.as_ref().is_some_and(Held::is_alive) => RETRY,
                None => {
                    held = None;
                    announce(mapped, None);
                    PAUSE
                }
            }
        } else {
            if let Some(held) = held.take() {
                held.give_back().await;
            }
            announce(mapped, None);
            Duration::MAX
        };
        tokio::select! {
            changed = wants.changed() => {
                if changed.is_err() {
                    if let Some(held) = held {
                        held.give_back().await;
                    }
                    return;
                }
            }
            () = sleep(pause) => {}
        }
    }
}

fn announce(mapped: &watch::Sender<Option<SocketAddr>>, external: Option<SocketAddr>) {
    mapped.send_if_modified(|before| std::mem::replace(before, external) != external);
}

/// Asks the router for a port, the same as before if there was one, and by the protocol that it knew before.
async fn ask(
    protocol: InternetProtocol,
    port: NonZeroU16,
    before: Option<&Held>,
) -> Option<(Held, SocketAddr)> {
    let routes = std::fs::read_to_string("/proc/net/route").ok()?;
    let gateway = gateway(&routes)?;
    let client = toward(gateway)?;
    let by_pcp = |wanted| ask_by_pcp(gateway, client, protocol, port, wanted);
    let mapped = match before {
        Some(Held::Port(mapping)) => by_pcp(mapping.external_port()).await,
        Some(Held::Upnp(mapping)) => mapping.renew(client, port).await.map(by_upnp),
        None => match by_pcp(port).await {
            Some(mapped) => Some(mapped),
            None => upnp::Mapping::new(gateway, client, protocol, port)
                .await
                .map(by_upnp),
        },
    };
    // Behind another NAT the port leads nowhere.
    mapped.filter(|(_, external)| is_global(external.ip()))
}

fn by_upnp(mapping: upnp::Mapping) -> (Held, SocketAddr) {
    let external = mapping.external();
    (Held::Upnp(mapping), external)
}

/// By PCP, or by NAT-PMP where the router knows no newer.
async fn ask_by_pcp(
    gateway: Ipv4Addr,
    client: IpAddr,
    protocol: InternetProtocol,
    port: NonZeroU16,
    wanted: NonZeroU16,
) -> Option<(Held, SocketAddr)> {
    let options = PortMappingOptions {
        external_port: Some(wanted),
        lifetime_seconds: u32::try_from(LIFETIME.as_secs()).ok(),
        timeout_config: Some(TIMEOUTS),
    };
    let asked = PortMapping::new(gateway.into(), client, protocol, port, options);
    let mapping = asked
        .await
        .inspect_err(
            |error| tracing::debug!(%gateway, ?protocol, %error, "The router maps no port"),
        )
        .ok()?;
    let address = match mapping.mapping_type() {
        PortMappingType::Pcp { external_ip, .. } => external_ip,
        PortMappingType::NatPmp => natpmp::external_address(gateway.into(), Some(TIMEOUTS))
            .await
            .ok()?
            .into(),
    };
    let external = SocketAddr::new(address.to_canonical(), mapping.external_port().get());
    Some((Held::Port(mapping), external))
}

/// The router that packets for anywhere go to, from the kernel's table as `/proc/net/route` shows it.
fn gateway(routes: &str) -> Option<Ipv4Addr> {
    let default = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (destination, gateway) = (fields.next()?, fields.next()?);
        let metric: u32 = fields.nth(3)?.parse().ok()?;
        let gateway = u32::from_str_radix(gateway, 16).ok()?;
        let is_default = destination == "00000000" && gateway != 0;
        is_default.then_some((metric, Ipv4Addr::from(gateway.to_le_bytes())))
    };
    let defaults = routes.lines().skip(1).filter_map(default);
    Some(defaults.min_by_key(|(metric, _)| *metric)?.1)
}

/// This host's address towards the router.
fn toward(gateway: Ipv4Addr) -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((gateway, crab_nat::GATEWAY_PORT)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_router_of_the_best_default_route_is_asked() {
        let routes = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n\
                      wlan0 00000000 0102A8C0 0003 0 0 600 00000000 0 0 0\n\
                      eth0 00000000 0101A8C0 0003 0 0 100 00000000 0 0 0\n\
                      eth0 0001A8C0 00000000 0001 0 0 100 00FFFFFF 0 0 0\n";
        assert_eq!(gateway(routes), Some(Ipv4Addr::new(192, 168, 1, 1)));
        assert_eq!(gateway("Iface Destination\n"), None);
    }
}
