//! `glowplug image diet --split-models`: an image whose weights lie beside it runs as before, also when its registry is gone.
#![allow(clippy::unwrap_used, reason = "clippy does not take the functions beside the tests for tests")]

use glowplug_base::Digest;
use glowplug_e2e::{Glowplug, serve};
use glowplug_oci::{Compression, Descriptor, Platform, media};
use glowplug_testkit::{Entry, Fault, Layer, Rule, TestRegistry, Tree};
use serde_json::Value;

const WEIGHTS: &str = "/models/model.safetensors";
const WEIGHTS_BYTES: usize = 12 << 20;

/// A file that begins as safetensors do, and is different everywhere and for each `seed`.
fn weights(seed: u32) -> Vec<u8> {
    let numbers = (seed..).flat_map(|number| number.wrapping_mul(0x9e37_79b9).to_le_bytes());
    200_u64.to_le_bytes().into_iter().chain(*b"{\"").chain(numbers).take(WEIGHTS_BYTES).collect()
}

/// Puts `tiny` with one more layer, that has weights, into a registry as `app:1`.
fn serve_with_weights(registry: &TestRegistry) {
    serve(registry, "tiny-gzip", "app:0");
    put_with_weights(registry, "1", None, 0);
}

/// Puts `app:0` with a layer of weights into a registry by another tag. Its programs stay those of this machine whatever
/// `architecture` it claims to be for.
fn put_with_weights(registry: &TestRegistry, tag: &str, architecture: Option<&str>, seed: u32) -> Descriptor {
    let tar = Tree::build(|tree| {
        tree.add(Entry::dir("models").mode(0o755)).file("models/config.json", "{}");
        let entry =
            Entry::file(&WEIGHTS[1..], weights(seed)).mode(0o640).owner(12, 34).mtime(1_700_000_000, 0);
        tree.add(entry);
    });
    let layer = Layer::from_tar(tar, Compression::Gzip);
    let mut manifest: Value = serde_json::from_slice(&registry.manifest("app", "0").unwrap()).unwrap();
    let config: Digest = manifest["config"]["digest"].as_str().unwrap().parse().unwrap();
    let mut config: Value = serde_json::from_slice(&registry.blob(&config).unwrap()).unwrap();
    config["rootfs"]["diff_ids"].as_array_mut().unwrap().push(layer.diff_id().to_string().into());
    if let Some(architecture) = architecture {
        config["architecture"] = architecture.into();
    }
    let config = serde_json::to_vec(&config).unwrap();
    manifest["config"]["size"] = config.len().into();
    manifest["config"]["digest"] = registry.put_blob(config).to_string().into();
    let listed = serde_json::json!({ "mediaType": media::OCI_LAYER_GZIP, "size": layer.blob.len(),
        "digest": registry.put_blob(layer.blob).to_string() });
    manifest["layers"].as_array_mut().unwrap().push(listed);
    let manifest = serde_json::to_vec(&manifest).unwrap();
    registry.put_manifest("app", Some(tag), manifest.clone(), media::OCI_MANIFEST);
    let architecture = architecture.map_or_else(|| Platform::host().architecture, str::to_owned);
    let platform = Some(Platform::new("linux", architecture));
    Descriptor { platform, ..Descriptor::of(media::OCI_MANIFEST, &manifest) }
}

/// What a container of the image says of the weights, and what is said of its start.
fn started(node: &Glowplug, image: &str) -> (String, String) {
    started_for(node, &[], image)
}

