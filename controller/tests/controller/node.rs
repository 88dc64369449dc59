//! A node as far as the control channel goes.

use std::{collections::VecDeque, net::SocketAddr, sync::Arc, time::Duration};

use quinn::{
    ClientConfig, Connection, ConnectionError, Endpoint, RecvStream, SendStream,
    crypto::rustls::QuicClientConfig,
};
use rustls::pki_types::CertificateDer;
use tombolo_proto::{
    address::{self, Cost},
    config::{DirectoryEntry, EndpointAnnouncement, Keyring, MemberCert, NetworkDoc, Revocation},
    control::{
        self, ALPN, Message as _, PROTOCOL, PROTOCOL_MIN, RendezvousOutcome, Standing,
        ToController, ToNode,
    },
    id::{NetworkId, NodeId, UnixSeconds, Version},
    key::{IdentityKey, Seed},
    signed::Signed,
};

/// Longer than anything here takes; a test that waits this long has failed.
const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct Node {
    pub(crate) seed: Seed,
    pub(crate) address: NodeId,
    pub(crate) keyring: Keyring,
    pub(crate) connection: Connection,
    send: SendStream,
    receive: RecvStream,
    /// Messages that came while another kind was waited for.
    early: VecDeque<ToNode>,
    /// Where the controller said that it answers STUN.
    pub(crate) relay: Option<u16>,
    _endpoint: Endpoint,
}

impl Node {
    pub(crate) async fn connect(to: SocketAddr, seed: Seed, replica: IdentityKey) -> Self {
        let (endpoint, connection) = dial(to, &seed, replica).await;
        let (mut send, mut receive) = connection.open_bi().await.expect("a stream");
        let hello = ToController::Hello {
            min: PROTOCOL_MIN,
            max: PROTOCOL,
            software: "test 1.0".to_owned(),
        };
        send.write_all(&control::encode(&hello))
            .await
            .expect("the controller reads");
        let ToNode::Welcome { root, keyring, .. } = read(&mut receive).await else {
            panic!("the controller welcomes a node first");
        };
        let authority = address::of(&root, Cost::Authority).expect("an authority address");
        let keyring = keyring
            .verify(Keyring::scope(authority), |signer| *signer == root)
            .expect("the root key signed the keyring");
        assert!(keyring.replicas.contains(&replica));
        let address = address::of(&seed.identity().public(), Cost::Node).expect("a node address");
        Self {
            seed,
            address,
            keyring,
            connection,
            send,
            receive,
            early: VecDeque::new(),
            relay: None,
            _endpoint: endpoint,
        }
    }

    pub(crate) fn identity(&self) -> IdentityKey {
        self.seed.identity().public()
    }

    pub(crate) async fn say(&mut self, message: &ToController) {
        self.say_raw(&control::encode(message)).await;
    }

    pub(crate) async fn say_raw(&mut self, bytes: &[u8]) {
        self.send
            .write_all(bytes)
            .await
            .expect("the controller reads");
    }

    pub(crate) async fn join(&mut self, network: NetworkId, token: Option<&str>) {
        let message = ToController::Join {
            network,
            token: token.map(str::to_owned),
            transport: self.seed.transport(network, 0).public(),
            transport_epoch: 0,
            name: format!("host-{}", self.address),
        };
        self.say(&message).await;
    }

    /// The next message, in the order they came.
    pub(crate) async fn next(&mut self) -> ToNode {
        match self.early.pop_front() {
            Some(message) => message,
            None => self.receive().await,
        }
    }

    async fn receive(&mut self) -> ToNode {
        loop {
            match read(&mut self.receive).await {
                ToNode::Relay { port } => self.relay = Some(port),
                message => return message,
            }
        }
    }

    /// The next message that `pick` takes; others are kept for later.
    pub(crate) async fn wait<T>(&mut self, mut pick: impl FnMut(&ToNode) -> Option<T>) -> T {
        let known = self
            .early
            .iter()
            .position(|message| pick(message).is_some());
        if let Some(message) = known.and_then(|position| self.early.remove(position)) {
            return pick(&message).expect("picked a moment ago");
        }
        loop {
            let message = self.receive().await;
            match pick(&message) {
                Some(picked) => return picked,
                None => self.early.push_back(message),
            }
        }
    }

