//! `glowplug image diet --split-models` by the program itself: images whose weights lie beside them, and what is said of them.
#![allow(clippy::unwrap_used, reason = "clippy does not take the functions beside the tests for tests")]

use std::process::{Command, Output, Stdio};

use glowplug_base::Digest;
use glowplug_oci::Platform;
use glowplug_testkit::{Fault, Image, ImageBuilder, Layer, Rule, TestRegistry};
use serde_json::Value;

const MIB: usize = 1 << 20;
const WEIGHTS: &str = "/srv/model.gguf";

/// A folder for a store, gone afterwards.
struct Node(tempfile::TempDir);

impl Node {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn output(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_glowplug"));
        command.arg("--store").arg(self.0.path().join("store")).args(args);
        command.stdin(Stdio::null()).output().unwrap()
    }

    fn succeed(&self, args: &[&str]) -> Vec<u8> {
        let output = self.output(args);
        assert!(output.status.success(), "{args:?}: {}", said(&output));
        output.stdout
    }

    /// What is printed, with one space between words: lines are broken as wide as the terminal is.
    fn words(&self, args: &[&str]) -> String {
        let text = String::from_utf8(self.succeed(args)).unwrap();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_slice(&self.succeed(&[args, &["--json"]].concat())).unwrap()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Weights that differ by their seed, in a file that says what they are.
fn weights(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    b"GGUF".iter().copied().chain((0..11 * MIB).map(|_| next())).collect()
}

/// An image of two layers, the upper with weights, for a platform.
fn image(architecture: &str, seed: u64) -> ImageBuilder {
    ImageBuilder::new()
        .platform(&Platform::new("linux", architecture))
        .layer(Layer::gzip(|tree| _ = tree.dir("bin").file("bin/sh", architecture)))
        .layer(Layer::gzip(|tree| {
            tree.dir("srv").file("srv/config.json", "{}").file(&WEIGHTS[1..], weights(seed));
        }))
}

/// `app:1`, for two platforms with weights of their own.
fn push_for_two(registry: &TestRegistry) -> [Image; 2] {
    let images = [image("amd64", 1), image("arm64", 2)].map(|image| image.push(registry, "app"));
    registry.put_index("app", Some("1"), images.iter().map(Image::descriptor).collect());
    images
}

#[test]
fn every_platform_of_a_slim_image_shows_its_own_weights() {
    let registry = TestRegistry::start();
    push_for_two(&registry);
    let node = Node::new();
    let (app, models, slim) =
        (registry.reference("app:1"), registry.reference("models:1"), registry.reference("slim:1"));
    let split = ["image", "diet", "--split-models", &models, "--output", &slim, &app];
    let done = node.json(&split);
    let platforms: Vec<&Value> =
        done["images"].as_array().unwrap().iter().map(|image| &image["platform"]).collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm64"], "{done}");
    assert_eq!(done["files"].as_array().unwrap().len(), 2, "{done}");
    assert_eq!(registry.index("models", "1").unwrap().manifests.len(), 2);
    for (platform, seed) in [("linux/amd64", 1), ("linux/arm64", 2)] {
        let shown = Node::new().succeed(&["image", "cat", "--platform", platform, &slim, WEIGHTS]);
        assert!(shown == weights(seed), "{platform}");
    }
    let again = Node::new().json(&split);
    assert_eq!((&again["new"], &again["artifact"]), (&done["new"], &done["artifact"]), "the same again");
}

#[test]
fn what_lies_beside_an_image_is_told_and_counts_nowhere_else() {
    let registry = TestRegistry::start();
    let original = image(&Platform::host().architecture, 1).push(&registry, "app:1");
    let node = Node::new();
    let (app, models, slim) =
        (registry.reference("app:1"), registry.reference("app:models"), registry.reference("app:slim"));
    let whole = node.json(&["image", "diet", &app]);
    assert_eq!(
        (&whole["findings"][0]["rule"], &whole["models"]),
        (&"weights".into(), &Value::Null),
        "{whole}"
    );
    let done = node.json(&["image", "diet", "--split-models", &models, "--output", &slim, &app]);
    let artifact = done["artifact"].as_str().unwrap();
    let reference = format!("{}/app@{artifact}", registry.host());
    let digest = Digest::of(&weights(1)).to_string();

    // A diet counts the layers of the manifest, and no weights that are in none.
    let node = Node::new();
    let page = node.0.path().join("diet.html");
    let diet = node.json(&["image", "diet", "--html", page.to_str().unwrap(), &slim]);
    assert_eq!(diet["layers"].as_array().unwrap().len(), original.layers.len(), "{diet}");
    assert_eq!(diet["findings"], serde_json::json!([]), "{diet}");
    let layers = diet["layers"].as_array().unwrap().iter();
    let bytes: u64 = layers.map(|layer| layer["compressed_bytes"].as_u64().unwrap()).sum();
    assert_eq!(diet["compressed_bytes"], bytes);
    assert!(bytes < MIB as u64, "{diet}");
    let file = |document: &Value| document["models"]["files"][0].clone();
    let facts = |file: &Value| (file["path"].clone(), file["digest"].clone(), file["bytes"].clone());
    let expected = (WEIGHTS.into(), Value::from(&*digest), Value::from(11 * MIB + 4));
    assert_eq!(facts(&file(&diet)), expected);
    assert_eq!(
        (&diet["models"]["reference"], &diet["models"]["digest"]),
        (&(&*reference).into(), &artifact.into())
    );
    let table = node.words(&["image", "diet", &slim]);
    let beside = format!("1 file, 11.5 MB, in {reference}: no layer has them");
    for words in ["models beside the image", &beside, &format!("11.5 MB {WEIGHTS}")] {
        assert!(table.contains(words), "{words:?} is not in\n{table}");
    }
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("Models beside the image") && page.contains(&reference));

    // Nobody is asked for the artifact to say what it is.
    registry.clear_log();
    let inspected = node.json(&["image", "inspect", &slim]);
    assert_eq!(
        (facts(&file(&inspected)), &inspected["models"]["reference"]),
        (expected.clone(), &(&*reference).into())
    );
    let asked = registry.log();
    assert!(asked.iter().all(|logged| !logged.path.contains(artifact) && !logged.path.contains(&digest)));
    let text = node.words(&["image", "inspect", &slim]);
    assert!(text.contains(&format!("models 1, 11.5 MB in {reference} {digest} 11.5 MB {WEIGHTS}")), "{text}");
    assert_eq!(node.json(&["image", "inspect", &app])["models"], Value::Null);

    let node = Node::new();
    let explained = node.json(&["explain", &slim]);
    assert_eq!((facts(&file(&explained)), &file(&explained)["indexed"]), (expected, &false.into()));
    let seconds = explained["complete_seconds"].as_f64().unwrap();
    assert!(seconds > 11.0 * MIB as f64 * 8.0 / 1e9, "the models come as well: {explained}");
    let text = node.words(&["explain", &slim]);
    assert!(text.contains(&format!("11.5 MB raw lazy {WEIGHTS}: a chunk table of")), "{text}");
    assert!(text.contains(&format!("models are in {reference}")), "{text}");

    let again = node.output(&["image", "diet", "--split-models", &models, &slim]);
    assert!(!again.status.success() && said(&again).contains("beside it already"), "{}", said(&again));
}

#[test]
fn a_refusal_to_take_pushes_is_heard_before_a_layer_is_read() {
    let registry = TestRegistry::start();
    let image = image(&Platform::host().architecture, 1).push(&registry, "app:1");
    let (app, models, slim) =
        (registry.reference("app:1"), registry.reference("models:1"), registry.reference("slim:1"));
    let layer = image.layers[1].digest().to_string();
    let profile = Node::new();
    let profile = profile.0.path().join("none");
    for (repository, args) in [
        ("models", vec!["image", "diet", "--split-models", &models, "--output", &slim, &app]),
        ("slim", vec!["image", "diet", "--split-models", &models, "--output", &slim, &app]),
        ("slim", vec!["image", "convert", "--to", "zstd", "--output", &slim, &app]),
        ("app", vec!["image", "index", "--min-layer-size", "0", &app]),
        // Not even the profile is looked for.
        ("app", vec!["image", "optimize", "--profile", profile.to_str().unwrap(), &app]),
        ("app", vec!["image", "optimize", &app]),
    ] {
        registry.clear_faults();
        registry.inject(
            Rule::any(Fault::Status(403)).on(&format!("/v2/{repository}/blobs/uploads/")).method("POST"),
        );
        registry.clear_log();
        let output = Node::new().output(&args);
        assert!(
            !output.status.success() && said(&output).contains("access denied"),
            "{args:?}: {}",
            said(&output)
        );
        let log = registry.log();
        assert!(log.iter().any(|logged| logged.status == 403), "{args:?}");
        assert!(log.iter().all(|logged| !logged.path.ends_with(&layer)), "{args:?} reads the layer");
    }
}
