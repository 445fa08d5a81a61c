//! What one node made of an image and learned of its start, the others have at their first start, and nobody does anything for it.
#![allow(clippy::unwrap_used, reason = "clippy does not take the functions beside the tests for tests")]

use std::path::Path;

use glowplug_base::Digest;
use glowplug_e2e::{Glowplug, PeerPorts, Running, get, serve};
use glowplug_image::offered;
use glowplug_layer::{Limits, decode, encode};
use glowplug_peer::{LoreId, OwnService, read_key};
use glowplug_testkit::TestRegistry;
use serde_json::Value;

const COMMAND: [&str; 2] = ["/bin/cat", "/www/answer.txt"];
/// Runs on until it is asked to end.
const FOREVER: [&str; 3] = ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1; done"];

/// A node with its service, in one store's directory as by default.
struct Member {
    node: Glowplug,
    ports: PeerPorts,
    mirror: String,
    _service: Running,
}

impl Member {
    fn start(
        registry: &TestRegistry,
        token: &Path,
        ports: PeerPorts,
        others: &[PeerPorts],
        more: &[&str],
    ) -> Self {
        let node = Glowplug::new();
        let [cluster, local] = [ports.cluster, ports.local].map(|port| format!("127.0.0.1:{port}"));
        let others: Vec<String> =
            others.iter().map(|other| format!("http://127.0.0.1:{}", other.cluster)).collect();
        let mut args = vec!["peer", "serve", "--listen", &cluster, "--local", &local];
        args.extend(["--token-file", token.to_str().unwrap()]);
        others.iter().for_each(|other| args.extend(["--peer", other]));
        args.extend(more);
        let service = node.start(&args, "for this machine");
        Self { node, ports, mirror: format!("{}=http://{local}", registry.host()), _service: service }
    }

