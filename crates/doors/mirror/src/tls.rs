//! Certificates for the cluster's door: this node shows one, and wants one of the same authority.

use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No certificate or key is in what was given.
    #[error("reading the {0}")]
    Pem(&'static str, #[source] tokio_rustls::rustls::pki_types::pem::Error),
    /// They do not go together, or are none that TLS takes.
    #[error("setting up TLS")]
    Setup(#[from] tokio_rustls::rustls::Error),
    /// The authority's certificates cannot be used.
    #[error("setting up TLS: {0}")]
    Authority(String),
}

/// What the door shows and wants.
#[derive(Clone)]
pub struct Tls(pub(crate) TlsAcceptor);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// Shows the certificate, and lets in whoever shows one that `authority` signed; all of them are PEM.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn mutual(certificate: &[u8], key: &[u8], authority: &[u8]) -> Result<Self, TlsError> {
        let certificates = |pem, what| {
            let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
            all.map_err(|error| TlsError::Pem(what, error))
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        for certificate in certificates(authority, "authority")? {
            roots.add(certificate)?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
        let verifier = verifier.map_err(|error| TlsError::Authority(error.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| TlsError::Pem("key", error))?;
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(certificates(certificate, "certificate")?, key)?;
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }
}
