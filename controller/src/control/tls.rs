//! TLS 1.3 with raw public keys (RFC 7250): both sides prove an Ed25519 key and nothing else.
//!
//! Any client key is accepted here: who it is and what it may do is decided by everything that follows.

use std::sync::Arc;

use quinn::crypto::rustls::{NoInitialCipherSuite, QuicServerConfig};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature_with_raw_key},
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer, UnixTime},
    server::{
        AlwaysResolvesServerRawPublicKeys,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tombolo_proto::{
    control::ALPN,
    key::{IdentityKey, IdentitySecret},
    relay::RELAY_ALPN,
};

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The library refused the configuration.
    #[error(transparent)]
    Rustls(#[from] Error),
    /// The library lacks the cipher that QUIC begins with.
    #[error(transparent)]
    Quic(#[from] NoInitialCipherSuite),
}

/// For QUIC.
pub(super) fn quic(key: &IdentitySecret) -> Result<Arc<QuicServerConfig>, TlsError> {
    Ok(Arc::new(QuicServerConfig::try_from(server(key, &[ALPN])?)?))
}

/// For TCP, where relayed frames come in at the same port.
pub(super) fn stream(key: &IdentitySecret) -> Result<Arc<rustls::ServerConfig>, TlsError> {
    let mut config = server(key, &[ALPN, RELAY_ALPN])?;
    // A session that is resumed would prove no key anew.
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

fn server(key: &IdentitySecret, protocols: &[&[u8]]) -> Result<rustls::ServerConfig, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let signing_key = aws_lc_rs::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(key.to_pkcs8()))?;
    let certified = CertifiedKey::new(
        vec![CertificateDer::from(key.public().to_spki())],
        signing_key,
    );
    let verifier = AnyIdentity {
        algorithms: provider.signature_verification_algorithms,
    };
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(Arc::new(
            certified,
        ))));
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    config.max_early_data_size = 0;
    Ok(config)
}

/// The key that the other side proved.
pub(super) fn peer(connection: &quinn::Connection) -> Option<IdentityKey> {
    let chain = connection
        .peer_identity()?
        .downcast::<Vec<CertificateDer<'static>>>()
        .ok()?;
    IdentityKey::from_spki(chain.first()?)
}

/// The same on a stream.
pub(super) fn peer_of_stream(stream: &TlsStream<TcpStream>) -> Option<IdentityKey> {
    let (_, session) = stream.get_ref();
    IdentityKey::from_spki(session.peer_certificates()?.first()?)
}

#[derive(Debug)]
struct AnyIdentity {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AnyIdentity {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        IdentityKey::from_spki(end_entity)
            .map(|_| ClientCertVerified::assertion())
            .ok_or(Error::InvalidCertificate(
                rustls::CertificateError::BadEncoding,
            ))
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(
            PeerIncompatible::Tls13RequiredForQuic,
        ))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let spki = SubjectPublicKeyInfoDer::from(cert.as_ref());
        verify_tls13_signature_with_raw_key(message, &spki, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
