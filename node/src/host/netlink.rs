//! Linux by rtnetlink. Removes only what carries our protocol number or sits on our own devices.

mod rules;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use anyhow::{Context as _, anyhow};
use futures_util::{StreamExt as _, TryStreamExt as _};
use ipnet::IpNet;
use rtnetlink::{
    Handle, LinkUnspec, MulticastGroup, RouteMessageBuilder,
    packet_route::{
        AddressFamily,
        address::{AddressAttribute, AddressFlags, AddressMessage},
        link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
        route::{
            RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
            RouteType,
        },
    },
};
use tokio::sync::watch;
use tombolo_engine::{
    diagnosis::doctor::Obstacle,
    reconcile::{
        DEFAULT_TABLE, Family, HostAction, LinkName, LinkState, LocalNetwork, ROUTE_PROTOCOL,
        Route, RouteTarget,
    },
};
use tombolo_proto::id::Mtu;

use super::{FailedAction, Host, Observed, sysctl};

/// The host of this process's network namespace.
#[derive(Debug)]
pub struct Netlink {
    handle: Handle,
}

impl Netlink {
    /// Opens the channel to the kernel; its task lives as long as the runtime.
    pub fn open() -> anyhow::Result<Self> {
        let (connection, handle, _) =
            rtnetlink::new_connection().context("Failed to open rtnetlink")?;
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    /// Ticks whenever a link, an address or a policy rule of this host changes.
    pub fn changes() -> anyhow::Result<watch::Receiver<u64>> {
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv4Rule,
            MulticastGroup::Ipv6Rule,
        ];
        let (connection, _, mut messages) = rtnetlink::new_multicast_connection(&groups)
            .context("Failed to subscribe to rtnetlink")?;
        tokio::spawn(connection);
        let (sender, receiver) = watch::channel(0);
        tokio::spawn(async move {
            while messages.next().await.is_some() && !sender.is_closed() {
                sender.send_modify(|count| *count += 1);
            }
        });
        Ok(receiver)
    }

    async fn links(&self) -> anyhow::Result<BTreeMap<u32, Link>> {
        let links: Vec<LinkMessage> = self
            .handle
            .link()
            .get()
            .execute()
            .try_collect()
            .await
            .context("Failed to list links")?;
        Ok(links
            .into_iter()
            .filter_map(|message| Some((message.header.index, Link::read(&message)?)))
            .collect())
    }

    async fn index(&self, name: &LinkName) -> anyhow::Result<u32> {
        let request = self.handle.link().get().match_name(name.to_string());
        let found = request
            .execute()
            .try_next()
            .await
            .with_context(|| format!("No interface {name}"))?;
        Ok(found
            .ok_or_else(|| anyhow!("No interface {name}"))?
            .header
            .index)
    }

    async fn address(&self, link: u32, address: IpNet) -> anyhow::Result<AddressMessage> {
        let request = self
            .handle
            .address()
            .get()
            .set_link_index_filter(link)
            .set_address_filter(address.addr());
        request
            .execute()
            .try_next()
            .await?
            .ok_or_else(|| anyhow!("no such address"))
    }

    async fn take_step(&self, action: &HostAction) -> anyhow::Result<()> {
        match action {
            HostAction::SetMtu(link, mtu) => {
                let message = LinkUnspec::new_with_index(self.index(link).await?)
                    .mtu(mtu.0.into())
                    .build();
                self.handle.link().set(message).execute().await?;
            }
            HostAction::SetUp(link) => {
                let message = LinkUnspec::new_with_index(self.index(link).await?)
                    .up()
                    .build();
                self.handle.link().set(message).execute().await?;
            }
            HostAction::AddAddress(link, address) => {
                if address.addr().is_ipv6() {
                    turn_on_ipv6(link)?;
                }
                let index = self.index(link).await?;
                let mut request = self
                    .handle
                    .address()
                    .add(index, address.addr(), address.prefix_len())
                    .replace();
                let flags = AddressFlags::Nodad | AddressFlags::Noprefixroute;
                request
                    .message_mut()
                    .attributes
                    .push(AddressAttribute::Flags(flags));
                request.execute().await?;
            }
            HostAction::RemoveAddress(link, address) => {
                let message = self.address(self.index(link).await?, *address).await?;
                self.handle.address().del(message).execute().await?;
            }
            HostAction::AddRoute(route) => {
                let message = self.route_message(route).await?;
                self.handle.route().add(message).execute().await?;
            }
            HostAction::RemoveRoute(route) => {
                let message = self.route_message(route).await?;
                self.handle.route().del(message).execute().await?;
            }
            HostAction::AddRule(rule) => rules::add(&self.handle, rule).await?,
            HostAction::RemoveRule(rule) => rules::remove(&self.handle, rule).await?,
        }
        Ok(())
    }

