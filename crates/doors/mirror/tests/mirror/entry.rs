//! Certificates: who is one of ours.

use glowplug_peer::{PIECE_BYTES, Security};
use glowplug_testkit::TestRegistry;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::world::{Plan, cluster, noise};

/// An authority, and what it signs for a node on loopback.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate and its key.
    fn sign(&self) -> (Vec<u8>, Vec<u8>) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem().into_bytes(), key.serialize_pem().into_bytes())
    }

    fn pem(&self) -> Vec<u8> {
        self.0.pem().into_bytes()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_with_certificates_serve_each_other_and_nobody_else() {
    let registry = TestRegistry::start();
    let expected = noise(16 * PIECE_BYTES as usize, 11);
    let digest = registry.put_blob(expected.clone());
    let authority = Authority::new();
    let nodes = cluster(2, || {
        let (certificate, key) = authority.sign();
        let identity_pem = [&certificate[..], &key].concat();
        Plan {
            security: Security::Tls { identity_pem, authority_pem: authority.pem() },
            tls: Some((certificate, key, authority.pem())),
            ..Plan::default()
        }
    })
    .await;
    assert!(nodes[0].read(&registry, &digest).await.unwrap() == expected);
    assert!(nodes[0].node.stats().peer_bytes > 0);
    assert_eq!(nodes[0].node.stats().peer_failures, 0);

    let url = format!("{}/glowplug/peer/1/stats", nodes[1].own);
    let ask = async |identity: Option<(Vec<u8>, Vec<u8>)>| {
        let trusted = reqwest::Certificate::from_pem(&authority.pem()).unwrap();
        let mut builder = reqwest::Client::builder().no_proxy().tls_certs_only([trusted]);
        if let Some((certificate, key)) = identity {
            builder = builder.identity(reqwest::Identity::from_pem(&[certificate, key].concat()).unwrap());
        }
        builder.build().unwrap().get(&url).send().await
    };
    assert_eq!(ask(Some(authority.sign())).await.unwrap().status(), 200);
    assert!(ask(None).await.is_err());
    assert!(ask(Some(Authority::new().sign())).await.is_err());
    assert!(reqwest::get(url.replace("https", "http")).await.is_err());
}
