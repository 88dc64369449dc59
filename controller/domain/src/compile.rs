//! Which documents have to be signed for a step from one network to the next.
//!
//! A decision has already raised the serial of every member whose certificate it changes, so a certificate is due
//! exactly for the authorised members whose serial is the new revision.

use tombolo_proto::{
    config::{MemberCert, MembersDigest, NetworkDoc, Revocation},
    id::{Epoch, Revision, UnixSeconds, Version},
    key::IdentityKey,
};

use crate::{change::Change, managed_route::RouteState, member::Member, network::Network};

/// What has to be signed, and whose certificates are void.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Documents {
    /// The network's own document, if it changed.
    pub network: Option<NetworkDoc>,
    /// New certificates.
    pub certs: Vec<MemberCert>,
    /// Removals: the certificate of each identity is no longer served.
    pub revocations: Vec<Revocation>,
}

/// The documents for the step from `before` to `after` by `changes`.
#[must_use]
pub fn compile(
    before: &Network,
    after: &Network,
    changes: &[Change],
    epoch: Epoch,
    now: UnixSeconds,
) -> Documents {
    let version = Version {
        epoch,
        revision: after.revision(),
    };
    let mut documents = Documents::default();
    let mut revoke = |identity: IdentityKey, serial_floor: Revision| {
        documents.revocations.push(Revocation {
            version,
            identity,
            serial_floor,
            issued_at: now,
        });
    };
    for change in changes {
        match change {
            Change::Settings(_) => documents.network = Some(network_doc(after, version)),
            Change::MemberPut(member) if member.is_authorized() => {
                if member.serial == after.revision() {
                    documents.certs.push(member_cert(after, member, version));
                }
            }
            Change::MemberPut(member) => {
                if before
                    .member(&member.identity)
                    .is_some_and(Member::is_authorized)
                {
                    revoke(member.identity, member.serial);
                }
            }
            Change::MemberRemoved(identity) => {
                if let Some(member) = before
                    .member(identity)
                    .filter(|member| member.is_authorized())
                {
                    revoke(*identity, member.serial);
                }
            }
            Change::RequestPut(_)
            | Change::RequestRemoved(_)
            | Change::RoutePut(_)
            | Change::RouteRemoved(_) => {}
        }
    }
    documents
}

/// Every live document, for a new epoch: bodies as they were, the epoch apart. Revocations are not among them: they
/// name certificates of epochs that are over.
#[must_use]
pub fn compile_all(network: &Network, epoch: Epoch) -> Documents {
    let version = |revision| Version { epoch, revision };
    Documents {
        network: Some(network_doc(network, version(network.revision()))),
        certs: network
            .members()
            .filter(|member| member.is_authorized())
            .map(|member| member_cert(network, member, version(member.serial)))
            .collect(),
        revocations: Vec::new(),
    }
}

fn network_doc(network: &Network, version: Version) -> NetworkDoc {
    let settings = network.settings();
    NetworkDoc {
        version,
        name: settings.name.to_string(),
        v4_pools: settings.v4.ranges().to_vec(),
        on_link: settings
            .v4
            .on_link()
            .iter()
            .copied()
            .map(Into::into)
            .collect(),
        subnet_pools: settings.subnet_pools.iter().copied().collect(),
        v6_modes: settings.v6_modes.clone(),
        mtu: settings.mtu,
        members: MembersDigest::of(
            network
                .members()
                .filter(|member| member.is_authorized())
                .map(|member| &member.identity),
        ),
        rules: settings.rules.clone(),
    }
}

pub(crate) fn member_cert(network: &Network, member: &Member, version: Version) -> MemberCert {
    let mut routes: Vec<_> = network
        .routes()
        .filter(|route| route.via == member.identity && route.state == RouteState::Active)
        .map(crate::managed_route::Route::to_cert)
        .collect();
    routes.sort();
    MemberCert {
        version,
        node: member.node,
        name: member.name.to_string(),
        identity: member.identity,
        transport: member.transport,
        transport_epoch: member.transport_epoch,
        addresses: network.addresses_of(member),
        prefix: network.prefix_of(member.node),
        routes,
        relay: member.relay,
        tags: member.tags.clone(),
        issued_at: member.issued_at,
        not_after: member.not_after,
    }
}
