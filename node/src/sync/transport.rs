//! The control channel's connection: QUIC with TLS 1.3, both sides known by raw Ed25519 keys (RFC 7250).
//!
//! Any server key is let through the handshake: whether it is the right one is only known after `Welcome`, and nothing
//! secret is said before that (see [`super::trust`]). The only file that imports quinn.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::Arc,
};

use anyhow::{Context as _, anyhow, bail, ensure};
use quinn::{
    ClientConfig, Connection, ConnectionError, Endpoint, EndpointConfig, RecvStream, SendStream,
    TokioRuntime, TransportConfig, VarInt, crypto::rustls::QuicClientConfig,
};
use rustls::{
    DigitallySignedStruct, SignatureScheme,
    client::{
        AlwaysResolvesClientRawPublicKeys, Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key},
    pki_types::{
        CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer,
        UnixTime,
    },
    sign::CertifiedKey,
};
use socket2::{Domain, Socket, Type};
use tombolo_proto::{
    control::{self, MessageError, ToController, ToNode},
    key::{IdentityKey, IdentitySecret},
    wire::MAX_ENCODED,
};

use super::patience::Patience;

/// Makes connections in the name of a node.
#[derive(Debug)]
pub struct Transport {
    endpoint: Endpoint,
    config: ClientConfig,
}

impl Transport {
    /// Opens the socket that all control connections share. Needs a tokio runtime.
    pub fn open(identity: &IdentitySecret) -> anyhow::Result<Self> {
        let socket = client_socket().context("Failed to open a socket for the control channel")?;
        Self::on(socket, identity)
    }

    /// The same on a socket that is open already.
    pub fn on(socket: UdpSocket, identity: &IdentitySecret) -> anyhow::Result<Self> {
        let endpoint = Endpoint::new(
            EndpointConfig::default(),
            None,
            socket,
            Arc::new(TokioRuntime),
        )
        .context("Failed to start QUIC")?;
        let config = client_config(identity)?;
        Ok(Self { endpoint, config })
    }

    /// Makes connections from the same socket in the name of another node.
    pub fn beside(&self, identity: &IdentitySecret) -> anyhow::Result<Self> {
        Ok(Self {
            endpoint: self.endpoint.clone(),
            config: client_config(identity)?,
        })
    }

    /// Connects and opens the one stream that everything is said on.
    pub async fn connect(
        &self,
        address: SocketAddr,
        patience: Patience,
    ) -> anyhow::Result<Channel> {
        let mut config = self.config.clone();
        config.transport_config(Arc::new(transport_config(patience)?));
        let connection = self
            .endpoint
            .connect_with(config, address, "controller")?
            .await?;
        let peer = peer_key(&connection).context("The controller has no Ed25519 key")?;
        let (send, receive) = connection.open_bi().await?;
        Ok(Channel {
            peer,
            address,
            sender: Sender(send),
            receiver: Receiver(receive),
            connection,
        })
    }
}

/// An open connection to a controller.
#[derive(Debug)]
pub struct Channel {
    /// The key that the other side has proved to hold.
    pub peer: IdentityKey,
    /// Where it is.
    pub address: SocketAddr,
    /// Our half of the stream.
    pub sender: Sender,
    /// Its half of the stream.
    pub receiver: Receiver,
    connection: Connection,
}

impl Channel {
    /// Whether the connection ended because nothing came any more.
    #[must_use]
    pub fn fell_silent(&self) -> bool {
        matches!(
            self.connection.close_reason(),
            Some(ConnectionError::TimedOut)
        )
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.connection.close(VarInt::from_u32(0), b"");
    }
}

/// Sends messages.
#[derive(Debug)]
pub struct Sender(SendStream);

impl Sender {
    /// Sends one message.
    pub async fn send(&mut self, message: &ToController) -> anyhow::Result<()> {
        Ok(self.0.write_all(&control::encode(message)).await?)
    }

    /// Says that nothing follows, and waits until the other side has everything.
    pub async fn finish(&mut self) {
        // If the connection is gone there is nobody left to wait for.
        if self.0.finish().is_ok() {
            let _ = self.0.stopped().await;
        }
    }
}

/// Receives messages.
#[derive(Debug)]
pub struct Receiver(RecvStream);

impl Receiver {
    /// The next message, or the number of one that this version does not know. Not cancel safe.
    pub async fn receive(&mut self) -> anyhow::Result<Result<ToNode, u32>> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).await?;
        let length = u32::from_be_bytes(length) as usize;
        ensure!(
            length <= MAX_ENCODED,
            "a message of {length} bytes is longer than any may be"
        );
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await?;
        match control::decode(&body) {
            Ok(message) => Ok(Ok(message)),
            Err(MessageError::Unknown(variant)) => Ok(Err(variant)),
            Err(MessageError::Malformed(error)) => {
                bail!("the controller sent a malformed message: {error}")
            }
        }
    }
}

fn peer_key(connection: &Connection) -> Option<IdentityKey> {
    let certificates = connection
        .peer_identity()?
        .downcast::<Vec<CertificateDer<'static>>>()
        .ok()?;
    IdentityKey::from_spki(certificates.first()?)
}

/// One socket for both families where the host has IPv6, else IPv4 alone.
fn client_socket() -> std::io::Result<UdpSocket> {
    let dual_stack = || -> std::io::Result<Socket> {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, None)?;
        socket.set_only_v6(false)?;
        socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into())?;
        Ok(socket)
    };
    match dual_stack() {
        Ok(socket) => Ok(socket.into()),
        Err(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)),
    }
}

fn client_config(identity: &IdentitySecret) -> anyhow::Result<ClientConfig> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.to_pkcs8()));
    let key = provider
        .key_provider
        .load_private_key(key)
        .context("Failed to load the identity into TLS")?;
    let certified = CertifiedKey::new(vec![CertificateDer::from(identity.public().to_spki())], key);
    let verifier = AnyEd25519 {
        algorithms: provider.signature_verification_algorithms,
    };
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::<CryptoProvider>::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .context("Failed to set up TLS 1.3")?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(Arc::new(
            certified,
        ))));
    tls.alpn_protocols = vec![control::ALPN.to_vec()];
    tls.enable_early_data = false;
    tls.resumption = Resumption::disabled();

    let quic = QuicClientConfig::try_from(tls).map_err(|error| anyhow!("{error}"))?;
    Ok(ClientConfig::new(Arc::new(quic)))
}

/// Lost packets are sent again within a silence that is borne, and QUIC itself waits longer where round trips take longer
/// (RFC 9000 section 10.1).
fn transport_config(patience: Patience) -> anyhow::Result<TransportConfig> {
    let silence = patience
        .silence()
        .try_into()
        .context("The idle timeout is too long")?;
    let mut transport = TransportConfig::default();
    transport.max_idle_timeout(Some(silence));
    transport.keep_alive_interval(Some(patience.sign_of_life()));
    transport.max_concurrent_bidi_streams(VarInt::from_u32(0));
    transport.max_concurrent_uni_streams(VarInt::from_u32(0));
    Ok(transport)
}

/// Checks that the server holds the Ed25519 key it shows, whichever key that is.
#[derive(Debug)]
struct AnyEd25519 {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for AnyEd25519 {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match IdentityKey::from_spki(end_entity) {
            Some(_) => Ok(ServerCertVerified::assertion()),
            None => Err(rustls::CertificateError::BadEncoding.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let key = SubjectPublicKeyInfoDer::from(cert.as_ref());
        verify_tls13_signature_with_raw_key(message, &key, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
