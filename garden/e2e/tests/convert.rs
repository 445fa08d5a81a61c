//! `glowplug image convert`: an image in each format starts, lazily where its layers have a table, and needs nothing of the node.
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

#[test]
fn an_image_made_over_starts_in_every_format() {
    let registry = TestRegistry::start();
    serve(&registry, "tiny-gzip", "tiny:1");
    let image = registry.reference("tiny:1");
    let dir = tempfile::tempdir().unwrap();
    let formats = [
        (["--to", "estargz"].as_slice(), true),
        (&["--to", "zstd-chunked"], true),
        (&["--to", "zstd-chunked", "--dialect", "stargz"], true),
        (&["--to", "zstd"], false),
        (&["--to", "gzip", "--level", "1"], false),
    ];
    for (number, (format, lazy)) in formats.into_iter().enumerate() {
        let maker = Glowplug::new();
        for to in
            [registry.reference(&format!("new:{number}")), format!("oci:{}:{number}", dir.path().display())]
        {
            let args = [&["--json", "image", "convert", "--output", &to], format, &[&image]].concat();
            let told: Value = serde_json::from_str(&maker.succeed(&args)).unwrap();
            assert_eq!(told["layers"].as_array().unwrap().len(), 3, "{told}");
            assert_ne!(told["old"], told["new"]);
            let said = start(&Glowplug::new(), &to);
            assert_eq!(said.contains("3 with a published index"), lazy, "{to}: {said}");
        }
        assert!(std::fs::read_dir(maker.store()).unwrap().next().is_none(), "the store is not touched");
    }
}

#[test]
fn what_a_start_read_comes_first_in_an_image_that_starts_as_before() {
    let registry = TestRegistry::start();
    serve(&registry, "tiny-gzip", "tiny:1");
    let image = registry.reference("tiny:1");
    let node = Glowplug::new();
    let unknown =
        node.output(&["image", "convert", "--to", "gzip", "--order", "recorded", "-o", &image, &image]);
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(!unknown.status.success() && said.contains("no start of this image is recorded here"), "{said}");
    start(&node, &image);
    for (number, to) in ["estargz", "zstd-chunked", "zstd", "gzip"].into_iter().enumerate() {
        let new = registry.reference(&format!("new:{number}"));
        let args = ["--json", "image", "convert", "--to", to, "--order", "recorded", "--output", &new];
        let told: Value = serde_json::from_str(
            &node.succeed(&[&args[..], &["--repack", "--layer-size", "256K", &image]].concat()),
        )
        .unwrap();
        let layers = told["layers"].as_array().unwrap();
        assert!(layers.len() > 3 && layers.iter().any(|layer| layer["piece"] == 1), "{told}");
        start(&Glowplug::new(), &new);
        let differ = node.output(&["image", "diff", "--contents", "--times", &image, &new]);
        assert!(differ.status.success(), "{to}: {}", String::from_utf8_lossy(&differ.stdout));
    }
}

#[test]
fn what_cannot_be_done_says_why_and_what_else() {
    let node = Glowplug::new();
    let image = format!("oci:{}", layout("tiny-gzip").display());
    let said = |args: &[&str]| {
        let output = node.output(&[&["image", "convert"], args].concat());
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let archive = said(&["--to", "zstd", "--output", "oci-archive:/tmp/never.tar", &image]);
    assert!(archive.contains("cannot be pushed to") && archive.contains("hint: "), "{archive}");
    let dir = tempfile::tempdir().unwrap();
    let to = format!("oci:{}", dir.path().join("there").display());
    let level = said(&["--to", "gzip", "--level", "13", "--output", &to, &image]);
    assert!(level.contains("1 to 12"), "{level}");
    let none = said(&["--to", "gzip", "--platform", "linux/none", "--output", &to, &image]);
    assert!(none.contains("linux/none"), "{none}");
    assert!(!dir.path().join("there").exists(), "nothing is made for what cannot be");
}
