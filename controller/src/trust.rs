//! Which certificates of others count.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use ureq::tls::{PemItem, RootCerts, TlsConfig};

/// Certificates that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the certificates {path}: {cause}", path = .path.display())]
pub struct TrustError {
    path: PathBuf,
    cause: String,
}

/// Those of the public authorities, or those in a file (PEM).
pub(crate) fn tls_config(file: Option<&Path>) -> Result<TlsConfig, TrustError> {
    let Some(path) = file else {
        return Ok(TlsConfig::default());
    };
    let wrong = |cause: &dyn std::fmt::Display| TrustError {
        path: path.to_owned(),
        cause: cause.to_string(),
    };
    let text = std::fs::read(path).map_err(|cause| wrong(&cause))?;
    let mut roots = Vec::new();
    for item in ureq::tls::parse_pem(&text) {
        if let PemItem::Certificate(certificate) = item.map_err(|cause| wrong(&cause))? {
            roots.push(certificate);
        }
    }
    if roots.is_empty() {
        return Err(wrong(&"there is none in it"));
    }
    let roots = RootCerts::Specific(Arc::new(roots));
    Ok(TlsConfig::builder().root_certs(roots).build())
}
