//! `glowplug image diet --split-models`: an image whose weights lie beside it runs as before, also when its registry is gone.
#![allow(clippy::unwrap_used, reason = "clippy does not take the functions beside the tests for tests")]

use glowplug_base::Digest;
use glowplug_e2e::{Glowplug, serve};
use glowplug_oci::{Compression, media};
use glowplug_testkit::{Entry, Fault, Layer, Rule, TestRegistry, Tree};
use serde_json::Value;

const WEIGHTS: &str = "/models/model.safetensors";
const WEIGHTS_BYTES: usize = 12 << 20;

/// A file that begins as safetensors do, and is different everywhere.
fn weights() -> Vec<u8> {
    let numbers = (0_u32..).flat_map(|number| number.wrapping_mul(0x9e37_79b9).to_le_bytes());
    200_u64.to_le_bytes().into_iter().chain(*b"{\"").chain(numbers).take(WEIGHTS_BYTES).collect()
}

/// Puts `tiny` with one more layer, that has weights, into a registry as `app:1`.
fn serve_with_weights(registry: &TestRegistry) {
    serve(registry, "tiny-gzip", "app:0");
    let tar = Tree::build(|tree| {
        tree.add(Entry::dir("models").mode(0o755)).file("models/config.json", "{}");
        tree.add(Entry::file(&WEIGHTS[1..], weights()).mode(0o640).owner(12, 34).mtime(1_700_000_000, 0));
    });
    let layer = Layer::from_tar(tar, Compression::Gzip);
    let mut manifest: Value = serde_json::from_slice(&registry.manifest("app", "0").unwrap()).unwrap();
    let config: Digest = manifest["config"]["digest"].as_str().unwrap().parse().unwrap();
    let mut config: Value = serde_json::from_slice(&registry.blob(&config).unwrap()).unwrap();
    config["rootfs"]["diff_ids"].as_array_mut().unwrap().push(layer.diff_id().to_string().into());
    let config = serde_json::to_vec(&config).unwrap();
    manifest["config"]["size"] = config.len().into();
    manifest["config"]["digest"] = registry.put_blob(config).to_string().into();
    let listed = serde_json::json!({ "mediaType": media::OCI_LAYER_GZIP, "size": layer.blob.len(),
        "digest": registry.put_blob(layer.blob).to_string() });
    manifest["layers"].as_array_mut().unwrap().push(listed);
    registry.put_manifest("app", Some("1"), serde_json::to_vec(&manifest).unwrap(), media::OCI_MANIFEST);
}

/// What a container of the image says of the weights, and what is said of its start.
fn started(node: &Glowplug, image: &str) -> (String, String) {
    let script = format!(
        "/bin/busybox sha256sum {WEIGHTS}; /bin/busybox stat -c '%a %u %g %s %Y' {WEIGHTS}; /bin/busybox ls -a /models"
    );
    let output = node.output(&["run", image, "/bin/sh", "-c", &script]);
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
    assert!(expected.contains(&Digest::of(&weights()).hex()), "{expected}");
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
            let missing = format!("/slim/blobs/{}", Digest::of(&weights()));
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
