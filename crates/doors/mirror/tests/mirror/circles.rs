//! Nodes that ask themselves: by their lists of mirrors or of peers, alone or through each other.

use glowplug_peer::PIECE_BYTES;
use glowplug_registry::{Options, Via};
use glowplug_testkit::TestRegistry;

use crate::world::{Plan, Running, bind, http, noise};

/// Options of the node `name`, whose mirrors for the registry these are.
fn mirrored(registry: &TestRegistry, name: &str, mirrors: &[String]) -> Options {
    let mut options = Options { via: Some(Via::new(name)), ..Options::default() };
    options.mirrors.insert(registry.host(), mirrors.to_vec());
    options
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_its_own_mirror_refuses_itself_and_asks_the_registry() {
    let registry = TestRegistry::start();
    let expected = noise(3 * PIECE_BYTES as usize, 21);
    let digest = registry.put_blob(expected.clone());
    let local = bind().await;
    let options = mirrored(&registry, "one", &[format!("http://{}", local.1)]);
    let node = Running::start(Plan { options, local: Some(local), ..Plan::default() }).await;
    assert!(node.read(&registry, &digest).await.unwrap() == expected);
    assert!(node.node.stats().circles > 0);

    let asked = http().get(node.blob_url(&registry, &digest)).header(Via::HEADER, "other, one").send();
    let refused = asked.await.unwrap();
    assert_eq!(refused.status(), 508);
    assert!(refused.text().await.unwrap().contains("its own mirror or peer"));
    let asked = http().get(node.blob_url(&registry, &digest)).header(Via::HEADER, "other").send();
    assert!(asked.await.unwrap().bytes().await.unwrap() == expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_are_each_others_mirrors_end_at_the_registry() {
    let registry = TestRegistry::start();
    let expected = noise(3 * PIECE_BYTES as usize, 22);
    let digest = registry.put_blob(expected.clone());
    let sockets = [bind().await, bind().await, bind().await];
    let addresses: Vec<String> = sockets.iter().map(|(_, addr)| format!("http://{addr}")).collect();
    let mut nodes = Vec::new();
    for (at, (local, name)) in sockets.into_iter().zip(["one", "two", "three"]).enumerate() {
        let options = mirrored(&registry, name, &[addresses[(at + 1) % 3].clone()]);
        nodes.push(Running::start(Plan { options, local: Some(local), ..Plan::default() }).await);
    }
    for node in &nodes {
        assert!(node.read(&registry, &digest).await.unwrap() == expected);
    }
    assert!(nodes.iter().map(|node| node.node.stats().circles).sum::<u64>() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_address_of_a_node_is_none_of_its_peers() {
    let registry = TestRegistry::start();
    let expected = noise(16 * PIECE_BYTES as usize, 23);
    let digest = registry.put_blob(expected.clone());
    let socket = bind().await;
    let also = format!("http://localhost:{}", socket.1.port());
    let node = Running::start_at(socket, Plan { peers: vec![also.clone()], ..Plan::default() }).await;
    assert_eq!(node.node.stats().members, 2);
    assert!(node.read(&registry, &digest).await.unwrap() == expected);
    let stats = node.node.stats();
    assert_eq!((stats.members, stats.peer_bytes, stats.peers_put_aside), (1, 0, 0), "{stats:?}");
    node.node.set_members(&[also]).unwrap();
    assert_eq!(node.node.stats().members, 1);
}