    /// A start of the image with the node's service as its mirror: what it said, and the lines of its timeline.
    fn run(&self, image: &str, flags: &[&str], command: &[&str]) -> (bool, String, Vec<Value>) {
        let dir = tempfile::tempdir().unwrap();
        let timeline = dir.path().join("timeline");
        let mut args = vec!["run", "--mirror", &self.mirror, "--timeline", timeline.to_str().unwrap()];
        args.extend(flags);
        args.push(image);
        args.extend(command);
        let output = self.node.output(&args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let lines = std::fs::read_to_string(&timeline).unwrap_or_default();
        let lines = lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        (output.status.success(), said, lines)
    }

    fn explain(&self, image: &str) -> Value {
        let args = ["--json", "explain", "--mirror", &self.mirror, image];
        serde_json::from_str(&self.node.succeed(&args)).unwrap()
    }

    fn counted(&self, name: &str) -> u64 {
        let (status, body) = get(self.ports.local, "/glowplug/peer/1/stats").unwrap();
        assert_eq!(status, 200);
        serde_json::from_slice::<Value>(&body).unwrap()[name].as_u64().unwrap()
    }
}

/// Two nodes of one cluster, and what both of them reach.
fn pair(registry: &TestRegistry, token: &Path, more: &[&str]) -> [Member; 2] {
    std::fs::write(token, "a-secret\n").unwrap();
    let ports = [PeerPorts::free(), PeerPorts::free()];
    ports.map(|own| Member::start(registry, token, own, &ports, more))
}

#[test]
fn what_one_node_made_and_learned_the_others_have_at_their_first_start() {
    let registry = TestRegistry::start();
    serve(&registry, "tiny-gzip", "tiny:1");
    let image = registry.reference("tiny:1");
    let dir = tempfile::tempdir().unwrap();
    let [first, second] = pair(&registry, &dir.path().join("token"), &[]);
    let why = |told: &Value, layer: usize| told["layers"][layer]["why"].as_str().unwrap().to_owned();
    assert!(why(&second.explain(&image), 1).starts_with("no index yet"));

    let (succeeded, said, _) = first.run(&image, &[], &COMMAND);
    assert!(succeeded && said.contains("0 with a published index, 3 streamed by"), "{said}");

    let peer = format!("the peer http://127.0.0.1:{}", first.ports.cluster);
    let told = second.explain(&image);
    for layer in 0..2 {
        assert_eq!(why(&told, layer), format!("index at {peer}: lazy at the first start"), "{told}");
        assert_eq!(told["layers"][layer]["lazy"], true);
    }
    assert!(why(&told, 2).starts_with("no index yet"), "a small layer streams by as quickly");

    registry.clear_log();
    let (succeeded, said, timeline) = second.run(&image, &[], &COMMAND);
    assert!(succeeded, "{said}");
    assert!(said.contains("2 layers with an index from a peer"), "{said}");
    assert!(
        said.contains("1 streamed by") && said.contains(&format!("order of the start from {peer}")),
        "{said}"
    );
    let details: Vec<&str> = timeline.iter().filter_map(|line| line["detail"].as_str()).collect();
    assert!(
        details.iter().any(|detail| detail.starts_with("index from the peer http://127.0.0.1")),
        "{details:?}"
    );
    assert!(details.contains(&&*format!("order from {peer}")), "{details:?}");
    assert!(
        timeline.iter().any(|line| line["cause"] == "profile"),
        "it is streamed in the order that was learned"
    );
    let asked = registry.blob_requests();
    assert!(asked.len() < 3, "what the first node has comes from there: {asked:?}");

    let told = second.explain(&image);
    assert!(why(&told, 1).contains("index from a peer, http://127.0.0.1"), "{told}");
    assert_eq!(first.counted("lore_from_peers") + second.counted("lore_from_peers"), 3);
    assert_eq!(second.counted("peers_put_aside"), 0);
}

#[test]
fn indexes_of_peers_can_be_refused_and_orders_are_taken_all_the_same() {
    let registry = TestRegistry::start();
    serve(&registry, "tiny-gzip", "tiny:1");
    let image = registry.reference("tiny:1");
    let dir = tempfile::tempdir().unwrap();
    let [first, second] = pair(&registry, &dir.path().join("token"), &["--no-peer-indexes"]);
    let (succeeded, said, _) = first.run(&image, &[], &COMMAND);
    assert!(succeeded, "{said}");
    let (succeeded, said, _) = second.run(&image, &[], &COMMAND);
    assert!(succeeded && said.contains("3 streamed by") && !said.contains("index from a peer"), "{said}");
    assert!(said.contains("order of the start from the peer"), "{said}");
}

/// Makes a node vouch for an index by which a file runs as its owner.
fn lie(liar: &Member, layer: &Digest) {
    let key = read_key(&liar.node.store().join("peer/key")).unwrap();
    let service = OwnService::at(&format!("127.0.0.1:{}", liar.ports.local), Some(key)).unwrap();
    let id = LoreId::index(*layer, &offered::dialect()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let packed = service.get(&id, u64::MAX).await.unwrap().bytes;
        let length = u64::from_le_bytes(*packed[8..].first_chunk().unwrap()) as usize;
        let (index, windows) = packed[16..].split_at(length);
        let mut index = decode(index, &Limits::default()).unwrap();
        let changed = index.entries.iter_mut().find(|entry| !entry.extents.is_empty()).unwrap();
        changed.mode |= 0o4000;
        let index = encode(&index).unwrap();
        let lying = [&packed[..8], &(index.len() as u64).to_le_bytes(), &index, windows].concat();
        assert!(service.offer(&id, lying.into()).await);
    });
}

#[test]
fn a_strict_run_ends_when_a_peers_index_proves_wrong_and_the_peer_is_left_alone() {
    let registry = TestRegistry::start();
    serve(&registry, "tiny-gzip", "tiny:1");
    let image = registry.reference("tiny:1");
    let dir = tempfile::tempdir().unwrap();
    let [first, second] = pair(&registry, &dir.path().join("token"), &[]);
    let (succeeded, said, _) = first.run(&image, &[], &COMMAND);
    assert!(succeeded, "{said}");
    let manifest: Value = serde_json::from_slice(&registry.manifest("tiny", "1").unwrap()).unwrap();
    lie(&first, &manifest["layers"][1]["digest"].as_str().unwrap().parse().unwrap());

    let (succeeded, said, _) = second.run(&image, &["--strict"], &FOREVER);
    assert!(!succeeded, "{said}");
    assert!(said.contains("as --strict asks") && said.contains("another mode"), "{said}");
    assert_eq!((second.counted("quarantines"), second.counted("lore_refuted")), (1, 1));
    // The next start makes its own index, and asks the liar for nothing.
    let (succeeded, said, _) = second.run(&image, &["--strict"], &COMMAND);
    assert!(succeeded && !said.contains("index from a peer"), "{said}");
}