    pub(crate) async fn standing(&mut self, of: NetworkId) -> Standing {
        self.wait(|message| match message {
            ToNode::Status { network, standing } if *network == of => Some(standing.clone()),
            _ => None,
        })
        .await
    }

    pub(crate) async fn expect_pending(&mut self, network: NetworkId) {
        assert_eq!(self.standing(network).await, Standing::Pending);
    }

    pub(crate) async fn expect_member(&mut self, network: NetworkId) {
        loop {
            match self.standing(network).await {
                Standing::Member => return,
                // Told again: a replica that hears of its own commit from the store looks once more.
                Standing::Pending => {}
                other => panic!("{other:?} instead of membership"),
            }
        }
    }

    pub(crate) async fn expect_denied(&mut self, network: NetworkId, text: &str) {
        loop {
            match self.standing(network).await {
                Standing::Denied { reason } => {
                    assert!(reason.contains(text), "{reason}");
                    return;
                }
                // Told again: a replica that hears of its own commit from the store looks once more.
                Standing::Member => {}
                other => panic!("{other:?} instead of a denial"),
            }
        }
    }

    /// Asks for everything above `have` and waits for it.
    pub(crate) async fn sync(&mut self, network: NetworkId, have: Version) -> Directory {
        self.say(&ToController::Sync { network, have }).await;
        self.directory(network).await
    }

    /// The next directory message, verified.
    pub(crate) async fn directory(&mut self, of: NetworkId) -> Directory {
        let mut directory = Directory::default();
        loop {
            let (entries, upto, more) = self
                .wait(|message| match message {
                    ToNode::Directory {
                        network,
                        entries,
                        upto,
                        more,
                    } if *network == of => Some((entries.clone(), *upto, *more)),
                    _ => None,
                })
                .await;
            for entry in entries {
                directory.take(of, &self.keyring, &entry);
            }
            if !more {
                directory.upto = upto;
                return directory;
            }
        }
    }

    pub(crate) fn announcement(
        &self,
        network: NetworkId,
        sequence: u64,
    ) -> Signed<EndpointAnnouncement> {
        let body = EndpointAnnouncement {
            endpoints: vec!["192.0.2.1:9790".parse().expect("an address")],
            home: None,
            sequence,
        };
        Signed::sign(&body, network.into(), &self.seed.identity())
    }

    /// Asks to have a member call, and tells the answer.
    pub(crate) async fn ask_for_call(
        &mut self,
        network: NetworkId,
        peer: IdentityKey,
    ) -> RendezvousOutcome {
        let announcement = self.announcement(network, 1);
        self.say(&ToController::Rendezvous {
            network,
            peer,
            announcement,
        })
        .await;
        self.wait(|message| match message {
            ToNode::RendezvousAnswer {
                network: of,
                peer: asked,
                outcome,
            } if *of == network && *asked == peer => Some(*outcome),
            _ => None,
        })
        .await
    }

    /// Whom the node is to call, and where.
    pub(crate) async fn called_by(
        &mut self,
        of: NetworkId,
    ) -> (IdentityKey, Signed<EndpointAnnouncement>) {
        self.wait(|message| match message {
            ToNode::Rendezvous {
                network,
                identity,
                announcement,
            } if *network == of => Some((*identity, announcement.clone())),
            _ => None,
        })
        .await
    }

    /// Whose endpoints the next such message tells.
    pub(crate) async fn endpoints(&mut self, of: NetworkId) -> IdentityKey {
        self.wait(|message| match message {
            ToNode::Endpoints {
                network, identity, ..
            } if *network == of => Some(*identity),
            _ => None,
        })
        .await
    }

    pub(crate) async fn announce(&mut self, network: NetworkId, sequence: u64) {
        let announcement = self.announcement(network, sequence);
        self.say(&ToController::Announce {
            network,
            announcement,
        })
        .await;
    }

