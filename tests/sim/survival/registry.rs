//! What the store must hold: every change that was committed, replayed in order without any rules.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use ipnet::IpNet;
use tombolo_domain::{command::Command, managed_route::RouteId};
use tombolo_proto::{config::RouteMode, key::IdentityKey};
use tombolo_tests::controllers::{Answer, Said, Store};

#[derive(Debug, Default)]
struct Row {
    is_authorized: bool,
    /// Known once somebody chose them, or the controller did.
    addresses: Option<BTreeSet<Ipv4Addr>>,
}

/// The replay.
#[derive(Debug, Default)]
pub(super) struct Registry {
    read: usize,
    members: BTreeMap<IdentityKey, Row>,
    routes: BTreeMap<RouteId, (IpNet, IdentityKey)>,
    committed: BTreeSet<u64>,
}

impl Registry {
    /// Compares the store with the replay, and answers with what was committed.
    pub(super) fn judge(&mut self, store: &Store, answers: &[(u64, Answer)]) -> Result<(), String> {
        for audited in &store.audit()[self.read..] {
            let is_first = self.committed.insert(audited.wish) || audited.wish == 0;
            if !is_first {
                return Err(format!("wish {} was committed twice", audited.wish));
            }
            self.replay(&audited.command);
        }
        self.read = store.audit().len();
        for (number, answer) in answers {
            if *answer == Answer::Done && !self.committed.contains(number) {
                return Err(format!(
                    "wish {number} was acknowledged and is not in the store"
                ));
            }
        }
        self.compare(store)?;
        unique(store)
    }

    fn replay(&mut self, command: &Command) {
        match command {
            Command::UpdateMember { identity, patch } => {
                let row = self.members.entry(*identity).or_default();
                row.is_authorized = patch.authorized.unwrap_or(row.is_authorized);
                if let Some(addresses) = &patch.addresses {
                    let chosen = addresses.iter().filter_map(|address| match address {
                        IpAddr::V4(address) => Some(*address),
                        IpAddr::V6(_) => None,
                    });
                    row.addresses = Some(chosen.collect());
                }
            }
            Command::RemoveMember(identity) => {
                self.members.remove(identity);
                self.routes.retain(|_, (_, via)| via != identity);
            }
            Command::AddRoute(wish) => {
                self.routes.insert(wish.id, (wish.target, wish.via));
            }
            Command::RemoveRoute(id) => {
                self.routes.remove(id);
            }
            Command::Together(commands) => {
                for command in commands {
                    self.replay(command);
                }
            }
            Command::Configure(_)
            | Command::Join { .. }
            | Command::AllocateSubnet { .. }
            | Command::UpdateRoute { .. }
            | Command::WithdrawRoute { .. }
            | Command::SetRules { .. }
            | Command::Upkeep { .. } => {}
        }
    }

    fn compare(&mut self, store: &Store) -> Result<(), String> {
        let network = store.network();
        let there: BTreeSet<IdentityKey> =
            network.members().map(|member| member.identity).collect();
        let expected: BTreeSet<IdentityKey> = self.members.keys().copied().collect();
        if there != expected {
            return Err("members in the store are not those that were committed".to_owned());
        }
        for member in network.members() {
            let row = self.members.entry(member.identity).or_default();
            let addresses = row
                .addresses
                .get_or_insert_with(|| member.addresses.clone());
            if row.is_authorized != member.is_authorized() || *addresses != member.addresses {
                return Err(format!("a committed change of {} was lost", member.name));
            }
        }
        let routes: BTreeMap<RouteId, (IpNet, IdentityKey)> = network
            .routes()
            .map(|route| (route.id, (route.target, route.via)))
            .collect();
        if routes != self.routes {
            return Err("a committed change of routes was lost".to_owned());
        }
        Ok(())
    }
}

/// No address and no subnet stands in two live certificates, and a certificate is live for those who are authorised and
/// nobody else.
fn unique(store: &Store) -> Result<(), String> {
    let mut owners: BTreeMap<IpNet, RouteMode> = BTreeMap::new();
    let mut certified = BTreeSet::new();
    for said in store.documents() {
        let Said::Member(cert) = said else { continue };
        certified.insert(cert.identity);
        let addresses = cert.addresses.iter().map(|address| IpNet::from(*address));
        let own = addresses
            .chain(cert.prefix.map(IpNet::V6))
            .map(|prefix| (prefix, RouteMode::Single));
        let routes = cert.routes.iter().map(|route| (route.prefix, route.mode));
        for (prefix, mode) in own.chain(routes) {
            let other = owners.insert(prefix, mode);
            if other
                .is_some_and(|other| (other, mode) != (RouteMode::Failover, RouteMode::Failover))
            {
                return Err(format!("{prefix} stands in two live certificates"));
            }
        }
    }
    let authorized: BTreeSet<IdentityKey> = store
        .network()
        .members()
        .filter(|member| member.is_authorized())
        .map(|member| member.identity)
        .collect();
    if certified != authorized {
        return Err("live certificates are not those of authorised members".to_owned());
    }
    Ok(())
}
