//! Nodes that are well: the registry sends each byte about once.

use futures::future::join_all;
use glowplug_peer::{PIECE_BYTES, Security};
use glowplug_testkit::TestRegistry;

use crate::world::{Plan, Running, cluster, egress, http, noise};

const PIECES: u64 = 24;

fn blob(registry: &TestRegistry) -> (glowplug_base::Digest, Vec<u8>) {
    let bytes = noise((PIECES * PIECE_BYTES - 1000) as usize, 1);
    (registry.put_blob(bytes.clone()), bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn four_cold_nodes_at_once_cost_the_registry_one_image() {
    let registry = TestRegistry::start();
    let (digest, expected) = blob(&registry);
    let nodes = cluster(4, Plan::default).await;
    let read = join_all(nodes.iter().map(|node| node.read(&registry, &digest))).await;
    for bytes in read {
        assert!(bytes.unwrap() == expected);
    }
    let size = expected.len() as u64;
    let sent = egress(&registry);
    assert!(sent >= size && sent * 10 <= size * 12, "{sent} bytes were sent of {size}");
    let stats: Vec<_> = nodes.iter().map(|node| node.node.stats()).collect();
    assert_eq!(stats.iter().map(|stats| stats.registry_bytes).sum::<u64>(), size);
    assert_eq!(stats.iter().map(|stats| stats.peer_bytes).sum::<u64>(), 3 * size);
    assert!(stats.iter().all(|stats| stats.served_bytes == size && stats.members_well == 4), "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_one_range_share_one_flight() {
    let registry = TestRegistry::start();
    let (digest, expected) = blob(&registry);
    let node = Running::start(Plan::default()).await;
    let (http, url) = (http(), node.blob_url(&registry, &digest));
    let read = join_all((0..8).map(|_| async {
        let request = http.get(&url).header("range", "bytes=1048570-3145735").send().await.unwrap();
        request.bytes().await.unwrap()
    }));
    for bytes in read.await {
        assert!(bytes == expected[1_048_570..3_145_736]);
    }
    let asked = registry.blob_requests();
    let pieces = asked.iter().filter(|asked| asked.range.as_deref() != Some("bytes=0-0")).count();
    assert_eq!(pieces, 4, "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_kept_by_as_many_nodes() {
    let registry = TestRegistry::start();
    let (digest, expected) = blob(&registry);
    let nodes = cluster(3, || Plan { copies: 2, ..Plan::default() }).await;
    for node in &nodes {
        assert!(node.read(&registry, &digest).await.unwrap() == expected);
    }
    let owned = nodes.iter().map(|node| {
        let dirs = std::fs::read_dir(node.cache_dir.join("owned")).unwrap().flatten();
        dirs.map(|dir| std::fs::read_dir(dir.path()).unwrap().count() as u64).sum::<u64>()
    });
    assert_eq!(owned.sum::<u64>(), 2 * PIECES);
    assert_eq!(nodes.iter().map(|node| node.node.stats().registry_bytes).sum::<u64>(), expected.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_with_a_token_serve_each_other_and_nobody_else() {
    let registry = TestRegistry::start();
    let (digest, expected) = blob(&registry);
    let nodes =
        cluster(2, || Plan { security: Security::Token("secret".to_owned()), ..Plan::default() }).await;
    assert!(nodes[0].read(&registry, &digest).await.unwrap() == expected);
    assert!(nodes[0].node.stats().peer_bytes > 0);
    let http = http();
    let piece =
        format!("{}/glowplug/peer/1/app/blobs/{digest}/pieces/0?ns={}", nodes[1].own, registry.host());
    let others = [
        piece.clone(),
        format!("{}/glowplug/peer/1/stats", nodes[1].own),
        format!("{}/v2/", nodes[1].own),
        format!("{}/v2/app/blobs/{digest}?ns={}", nodes[1].own, registry.host()),
    ];
    for url in &others {
        for token in [None, Some("Bearer other")] {
            let mut request = http.get(url);
            if let Some(token) = token {
                request = request.header("authorization", token);
            }
            assert_eq!(request.send().await.unwrap().status(), 401, "{url} {token:?}");
        }
    }
    let admitted = http.get(&piece).bearer_auth("secret").send().await.unwrap();
    assert!(admitted.bytes().await.unwrap() == expected[..PIECE_BYTES as usize]);
    // This machine's door gives no pieces: whoever reads there reads blobs.
    let local = piece.replace(&nodes[1].own, &nodes[1].local);
    assert_eq!(http.get(local).send().await.unwrap().status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_another_token_gets_its_bytes_from_the_registry() {
    let registry = TestRegistry::start();
    let (digest, expected) = blob(&registry);
    let one = Running::start(Plan { security: Security::Token("one".to_owned()), ..Plan::default() }).await;
    let other = Plan {
        security: Security::Token("other".to_owned()),
        peers: vec![one.own.clone()],
        ..Plan::default()
    };
    let other = Running::start(other).await;
    assert!(other.read(&registry, &digest).await.unwrap() == expected);
    let stats = other.node.stats();
    assert_eq!((stats.peer_bytes, stats.registry_bytes), (0, expected.len() as u64));
    assert_eq!((stats.peers_put_aside, stats.members_well), (1, 1));
}