    async fn route_message(&self, route: &Route) -> anyhow::Result<RouteMessage> {
        let builder = RouteMessageBuilder::<IpAddr>::new()
            .destination_prefix(route.prefix.network(), route.prefix.prefix_len())
            .map_err(|error| anyhow!("{error}"))?
            .table_id(route.table().into())
            .protocol(RouteProtocol::Other(ROUTE_PROTOCOL))
            .priority(route.metric);
        Ok(match &route.target {
            RouteTarget::Link(link) => {
                let scope = if route.prefix.addr().is_ipv4() {
                    RouteScope::Link
                } else {
                    RouteScope::Universe
                };
                builder
                    .scope(scope)
                    .output_interface(self.index(link).await?)
                    .build()
            }
            RouteTarget::Unreachable => builder.kind(RouteType::Unreachable).build(),
        })
    }
}

impl Host for Netlink {
    async fn observe(&mut self, ours: &BTreeSet<LinkName>) -> anyhow::Result<Observed> {
        let links = self.links().await?;
        let mut observed = Observed::default();
        for link in links.values() {
            if !link.bridge {
                observed.lans.insert(link.name.clone());
            }
            if let Some(name) = link.ours(ours) {
                let state = LinkState {
                    mtu: link.mtu,
                    up: link.up,
                    addresses: BTreeSet::new(),
                };
                observed.state.links.insert(name, state);
            }
        }
        let addresses: Vec<AddressMessage> = self
            .handle
            .address()
            .get()
            .execute()
            .try_collect()
            .await
            .context("Failed to list addresses")?;
        for message in &addresses {
            let Some(link) = links.get(&message.header.index) else {
                continue;
            };
            let Some(address) = read_address(message) else {
                continue;
            };
            sort_address(&mut observed, link, ours, address);
        }
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut query = RouteMessage::default();
            query.header.address_family = family;
            let mut routes = self.handle.route().get(query).execute();
            while let Some(message) = routes.try_next().await.context("Failed to list routes")? {
                let routes = &mut observed.state.routes;
                routes.extend(read_route(&message, &links, ours));
                observed.intruders.extend(read_intruder(&message));
                observed
                    .routed
                    .extend(read_foreign_route(&message, &links, ours));
                if let Some((family, link)) = read_uplink(&message, &links, ours) {
                    observed.lans.insert(link.clone());
                    observed.uplinks.insert((family, link));
                }
            }
        }
        rules::observe(&self.handle, &mut observed).await;
        Ok(observed)
    }

    async fn apply(&mut self, actions: &[HostAction]) -> Vec<FailedAction> {
        let mut failed = Vec::new();
        for action in actions {
            if let Err(error) = self.take_step(action).await {
                failed.push(FailedAction {
                    action: action.clone(),
                    error,
                });
            }
        }
        failed
    }
}

/// Docker turns IPv6 off in containers without an IPv6 network, for every interface to come.
fn turn_on_ipv6(link: &LinkName) -> anyhow::Result<()> {
    let key = format!("net/ipv6/conf/{link}/disable_ipv6");
    if sysctl::get(&key).is_ok_and(|now| now == "1") {
        sysctl::set(&key, "0").context(
            "IPv6 is off here: start the container with --sysctl net.ipv6.conf.all.disable_ipv6=0",
        )?;
    }
    Ok(())
}

#[derive(Debug)]
struct Link {
    name: String,
    mtu: Mtu,
    up: bool,
    loopback: bool,
    bridge: bool,
}

impl Link {
    fn read(message: &LinkMessage) -> Option<Self> {
        let mut link = Self {
            name: String::new(),
            mtu: Mtu(0),
            up: message.header.flags.contains(LinkFlags::Up),
            loopback: message.header.flags.contains(LinkFlags::Loopback),
            bridge: false,
        };
        for attribute in &message.attributes {
            if let LinkAttribute::IfName(name) = attribute {
                link.name.clone_from(name);
            } else if let LinkAttribute::Mtu(mtu) = attribute {
                link.mtu = Mtu(u16::try_from(*mtu).unwrap_or(u16::MAX));
            } else if let LinkAttribute::LinkInfo(about) = attribute {
                link.bridge = about.contains(&LinkInfo::Kind(InfoKind::Bridge));
            }
        }
        (!link.name.is_empty()).then_some(link)
    }

    fn ours(&self, ours: &BTreeSet<LinkName>) -> Option<LinkName> {
        self.name.parse().ok().filter(|name| ours.contains(name))
    }
}

