//! One network as a value: settings, members, routes, waiting requests, and the revision that counts its changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use ipnet::Ipv6Net;
use tombolo_proto::{
    config::V6Mode,
    id::{NetworkId, NodeId, Revision},
    key::{IdentityKey, TransportKey},
    sixplane,
};

use crate::{
    address_pool::AddressPool,
    change::Change,
    managed_route::{Route, RouteId},
    member::{Member, Request},
    name::Name,
    roll::{Roll, Sharded},
    settings::Settings,
};

/// The highest revision: integers of stores have a sign. Nobody gets there by changing a network.
pub const LAST_REVISION: Revision = Revision(i64::MAX as u64);

/// The configuration of one network. Versions share what they have in common, so that the next version of a large network
/// costs little; and members are found by everything that is unique among them.
#[derive(Debug, Clone)]
pub struct Network {
    id: NetworkId,
    revision: Revision,
    settings: Settings,
    members: Roll<IdentityKey, Arc<Member>>,
    by_node: Roll<NodeId, IdentityKey>,
    by_name: Roll<String, IdentityKey>,
    by_transport: Roll<TransportKey, IdentityKey>,
    by_address: Roll<Ipv4Addr, IdentityKey>,
    requests: Arc<BTreeMap<IdentityKey, Request>>,
    routes: Arc<BTreeMap<RouteId, Route>>,
}

/// Who answers to an id or an address.
#[derive(Debug, Clone, Copy)]
pub enum Found<'a> {
    /// A member, authorised or not.
    Member(&'a Member),
    /// A node that waits.
    Request(&'a Request),
}

impl Found<'_> {
    /// Who.
    #[must_use]
    pub const fn identity(&self) -> IdentityKey {
        match self {
            Self::Member(member) => member.identity,
            Self::Request(request) => request.identity,
        }
    }
}

impl Network {
    /// A network without members, before its first revision.
    #[must_use]
    pub fn new(id: NetworkId, settings: Settings) -> Self {
        Self {
            id,
            revision: Revision(0),
            settings,
            members: Roll::default(),
            by_node: Roll::default(),
            by_name: Roll::default(),
            by_transport: Roll::default(),
            by_address: Roll::default(),
            requests: Arc::default(),
            routes: Arc::default(),
        }
    }

    /// A network as a store kept it.
    #[must_use]
    pub fn restore(
        id: NetworkId,
        revision: Revision,
        settings: Settings,
        rows: Vec<Change>,
    ) -> Self {
        let mut network = Self::new(id, settings);
        for row in rows {
            network.apply_one(row);
        }
        network.revision = revision;
        network
    }

    /// The network after `changes`.
    #[must_use]
    pub fn apply(&self, changes: &[Change]) -> Self {
        let mut next = self.clone();
        for change in changes {
            next.apply_one(change.clone());
        }
        if changes.iter().any(Change::is_configuration) {
            next.revision = self.next_revision();
        }
        next
    }

    /// The network that a store holds now, given the rows that others changed since.
    #[must_use]
    pub fn follow(&self, revision: Revision, settings: Settings, rows: Vec<Change>) -> Self {
        let mut next = self.clone();
        for row in rows {
            next.apply_one(row);
        }
        (next.revision, next.settings) = (revision, settings);
        next
    }

    fn apply_one(&mut self, change: Change) {
        match change {
            Change::Settings(settings) => self.settings = settings,
            Change::RequestPut(request) => {
                Arc::make_mut(&mut self.requests).insert(request.identity, request);
            }
            Change::RequestRemoved(identity) => {
                Arc::make_mut(&mut self.requests).remove(&identity);
            }
            Change::MemberPut(member) => self.put_member(member),
            Change::MemberRemoved(identity) => self.remove_member(&identity),
            Change::RoutePut(route) => {
                Arc::make_mut(&mut self.routes).insert(route.id, route);
            }
            Change::RouteRemoved(id) => {
                Arc::make_mut(&mut self.routes).remove(&id);
            }
        }
    }

    fn put_member(&mut self, member: Member) {
        let identity = member.identity;
        self.remove_member(&identity);
        self.by_node.insert(member.node, identity);
        self.by_name.insert(member.name.key(), identity);
        self.by_transport.insert(member.transport, identity);
        for address in &member.addresses {
            self.by_address.insert(*address, identity);
        }
        self.members.insert(identity, Arc::new(member));
    }

