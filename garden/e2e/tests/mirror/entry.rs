//! The cluster's door as a mirror for another machine: containerd shows the token, or a certificate, or goes elsewhere.

use std::path::Path;

use glowplug_e2e::{Containerd, PeerNode, PeerPorts};
use glowplug_testkit::TestRegistry;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::world::{id, image, push};

/// `hosts.toml` with the cluster's door of `node`, and what more is to be said about it.
fn hosts_toml(registry: &str, scheme: &str, node: &PeerNode, more: &str) -> String {
    let door = format!("{scheme}://127.0.0.1:{}", node.ports().cluster);
    format!(
        "server = \"http://{registry}\"\n[host.\"{door}\"]\ncapabilities = [\"pull\", \"resolve\"]\n{}",
        more.replace("DOOR", &door)
    )
}

/// Pulls with `hosts_toml`; whether the node served it.
fn served(registry: &TestRegistry, node: &PeerNode, hosts_toml: &str, seed: u32) -> bool {
    let image = image(seed);
    push(registry, "app:v1", &image);
    let containerd = Containerd::start_for_kubelet();
    containerd.know(&registry.host(), hosts_toml);
    let before = node.counted("served_bytes");
    let pulled = containerd.pull_for_kubelet(&registry.reference("app:v1"), None);
    assert_eq!(pulled.unwrap(), id(&image));
    node.counted("served_bytes") > before
}

#[test]
fn with_the_token_in_a_header_containerd_comes_in() {
    let registry = TestRegistry::start();
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "a-secret\n").unwrap();
    let node = PeerNode::start(PeerPorts::free(), &[], &["--token-file", token.to_str().unwrap()]);
    let toml = |more: &str| hosts_toml(&registry.host(), "http", &node, more);
    let right = toml("[host.\"DOOR\".header]\nauthorization = \"Bearer a-secret\"\n");
    assert!(served(&registry, &node, &right, 10));
    // Without it, or with another, containerd goes to the registry.
    assert!(!served(&registry, &node, &toml(""), 11));
    let wrong = toml("[host.\"DOOR\".header]\nauthorization = \"Bearer another\"\n");
    assert!(!served(&registry, &node, &wrong, 12));
}

#[test]
fn with_a_certificate_of_the_cluster_s_authority_containerd_comes_in() {
    let registry = TestRegistry::start();
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    certificates(folder.path());
    let (cert, key, ca) = (place("node.pem"), place("node.key"), place("ca.pem"));
    let tls = ["--tls-cert", &cert, "--tls-key", &key, "--tls-ca", &ca];
    let node = PeerNode::start(PeerPorts::free(), &[], &tls);
    let toml = |more: &str| hosts_toml(&registry.host(), "https", &node, more);
    let client = format!("client = [[\"{}\", \"{}\"]]\n", place("client.pem"), place("client.key"));
    assert!(served(&registry, &node, &toml(&format!("ca = \"{ca}\"\n{client}")), 13));
    assert!(!served(&registry, &node, &toml(&format!("ca = \"{ca}\"\n")), 14));
}

/// An authority, and certificates for a node and for containerd.
fn certificates(folder: &Path) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    for name in ["node", "client"] {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        std::fs::write(folder.join(name).with_extension("pem"), certificate.pem()).unwrap();
        std::fs::write(folder.join(name).with_extension("key"), key.serialize_pem()).unwrap();
    }
}
