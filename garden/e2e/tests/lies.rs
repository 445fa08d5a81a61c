//! A published index that is wrong about its layer: the container gets errors, never other bytes, and the next start does without.
#![allow(clippy::unwrap_used, reason = "clippy does not take the functions beside the tests for tests")]

use glowplug_base::Digest;
use glowplug_e2e::{Glowplug, serve};
use glowplug_testkit::TestRegistry;
use glowplug_toc::{SociIndex, Ztoc, ZtocLimits};
use serde_json::Value;

/// What the container prints: a file of the third layer.
const PATH: &str = "/www/answer.txt";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Indexes `tiny` as its publisher would, and gives a registry where that index has a zTOC that says of every file of the third layer that
/// it runs as its owner.
fn registry_that_lies() -> TestRegistry {
    let honest = TestRegistry::start();
    serve(&honest, "tiny-gzip", "tiny:1");
    let image = honest.reference("tiny:1");
    let told = Glowplug::new().succeed(&["--json", "image", "index", "--min-layer-size", "0", &image]);
    let told: Value = serde_json::from_str(&told).unwrap();
    let layer: Digest = told["layers"][2]["digest"].as_str().unwrap().parse().unwrap();
    let mut index =
        SociIndex::parse(&honest.manifest("tiny", told["index"].as_str().unwrap()).unwrap()).unwrap();

    let lying = TestRegistry::start();
    serve(&lying, "tiny-gzip", "tiny:1");
    for descriptor in &mut index.ztocs {
        let mut bytes = honest.blob(&descriptor.digest).unwrap().to_vec();
        if descriptor.layer_digest == layer {
            let mut ztoc = Ztoc::parse(&bytes, &ZtocLimits::default()).unwrap();
            ztoc.entries.iter_mut().for_each(|entry| entry.mode |= 0o4000);
            bytes = ztoc.encode().unwrap();
        }
        descriptor.size = bytes.len() as u64;
        descriptor.digest = lying.put_blob(bytes);
    }
    // The empty configuration that artifacts have.
    lying.put_blob(&b"{}"[..]);
    lying.put_manifest("tiny", None, index.encode(), OCI_MANIFEST);
    lying
}

/// Why `explain` says that the third layer is read as it is.
fn why(node: &Glowplug, image: &str) -> (bool, String) {
    let told: Value = serde_json::from_str(&node.succeed(&["--json", "explain", image])).unwrap();
    let layer = &told["layers"][2];
    (layer["lazy"].as_bool().unwrap(), layer["why"].as_str().unwrap().to_owned())
}

#[test]
fn an_index_that_lies_costs_one_start_and_is_not_believed_again() {
    let registry = registry_that_lies();
    let (node, image) = (Glowplug::new(), registry.reference("tiny:1"));
    assert!(why(&node, &image).0, "nobody knows yet");

    let first = node.output(&["run", &image, "/bin/cat", PATH]);
    let said = String::from_utf8_lossy(&first.stderr).into_owned();
    assert!(said.contains("3 with a published index"), "{said}");
    assert!(!first.status.success() && first.stdout.is_empty(), "no byte is read by a lie: {said}");
    assert!(said.contains("Input/output error"), "the program is told: {said}");

    let (lazy, why) = why(&node, &image);
    assert!(!lazy && why.contains("proved wrong"), "{why}");

    let second = node.output(&["run", &image, "/bin/cat", PATH]);
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(second.status.success() && second.stdout == b"the tiny image answers\n", "{said}");
    assert!(said.contains("1 streamed by") && said.contains("proved wrong at an earlier start"), "{said}");
    assert_eq!(node.succeed(&["store", "verify"]).trim().rsplit(", ").next(), Some("0 damaged"));
}
