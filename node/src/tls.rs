//! TLS 1.3 between nodes and controllers, and between nodes: both sides prove raw Ed25519 keys (RFC 7250), and nothing else.
//! Whose key it is has to be looked at by whoever connects.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
    client::{
        AlwaysResolvesClientRawPublicKeys, Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key},
    pki_types::{
        CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer,
        UnixTime,
    },
    server::{
        AlwaysResolvesServerRawPublicKeys,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tombolo_proto::key::{IdentityKey, IdentitySecret};

/// The system counts these in whole seconds.
const SHORTEST_KEEP_ALIVE: Duration = Duration::from_secs(1);

/// For the side that connects, in the name of `identity`, for a protocol (ALPN, RFC 7301).
pub(crate) fn client(identity: &IdentitySecret, protocol: &[u8]) -> anyhow::Result<ClientConfig> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let verifier = AnyEd25519 {
        algorithms: provider.signature_verification_algorithms,
    };
    let certified = certified(identity, &provider)?;
    let mut tls = ClientConfig::builder_with_provider(Arc::<CryptoProvider>::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .context("Failed to set up TLS 1.3")?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(certified)));
    tls.alpn_protocols = vec![protocol.to_vec()];
    tls.enable_early_data = false;
    tls.resumption = Resumption::disabled();
    Ok(tls)
}

/// For the side that listens.
pub(crate) fn server(identity: &IdentitySecret, protocol: &[u8]) -> anyhow::Result<ServerConfig> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let verifier = AnyEd25519 {
        algorithms: provider.signature_verification_algorithms,
    };
    let certified = certified(identity, &provider)?;
    let mut tls = ServerConfig::builder_with_provider(Arc::<CryptoProvider>::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .context("Failed to set up TLS 1.3")?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(certified)));
    tls.alpn_protocols = vec![protocol.to_vec()];
    tls.max_early_data_size = 0;
    // A session that is resumed would prove no key anew.
    tls.send_tls13_tickets = 0;
    Ok(tls)
}

/// The key that the other side has proved to hold.
pub(crate) fn key_of(chain: Option<&[CertificateDer<'_>]>) -> Option<IdentityKey> {
    IdentityKey::from_spki(chain?.first()?)
}

fn certified(
    identity: &IdentitySecret,
    provider: &CryptoProvider,
) -> anyhow::Result<Arc<CertifiedKey>> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.to_pkcs8()));
    let key = provider
        .key_provider
        .load_private_key(key)
        .context("Failed to load the identity into TLS")?;
    let key_alone = vec![CertificateDer::from(identity.public().to_spki())];
    Ok(Arc::new(CertifiedKey::new(key_alone, key)))
}

/// Connects over TCP; gives the key that the other side has proved. The system asks for a sign of life, and gives up after
/// silence, as long as told.
pub(crate) async fn connect(
    config: &Arc<ClientConfig>,
    address: SocketAddr,
    (sign_of_life, silence): (Duration, Duration),
) -> anyhow::Result<(TlsStream<TcpStream>, IdentityKey)> {
    let stream = TcpStream::connect(address).await?;
    bear_silence(&stream, sign_of_life, silence)?;
    // Nobody looks at names: keys are what is known of each other.
    let name = ServerName::try_from("controller").context("A name that is none")?;
    let stream = TlsConnector::from(Arc::clone(config))
        .connect(name, stream)
        .await?;
    let (_, session) = stream.get_ref();
    let peer = key_of(session.peer_certificates()).context("The other side has no Ed25519 key")?;
    Ok((stream, peer))
}

/// How long a connection lasts without a sign of life, and how often one is asked for.
pub(crate) fn bear_silence(
    stream: &TcpStream,
    sign_of_life: Duration,
    silence: Duration,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keep_alive = TcpKeepalive::new()
        .with_time(sign_of_life.max(SHORTEST_KEEP_ALIVE))
        .with_interval(SHORTEST_KEEP_ALIVE);
    socket.set_tcp_keepalive(&keep_alive)?;
    socket.set_tcp_user_timeout(Some(silence))
}

/// Checks that the other side holds the Ed25519 key it shows, whichever key that is.
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

impl ClientCertVerifier for AnyEd25519 {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        match IdentityKey::from_spki(end_entity) {
            Some(_) => Ok(ClientCertVerified::assertion()),
            None => Err(rustls::CertificateError::BadEncoding.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        ServerCertVerifier::verify_tls12_signature(self, message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        ServerCertVerifier::verify_tls13_signature(self, message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ServerCertVerifier::supported_verify_schemes(self)
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
