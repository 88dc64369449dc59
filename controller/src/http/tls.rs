//! TLS for HTTP. Handshakes run beside each other, so that a peer that says nothing holds up nobody; the certificate is
//! read again when its file changes.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::config::TlsFiles;

/// How long a handshake may take.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// Handshakes at once.
const HANDSHAKES: usize = 256;
/// How often the files are looked at.
const RELOAD_INTERVAL: Duration = Duration::from_secs(60);

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}: {cause}; --tls-cert and --tls-key name PEM files", path = .path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system or the format says.
        cause: String,
    },
    /// They do not belong together, or are of a kind that is not supported.
    #[error("the certificate {certificate} and its key cannot be used: {cause}", certificate = .certificate.display())]
    Unusable {
        /// The certificate.
        certificate: PathBuf,
        /// What is wrong.
        cause: rustls::Error,
    },
}

/// A certificate in use.
#[derive(Debug, Clone)]
pub(crate) struct Tls(Arc<Certificate>);

#[derive(Debug)]
struct Certificate {
    files: TlsFiles,
    provider: Arc<CryptoProvider>,
    current: RwLock<(Arc<CertifiedKey>, Stamp)>,
}

/// When both files were written.
type Stamp = [Option<SystemTime>; 2];

impl Tls {
    pub(crate) fn read(files: TlsFiles) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let stamp = stamp(&files);
        let current = RwLock::new((Arc::new(read(&files, &provider)?), stamp));
        Ok(Self(Arc::new(Certificate {
            files,
            provider,
            current,
        })))
    }

    pub(super) fn listen(self, listener: TcpListener) -> TlsListener {
        let provider = Arc::clone(&self.0.provider);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider has TLS 1.3")
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.0) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let (ready, accepted) = mpsc::channel(1);
        let accepting = tokio::spawn(accept(listener, config.into(), self.0, ready));
        TlsListener {
            address,
            accepted,
            accepting,
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&current.0))
    }
}

impl Certificate {
    /// Takes a renewed certificate; goes on with the old one if the new one is no good.
    fn reload(&self) {
        let now = stamp(&self.files);
        let known = self
            .current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .1;
        if now == known {
            return;
        }
        match read(&self.files, &self.provider) {
            Ok(fresh) => {
                let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
                *current = (Arc::new(fresh), now);
                tracing::info!(certificate = %self.files.certificate.display(), "certificate renewed");
            }
            Err(error) => tracing::warn!(%error, "going on with the certificate from before"),
        }
    }
}

/// Connections whose handshake is over.
pub(super) struct TlsListener {
    address: SocketAddr,
    accepted: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    accepting: JoinHandle<()>,
}

impl TlsListener {
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) async fn accept(&mut self) -> (TlsStream<TcpStream>, SocketAddr) {
        match self.accepted.recv().await {
            Some(accepted) => accepted,
            // The task ends with this value and not before.
            None => std::future::pending().await,
        }
    }
}

impl Drop for TlsListener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    mut listener: TcpListener,
    config: Arc<ServerConfig>,
    certificate: Arc<Certificate>,
    ready: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    let acceptor = TlsAcceptor::from(config);
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    let mut look = tokio::time::interval(RELOAD_INTERVAL);
    loop {
        let permit = Arc::clone(&handshakes)
            .acquire_owned()
            .await
            .expect("nobody closes it");
        let (stream, address) = loop {
            tokio::select! {
                accepted = axum::serve::Listener::accept(&mut listener) => break accepted,
                _ = look.tick() => certificate.reload(),
            }
        };
        let (acceptor, ready) = (acceptor.clone(), ready.clone());
        tokio::spawn(async move {
            let handshake = tokio::time::timeout(HANDSHAKE_DEADLINE, acceptor.accept(stream)).await;
            drop(permit);
            if let Ok(Ok(stream)) = handshake {
                // Nobody takes it any more when the controller stops.
                let _ = ready.send((stream, address)).await;
            }
        });
    }
}

fn read(files: &TlsFiles, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let failed = |path: &Path, cause: &dyn std::fmt::Display| TlsError::Read {
        path: path.to_owned(),
        cause: cause.to_string(),
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect)
        .map_err(|cause| failed(&files.certificate, &cause))?;
    if chain.is_empty() {
        return Err(failed(&files.certificate, &"it holds no certificate"));
    }
    let key =
        PrivateKeyDer::from_pem_file(&files.key).map_err(|cause| failed(&files.key, &cause))?;
    CertifiedKey::from_der(chain, key, provider).map_err(|cause| TlsError::Unusable {
        certificate: files.certificate.clone(),
        cause,
    })
}

fn stamp(files: &TlsFiles) -> Stamp {
    let written = |path: &Path| -> io::Result<SystemTime> { fs::metadata(path)?.modified() };
    [&files.certificate, &files.key].map(|path| written(path).ok())
}
