//! Nodes that are well: the registry sends each byte once, and containerd never goes there itself.

use glowplug_e2e::Containerd;
use glowplug_testkit::TestRegistry;

use crate::world::{alone, egress, id, image, pair, push, size};

#[test]
fn containerd_pulls_through_the_nodes_and_the_registry_sends_each_byte_once() {
    let registry = TestRegistry::start();
    let image = image(1);
    push(&registry, "team/app:v1", &image);
    let (first, second) = pair(&[]);
    for (node, cold) in [(&first, true), (&second, false)] {
        let containerd = Containerd::start_for_kubelet();
        containerd.know(&registry.host(), &node.hosts_toml(&registry.host()));
        let pulled = containerd.pull_for_kubelet(&registry.reference("team/app:v1"), None);
        assert_eq!(pulled.unwrap(), id(&image));
        assert_eq!(node.counted("served_bytes"), size(&image), "containerd reads nothing twice");
        assert_eq!(egress(&registry), size(&image), "cold: {cold}");
    }
    assert!(second.counted("peer_bytes") > 0);
    assert_eq!(first.counted("registry_bytes") + second.counted("registry_bytes"), size(&image));
    // containerd begins with HEAD, a node never does.
    let log = registry.log();
    assert!(log.iter().all(|asked| asked.method == "GET"), "{log:#?}");
}

#[test]
fn a_tag_that_moved_is_seen_and_a_digest_is_enough() {
    let registry = TestRegistry::start();
    let node = alone();
    let containerd = Containerd::start_for_kubelet();
    containerd.know(&registry.host(), &node.hosts_toml(&registry.host()));
    let images = [image(2), image(3)];
    for image in &images {
        push(&registry, "app:v1", image);
        let pulled = containerd.pull_for_kubelet(&registry.reference("app:v1"), None);
        assert_eq!(pulled.unwrap(), id(image));
    }
    registry.clear_log();
    let by_digest = format!("{}/app@{}", registry.host(), images[0].digest());
    assert_eq!(containerd.pull_for_kubelet(&by_digest, None).unwrap(), id(&images[0]));
    assert_eq!(registry.log(), [], "the node had all of it");
}

#[test]
fn what_nobody_has_is_not_found() {
    let registry = TestRegistry::start();
    let node = alone();
    let containerd = Containerd::start_for_kubelet();
    containerd.know(&registry.host(), &node.hosts_toml(&registry.host()));
    let refused = containerd.pull_for_kubelet(&registry.reference("app:nowhere"), None).unwrap_err();
    // 5 is NotFound: to a kubelet it is not a registry that does not work.
    assert!(refused.contains("not found") && refused.contains("status 5"), "{refused}");
    // The node said so, and then the registry did.
    let asked: Vec<String> = registry.log().into_iter().map(|asked| asked.method).collect();
    assert_eq!(asked, ["GET", "HEAD"]);
}