    fn remove_member(&mut self, identity: &IdentityKey) {
        let Some(member) = self.members.remove(identity) else {
            return;
        };
        forget(&mut self.by_node, &member.node, identity);
        forget(&mut self.by_name, &member.name.key(), identity);
        forget(&mut self.by_transport, &member.transport, identity);
        for address in &member.addresses {
            forget(&mut self.by_address, address, identity);
        }
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> NetworkId {
        self.id
    }

    /// How many times its configuration changed.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// The revision that the next change of configuration has. After [`LAST_REVISION`] there is none.
    #[must_use]
    pub const fn next_revision(&self) -> Revision {
        Revision(self.revision.0.saturating_add(1))
    }

    /// Its settings.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// All members, in order of identity.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values().map(AsRef::as_ref)
    }

    /// One member.
    #[must_use]
    pub fn member(&self, identity: &IdentityKey) -> Option<&Member> {
        self.members.get(identity).map(AsRef::as_ref)
    }

    /// All waiting requests, in order of identity.
    pub fn requests(&self) -> impl Iterator<Item = &Request> {
        self.requests.values()
    }

    /// One waiting request.
    #[must_use]
    pub fn request(&self, identity: &IdentityKey) -> Option<&Request> {
        self.requests.get(identity)
    }

    /// All routes, in order of id.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.values()
    }

    /// One route.
    #[must_use]
    pub fn route(&self, id: RouteId) -> Option<&Route> {
        self.routes.get(&id)
    }

    /// The member with this node address; failing that, the first request with it.
    #[must_use]
    pub fn by_node(&self, node: NodeId) -> Option<Found<'_>> {
        self.by_node
            .get(&node)
            .and_then(|identity| self.member(identity))
            .map(Found::Member)
            .or_else(|| {
                self.requests()
                    .find(|request| request.node == node)
                    .map(Found::Request)
            })
    }

    /// The member with this name.
    #[must_use]
    pub fn by_name(&self, name: &Name) -> Option<&Member> {
        self.member(self.by_name.get(&name.key())?)
    }

    /// The member with this key.
    #[must_use]
    pub fn by_transport(&self, transport: &TransportKey) -> Option<&Member> {
        self.member(self.by_transport.get(transport)?)
    }

    /// The member that has this address, assigned or automatic.
    #[must_use]
    pub fn by_address(&self, address: IpAddr) -> Option<&Member> {
        match address {
            IpAddr::V4(address) => self.member(self.by_address.get(&address)?),
            IpAddr::V6(address) => {
                let node = sixplane::owner(self.id, address)?;
                self.member(self.by_node.get(&node)?)
            }
        }
    }

    /// A member's name, for messages.
    #[must_use]
    pub fn name_of(&self, identity: &IdentityKey) -> String {
        self.member(identity)
            .map_or_else(|| identity.to_string(), |member| member.name.to_string())
    }

    /// Every address of a member, assigned and automatic.
    #[must_use]
    pub fn addresses_of(&self, member: &Member) -> BTreeSet<IpAddr> {
        let assigned = member.addresses.iter().copied().map(IpAddr::V4);
        assigned
            .chain(self.automatic_addresses(member.node))
            .collect()
    }

    /// The IPv6 addresses that follow from a node address.
    pub fn automatic_addresses(&self, node: NodeId) -> impl Iterator<Item = IpAddr> {
        let id = self.id;
        self.settings.v6_modes.iter().map(move |mode| match mode {
            V6Mode::SixPlane => IpAddr::V6(sixplane::node_address(id, node)),
            V6Mode::Rfc4193 => IpAddr::V6(sixplane::rfc4193_address(id, node)),
        })
    }

    /// A member's /80, if the network has 6PLANE on.
    #[must_use]
    pub fn prefix_of(&self, node: NodeId) -> Option<Ipv6Net> {
        self.settings
            .v6_modes
            .contains(&V6Mode::SixPlane)
            .then(|| sixplane::member(self.id, node))
    }

    pub(crate) fn address_pool(&self) -> AddressPool {
        let plan = &self.settings.v4;
        AddressPool::new(plan.ranges(), plan.on_link())
    }

    pub(crate) fn is_taken(&self, address: &Ipv4Addr) -> bool {
        self.by_address.get(address).is_some()
    }
}

/// Takes an entry away, unless somebody else has it by now.
fn forget<K: Sharded>(index: &mut Roll<K, IdentityKey>, key: &K, owner: &IdentityKey) {
    if index.get(key) == Some(owner) {
        index.remove(key);
    }
}