    /// Whose endpoints are told before it is said that all of them were, and up to when that is.
    pub(crate) async fn all_endpoints(&mut self, of: NetworkId) -> (Vec<IdentityKey>, UnixSeconds) {
        let mut told = Vec::new();
        loop {
            let next = self.wait(|message| match message {
                ToNode::Endpoints {
                    network, identity, ..
                } if *network == of => Some(Err(*identity)),
                ToNode::EndpointsUpto { network, moment } if *network == of => Some(Ok(*moment)),
                _ => None,
            });
            match next.await {
                Ok(moment) => return (told, moment),
                Err(identity) => told.push(identity),
            }
        }
    }

    /// Waits until the controller closed the connection, and tells with which code.
    pub(crate) async fn closed(&self) -> u64 {
        closed(&self.connection).await
    }
}

pub(crate) async fn closed(connection: &Connection) -> u64 {
    let reason = tokio::time::timeout(DEADLINE, connection.closed())
        .await
        .expect("the controller closes the connection");
    match reason {
        ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
        other => panic!("closed for another reason: {other}"),
    }
}

pub(crate) async fn read(receive: &mut RecvStream) -> ToNode {
    let message = async {
        let mut prefix = [0; 4];
        receive.read_exact(&mut prefix).await.expect("a message");
        let mut body = vec![0; u32::from_be_bytes(prefix) as usize];
        receive
            .read_exact(&mut body)
            .await
            .expect("a whole message");
        control::decode(&body).expect("a message of this version")
    };
    tokio::time::timeout(DEADLINE, message)
        .await
        .expect("a message in time")
}

/// Documents, verified and taken apart.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    pub(crate) network: Option<NetworkDoc>,
    pub(crate) certs: Vec<MemberCert>,
    pub(crate) revocations: Vec<Revocation>,
    pub(crate) upto: Version,
}

impl Directory {
    fn take(&mut self, network: NetworkId, keyring: &Keyring, entry: &DirectoryEntry) {
        let may_sign = |signer: &IdentityKey| keyring.replicas.contains(signer);
        let signed = "a replica of the keyring signed it";
        let scope = network.into();
        match entry {
            DirectoryEntry::Network(doc) => {
                self.network = Some(doc.verify(scope, may_sign).expect(signed));
            }
            DirectoryEntry::Member(cert) => {
                self.certs.push(cert.verify(scope, may_sign).expect(signed));
            }
            DirectoryEntry::Revocation(revocation) => {
                self.revocations
                    .push(revocation.verify(scope, may_sign).expect(signed));
            }
        }
    }

    pub(crate) fn cert(&self, identity: IdentityKey) -> &MemberCert {
        self.certs
            .iter()
            .find(|cert| cert.identity == identity)
            .expect("a certificate of this member")
    }
}

pub(crate) async fn dial(
    to: SocketAddr,
    seed: &Seed,
    replica: IdentityKey,
) -> (Endpoint, Connection) {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut endpoint = Endpoint::client(any).expect("a UDP socket");
    endpoint.set_default_client_config(client_config(seed));
    let connection = endpoint
        .connect(to, "tombolo")
        .expect("a valid address")
        .await
        .expect("the controller accepts");
    let shown = connection
        .peer_identity()
        .and_then(|shown| shown.downcast::<Vec<CertificateDer<'_>>>().ok());
    let proved = tombolo_stream::key_of(shown.as_deref().map(Vec::as_slice));
    assert_eq!(proved, Some(replica), "the key that the other side holds");
    (endpoint, connection)
}

fn client_config(seed: &Seed) -> ClientConfig {
    let tls = tombolo_stream::client(&seed.identity(), ALPN).expect("TLS 1.3 is there");
    ClientConfig::new(Arc::new(
        QuicClientConfig::try_from(tls).expect("a cipher for QUIC"),
    ))
}

/// A message that no version knows.
pub(crate) fn unknown_message() -> Vec<u8> {
    let variant = u8::try_from(ToController::VARIANTS).expect("few variants") + 5;
    [&2u32.to_be_bytes()[..], &[variant, 7]].concat()
}
