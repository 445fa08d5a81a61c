//! A certificate authority for one test, and sockets that speak TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivateKeyDer};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

pub(super) struct Identity {
    pub(super) ca_pem: String,
    config: Arc<ServerConfig>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity")
    }
}

impl Identity {
    pub(super) fn generate() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are valid names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = || KeyPair::generate().expect("a key can be made");
        let authority = CertifiedIssuer::self_signed(params, key()).expect("a certificate can be made");
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let own = key();
        let leaf = CertificateParams::new(names).expect("the names are valid");
        let leaf = leaf.signed_by(&own, &authority).expect("a certificate can be made");
        let secret = PrivateKeyDer::try_from(own.serialize_der()).expect("the key was just made");
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                builder.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], secret)
            })
            .expect("the key belongs to the certificate");
        Self { ca_pem: authority.pem(), config: Arc::new(config) }
    }

    pub(super) fn listener(&self, tcp: TcpListener) -> Listener {
        Listener { tcp, acceptor: TlsAcceptor::from(self.config.clone()) }
    }
}

pub(super) struct Listener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for Listener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    /// Handshakes one after the other: good enough for a test.
    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, addr) = axum::serve::Listener::accept(&mut self.tcp).await;
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, addr);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}
