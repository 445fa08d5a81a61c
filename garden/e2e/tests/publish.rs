//! `glowplug image index`: what it publishes makes the first start elsewhere lazy, and it needs nothing of the node.
#![allow(clippy::unwrap_used, reason = "clippy does not take the functions beside the tests for tests")]

use glowplug_e2e::{Glowplug, layout, serve};
use glowplug_testkit::TestRegistry;
use serde_json::Value;

/// Starts the image, which prints a file of its third layer; gives what the start said.
fn start(node: &Glowplug, image: &str) -> String {
    let output = node.output(&["run", image, "/bin/cat", "/www/answer.txt"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert_eq!(output.stdout, b"the tiny image answers\n", "{said}");
    said
}

/// What `explain` says about the layers.
fn explained(node: &Glowplug, image: &str) -> (Vec<Value>, f64) {
    let told: Value = serde_json::from_str(&node.succeed(&["--json", "explain", image])).unwrap();
    (told["layers"].as_array().unwrap().clone(), told["start_seconds"].as_f64().unwrap())
}

fn index(node: &Glowplug, args: &[&str]) -> Value {
    let args = [&["--json", "image", "index", "--min-layer-size", "0"], args].concat();
    serde_json::from_str(&node.succeed(&args)).unwrap()
}

fn is_empty(node: &Glowplug) -> bool {
    std::fs::read_dir(node.store()).unwrap().next().is_none()
}

#[test]
fn a_published_index_makes_the_first_start_elsewhere_lazy() {
    for referrers_api in [true, false] {
        let registry = TestRegistry::start();
        registry.set_referrers_api(referrers_api);
        serve(&registry, "tiny-gzip", "tiny:1");
        let image = registry.reference("tiny:1");
        let (_, slow) = explained(&Glowplug::new(), &image);
        let original = registry.manifest("tiny", "1").unwrap();

        let publisher = Glowplug::new();
        let told = index(&publisher, &[&image]);
        assert!(is_empty(&publisher), "the store is not touched");
        assert_eq!(registry.manifest("tiny", "1").unwrap(), original);
        let layers = told["layers"].as_array().unwrap();
        assert!(layers.iter().all(|layer| layer["ztoc"]["bytes"].as_u64().unwrap() > 0), "{told}");

        let node = Glowplug::new();
        let (layers, quick) = explained(&node, &image);
        assert!(quick < slow, "what need not stream by does not count: {quick} s, {slow} s");
        for layer in &layers {
            let why = layer["why"].as_str().unwrap();
            assert!(why.starts_with("SOCI index beside the image") && layer["lazy"] == true, "{layer}");
        }
        let said = start(&node, &image);
        assert!(said.contains("0 layers known here, 3 with a published index, 0 streamed"), "{said}");
        let (layers, _) = explained(&node, &image);
        assert!(layers[1]["why"].as_str().unwrap().contains("index from SOCI"), "{layers:?}");
        assert_eq!(node.succeed(&["store", "verify"]).trim().rsplit(", ").next(), Some("0 damaged"));
    }
}

#[test]
fn a_copy_that_names_its_index_starts_lazily_and_the_image_stays() {
    let registry = TestRegistry::start();
    serve(&registry, "tiny-gzip", "tiny:1");
    let image = registry.reference("tiny:1");
    let told = index(&Glowplug::new(), &["--format", "v2", "--tag", "lazy", &image]);
    let copy = told["copy"].as_str().unwrap();
    assert_eq!(copy, registry.reference("tiny:lazy"));
    assert_ne!(told["copy_manifest"], told["manifest"]);
    assert!(start(&Glowplug::new(), copy).contains("3 with a published index"));
    assert!(start(&Glowplug::new(), &image).contains("3 streamed by"));
}

#[test]
fn a_layout_takes_an_index_and_what_cannot_be_indexed_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let copied = dir.path().join("tiny");
    let status = std::process::Command::new("cp").arg("-r").arg(layout("tiny-gzip")).arg(&copied).status();
    assert!(status.unwrap().success());
    let image = format!("oci:{}", copied.display());
    index(&Glowplug::new(), &[&image]);
    assert!(start(&Glowplug::new(), &image).contains("3 with a published index"));

    let node = Glowplug::new();
    let output = node.output(&["image", "index", &image]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("hint: ") && said.contains("--min-layer-size"),
        "{said}"
    );
    let output = node.output(&["image", "index", &format!("oci:{}", layout("tiny-zstd").display())]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("no zTOC: zstd"), "{said}");
    assert!(is_empty(&node));
}
