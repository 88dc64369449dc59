//! A controller without a controller: signs the directory of one network.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use tombolo_engine::membership::Directory;
use tombolo_proto::{
    config::{
        CERT_LIFETIME_SECONDS, CertRoute, DirectoryEntry, Keyring, MemberCert, MembersDigest,
        NetworkDoc, Revocation, RouteMode, V6Mode,
    },
    id::{Epoch, Mtu, NetworkId, NodeId, Revision, UnixSeconds, Version},
    key::{IdentityKey, IdentitySecret, Seed},
    rules::AccessRules,
    signed::Signed,
    sixplane,
};

/// Signs for one network and holds its newest directory.
#[derive(Debug)]
pub struct Authority {
    network: NetworkId,
    replica: IdentitySecret,
    epoch: Epoch,
    revision: u64,
    certs: BTreeMap<IdentityKey, MemberCert>,
    directory: Directory,
}

impl Authority {
    /// An authority for a network of its own, without members. `number` tells networks apart.
    #[must_use]
    pub fn new(number: u8) -> Self {
        let network =
            NetworkId::from_bits(0x8056_c2e2_1c00_0000 | u64::from(number)).expect("a network id");
        let root = root_key();
        let replica = Seed::from_bytes([0xa1; 32]).identity();
        let keyring = Keyring {
            version: Version::first_epoch(1),
            replicas: BTreeSet::from([replica.public(), Self::second_replica().public()]),
            endpoints: Vec::new(),
        };
        let signed = Signed::sign(&keyring, Keyring::scope(network.authority()), &root);
        let directory =
            Directory::new(network, root.public(), signed).expect("signed by the root key");
        let mut authority = Self {
            network,
            replica,
            epoch: Epoch(0),
            revision: 1,
            certs: BTreeMap::new(),
            directory,
        };
        authority.publish_doc();
        authority
    }

    fn publish_doc(&mut self) {
        let members = MembersDigest::of(self.directory.certs_in_force().map(|(member, _)| member));
        let doc = NetworkDoc {
            version: self.next_version(),
            name: "lab".to_owned(),
            v4_pools: Vec::new(),
            on_link: BTreeSet::new(),
            subnet_pools: Vec::new(),
            v6_modes: BTreeSet::from([V6Mode::SixPlane]),
            mtu: Mtu::DEFAULT,
            members,
            rules: AccessRules::default(),
        };
        let signed = Signed::sign(&doc, self.network.into(), &self.replica);
        self.accept(DirectoryEntry::Network(signed));
    }

    /// The root key.
    #[must_use]
    pub fn root() -> IdentityKey {
        root_key().public()
    }

    /// The key of a replica that signs nothing here. It may sign whatever it likes until [`Self::revoke_second_replica`].
    #[must_use]
    pub fn second_replica() -> IdentitySecret {
        Seed::from_bytes([0xa2; 32]).identity()
    }

    /// Begins an epoch without the second replica: everything that is in force is signed anew.
    pub fn revoke_second_replica(&mut self, wall: UnixSeconds) {
        let members: Vec<IdentityKey> = self
            .directory
            .certs_in_force()
            .map(|(member, _)| *member)
            .collect();
        self.epoch = Epoch(self.epoch.0 + 1);
        let keyring = Keyring {
            version: self.next_version(),
            replicas: BTreeSet::from([self.replica.public()]),
            endpoints: Vec::new(),
        };
        let scope = Keyring::scope(self.network.authority());
        let signed = Signed::sign(&keyring, scope, &root_key());
        let taken = self.directory.accept_keyring(signed, wall);
        assert_eq!(taken, Ok(true));
        for mut cert in members
            .iter()
            .filter_map(|member| self.certs.get(member).cloned())
            .collect::<Vec<_>>()
        {
            cert.version.epoch = self.epoch;
            self.publish_cert(cert);
        }
        self.publish_doc();
        self.directory.end_rollover();
    }

    /// Which network.
    #[must_use]
    pub const fn network(&self) -> NetworkId {
        self.network
    }

    /// The newest directory.
    #[must_use]
    pub const fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The newest certificate of a member, whether it counts or not.
    #[must_use]
    pub fn cert(&self, member: &IdentityKey) -> Option<&MemberCert> {
        self.certs.get(member)
    }

    /// Makes `seed` a member with an IPv4 address and a /80, or one again after a revocation.
    pub fn authorise(
        &mut self,
        seed: &Seed,
        number: impl Into<u32>,
        address: IpAddr,
        wall: UnixSeconds,
    ) {
        let number = number.into();
        let identity = seed.identity().public();
        let node = NodeId::new(0x10_0000_0000 + u64::from(number)).expect("a node address");
        let plane = sixplane::node_address(self.network, node);
        let routes = self
            .certs
            .get(&identity)
            .map(|cert| cert.routes.clone())
            .unwrap_or_default();
        let cert = MemberCert {
            version: self.next_version(),
            node,
            name: format!("node-{number}"),
            identity,
            transport: seed.transport(self.network, 0).public(),
            transport_epoch: 0,
            addresses: BTreeSet::from([address, plane.into()]),
            prefix: Some(sixplane::member(self.network, node)),
            routes,
            relay: true,
            tags: BTreeSet::new(),
            issued_at: wall,
            not_after: UnixSeconds(wall.0 + CERT_LIFETIME_SECONDS),
        };
        self.publish_cert(cert);
    }

    /// Makes every certificate of a member so far void.
    pub fn revoke(&mut self, member: IdentityKey, wall: UnixSeconds) {
        let version = self.next_version();
        let revocation = Revocation {
            version,
            identity: member,
            serial_floor: version.revision,
            issued_at: wall,
        };
        let signed = Signed::sign(&revocation, self.network.into(), &self.replica);
        self.accept(DirectoryEntry::Revocation(signed));
    }

    /// Replaces the routes of a member.
    pub fn set_routes(&mut self, member: IdentityKey, routes: &[(IpNet, u32)]) {
        let Some(mut cert) = self.certs.get(&member).cloned() else {
            return;
        };
        cert.version = self.next_version();
        cert.routes = routes
            .iter()
            .map(|&(prefix, metric)| CertRoute {
                prefix,
                metric,
                mode: RouteMode::Failover,
            })
            .collect();
        self.publish_cert(cert);
    }

    /// Replaces the IPv4 address of a member.
    pub fn set_address(&mut self, member: IdentityKey, address: IpAddr) {
        let Some(mut cert) = self.certs.get(&member).cloned() else {
            return;
        };
        cert.version = self.next_version();
        cert.addresses
            .retain(|old| old.is_ipv4() != address.is_ipv4());
        cert.addresses.insert(address);
        self.publish_cert(cert);
    }

    fn publish_cert(&mut self, cert: MemberCert) {
        let signed = Signed::sign(&cert, self.network.into(), &self.replica);
        self.certs.insert(cert.identity, cert);
        self.accept(DirectoryEntry::Member(signed));
    }

    fn next_version(&mut self) -> Version {
        self.revision += 1;
        Version {
            epoch: self.epoch,
            revision: Revision(self.revision),
        }
    }

    fn accept(&mut self, entry: DirectoryEntry) {
        let accepted = self.directory.accept(vec![entry]);
        assert!(accepted.refused.is_empty(), "{:?}", accepted.refused);
    }
}

fn root_key() -> IdentitySecret {
    Seed::from_bytes([0xa0; 32]).identity()
}