fn started_for(node: &Glowplug, flags: &[&str], image: &str) -> (String, String) {
    let script = format!(
        "/bin/busybox sha256sum {WEIGHTS}; /bin/busybox stat -c '%a %u %g %s %Y' {WEIGHTS}; /bin/busybox ls -a /models"
    );
    let output = node.output(&[&["run"], flags, &[image, "/bin/sh", "-c", &script]].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    (String::from_utf8_lossy(&output.stdout).into_owned(), said)
}

#[test]
fn an_image_runs_as_before_with_its_weights_beside_it() {
    let mut registry = TestRegistry::start();
    serve_with_weights(&registry);
    let image = registry.reference("app:1");
    let (expected, _) = started(&Glowplug::new(), &image);
    assert!(expected.contains(&Digest::of(&weights(0)).hex()), "{expected}");
    for (models, output) in [("app:models", None), ("models:1", Some("slim:1"))] {
        let models = registry.reference(models);
        let slim = output.map_or_else(|| format!("{models}-image"), |output| registry.reference(output));
        let mut args = vec!["--json", "image", "diet", "--split-models", &models, &image];
        if output.is_some() {
            args.extend(["--output", &slim]);
        }
        let done: Value = serde_json::from_str(&Glowplug::new().succeed(&args)).unwrap();
        assert_eq!(
            (&done["output"], &done["files"][0]["path"]),
            (&slim.as_str().into(), &WEIGHTS.into()),
            "{done}"
        );
        let spared = done["old_bytes"].as_u64().unwrap() - done["new_bytes"].as_u64().unwrap();
        assert!(spared > WEIGHTS_BYTES as u64 / 4, "{done}");
        if output.is_some() {
            // The repository of the image does not have what is in that of the models.
            let missing = format!("/slim/blobs/{}", Digest::of(&weights(0)));
            registry.inject(Rule::blobs(Fault::Status(404)).on(&missing));
        }
        let node = Glowplug::new();
        let (told, said) = started(&node, &slim);
        assert_eq!(told, expected, "{slim}");
        assert!(said.contains("models beside it: 1, 12.6 MB"), "{said}");
        let listed = node.succeed(&["image", "ls", "--long", &slim, "/models"]);
        assert!(listed.contains("model.safetensors"), "{listed}");
        assert!(!node.succeed(&["store", "gc"]).is_empty());
        if output.is_some() {
            registry.stop();
            let (told, said) = started(&node, &slim);
            assert_eq!(told, expected, "without the registry");
            assert!(said.contains("is served by EROFS\n"), "all of it is here: {said}");
        }
    }
}

#[test]
fn each_platform_of_a_slim_image_runs_with_its_own_weights() {
    let registry = TestRegistry::start();
    serve(&registry, "tiny-gzip", "app:0");
    let other = if Platform::host().architecture == "arm64" { "amd64" } else { "arm64" };
    let entries =
        [put_with_weights(&registry, "own", None, 1), put_with_weights(&registry, "other", Some(other), 2)];
    registry.put_index("app", Some("1"), entries.to_vec());
    let (image, models, slim) =
        (registry.reference("app:1"), registry.reference("models:1"), registry.reference("slim:1"));
    Glowplug::new().succeed(&["image", "diet", "--split-models", &models, "--output", &slim, &image]);
    let node = Glowplug::new();
    for (entry, seed) in entries.iter().zip(1..) {
        let platform = entry.platform.as_ref().unwrap().to_string();
        let (told, said) = started_for(&node, &["--platform", &platform], &slim);
        assert!(told.contains(&Digest::of(&weights(seed)).hex()), "{platform}: {told}\n{said}");
        let (expected, _) = started_for(&node, &["--platform", &platform], &image);
        assert_eq!(told, expected, "{platform}");
    }
}

#[test]
fn what_cannot_be_taken_out_says_why() {
    let registry = TestRegistry::start();
    serve(&registry, "tiny-gzip", "app:1");
    let (image, models) = (registry.reference("app:1"), registry.reference("app:models"));
    let output = Glowplug::new().output(&["image", "diet", "--split-models", &models, &image]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("--model-path"), "{said}");
    assert!(registry.manifest("app", "models").is_none());
    let output = Glowplug::new().output(&["image", "diet", "--model-path", "/models", &image]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("--split-models"), "one wants the other");
}