fn sort_address(observed: &mut Observed, link: &Link, ours: &BTreeSet<LinkName>, address: IpNet) {
    if is_link_local(address.addr()) {
        return;
    }
    if let Some(name) = link.ours(ours) {
        if let Some(state) = observed.state.links.get_mut(&name) {
            state.addresses.insert(address);
        }
    } else if link.up && !link.loopback {
        observed.local.push(LocalNetwork {
            link: link.name.clone(),
            prefix: address.trunc(),
        });
        observed.addresses.insert(address.addr());
    }
}

fn read_address(message: &AddressMessage) -> Option<IpNet> {
    let mut address = None;
    for attribute in &message.attributes {
        // On point-to-point links `Address` is the other end; on all others it equals `Local`.
        if let AddressAttribute::Local(local) = attribute {
            address = Some(*local);
        } else if let AddressAttribute::Address(found) = attribute {
            address = address.or(Some(*found));
        }
    }
    IpNet::new(address?, message.header.prefix_len).ok()
}

/// A route of ours in the table where ours stand, if the message is one.
fn read_route(
    message: &RouteMessage,
    links: &BTreeMap<u32, Link>,
    ours: &BTreeSet<LinkName>,
) -> Option<Route> {
    let header = &message.header;
    if header.protocol != RouteProtocol::Other(ROUTE_PROTOCOL) {
        return None;
    }
    let (prefix, metric, index) = read_fields(message)?;
    let target = if header.kind == RouteType::Unreachable {
        RouteTarget::Unreachable
    } else {
        let link = links.get(&index?).and_then(|link| link.ours(ours));
        RouteTarget::Link(link?)
    };
    let route = Route {
        prefix,
        metric,
        target,
    };
    (header.table == route.table()).then_some(route)
}

/// A route of somebody else's in the main table, default routes apart.
fn read_foreign_route(
    message: &RouteMessage,
    links: &BTreeMap<u32, Link>,
    ours: &BTreeSet<LinkName>,
) -> Option<LocalNetwork> {
    let header = &message.header;
    if header.protocol == RouteProtocol::Other(ROUTE_PROTOCOL)
        || header.table != RouteHeader::RT_TABLE_MAIN
        || header.kind != RouteType::Unicast
        || header.destination_prefix_length == 0
    {
        return None;
    }
    let (prefix, _, index) = read_fields(message)?;
    let link = links.get(&index?)?;
    let is_foreign = link.ours(ours).is_none() && !link.loopback && !is_link_local(prefix.addr());
    is_foreign.then(|| LocalNetwork {
        link: link.name.clone(),
        prefix,
    })
}

/// A route of somebody else's in our table, if the message is one.
fn read_intruder(message: &RouteMessage) -> Option<Obstacle> {
    let header = &message.header;
    let is_ours = header.protocol == RouteProtocol::Other(ROUTE_PROTOCOL);
    if header.table != DEFAULT_TABLE || is_ours {
        return None;
    }
    let (prefix, _, _) = read_fields(message)?;
    let family = if prefix.addr().is_ipv4() { "-4" } else { "-6" };
    Some(Obstacle {
        said: format!("somebody else has a route to {prefix} in table {DEFAULT_TABLE}"),
        mend: format!("ip {family} route del {prefix} table {DEFAULT_TABLE}"),
    })
}

/// Destination, metric and outgoing link of a route.
fn read_fields(message: &RouteMessage) -> Option<(IpNet, u32, Option<u32>)> {
    let mut address: IpAddr = if message.header.address_family == AddressFamily::Inet {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let (mut metric, mut link) = (0, None);
    for attribute in &message.attributes {
        if let RouteAttribute::Destination(RouteAddress::Inet(found)) = attribute {
            address = (*found).into();
        } else if let RouteAttribute::Destination(RouteAddress::Inet6(found)) = attribute {
            address = (*found).into();
        } else if let RouteAttribute::Priority(found) = attribute {
            metric = *found;
        } else if let RouteAttribute::Oif(index) = attribute {
            link = Some(*index);
        }
    }
    let prefix = IpNet::new(address, message.header.destination_prefix_length).ok()?;
    Some((prefix, metric, link))
}

/// The interface of a default route in the main table that is not ours, and its family, if the message is one.
fn read_uplink(
    message: &RouteMessage,
    links: &BTreeMap<u32, Link>,
    ours: &BTreeSet<LinkName>,
) -> Option<(Family, String)> {
    let header = &message.header;
    if header.destination_prefix_length > 0 || header.table != RouteHeader::RT_TABLE_MAIN {
        return None;
    }
    let (prefix, _, index) = read_fields(message)?;
    let link = links.get(&index?)?;
    let is_others = link.ours(ours).is_none() && !link.loopback;
    is_others.then(|| (Family::of_prefix(&prefix), link.name.clone()))
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}
