//! A layer's own table of contents that does not tell what the layer holds: found out while the image fills.
#![allow(clippy::unwrap_used, reason = "clippy does not take the functions beside the tests for tests")]

use glowplug_base::Digest;
use glowplug_e2e::{Glowplug, serve};
use glowplug_oci::Compression;
use glowplug_testkit::{Layer, TestRegistry};
use glowplug_toc::estargz::{self, Footer, TOC_DIGEST_ANNOTATION};
use glowplug_toc::{Dialect, Toc, TocLimits};
use serde_json::Value;

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// `tiny` as eStargz, with a table of its last layer that says of a file that it runs as its owner. Every digest is right.
fn registry_that_lies() -> TestRegistry {
    let registry = TestRegistry::start();
    serve(&registry, "tiny-gzip", "tiny:1");
    let (from, to) = (registry.reference("tiny:1"), registry.reference("tiny:estargz"));
    Glowplug::new().succeed(&["image", "convert", "--to", "estargz", "--output", &to, &from]);
    let mut manifest: Value = serde_json::from_slice(&registry.manifest("tiny", "estargz").unwrap()).unwrap();
    let layer = manifest["layers"].as_array_mut().unwrap().last_mut().unwrap();
    let blob = registry.blob(&layer["digest"].as_str().unwrap().parse().unwrap()).unwrap();
    let footer = Footer::find(&blob).unwrap();
    let (offset, end) = (footer.toc_offset.unwrap() as usize, blob.len() - footer.len as usize);
    let digest: Digest = layer["annotations"][TOC_DIGEST_ANNOTATION].as_str().unwrap().parse().unwrap();
    let json = estargz::toc_json(&blob[offset..end], &digest, &TocLimits::default()).unwrap();
    let mut toc = Toc::parse(&json, Dialect::Estargz, offset as u64, &TocLimits::default()).unwrap();
    let answer = toc.entries.iter_mut().find(|entry| entry.name.ends_with(b"answer.txt")).unwrap();
    answer.mode |= 0o4000;
    let json = toc.encode(Dialect::Estargz);
    let mut lying = blob[..offset].to_vec();
    lying.extend_from_slice(&Layer::from_tar(estargz::toc_tar(&json), Compression::Gzip).blob);
    lying.extend_from_slice(&estargz::footer(offset as u64));
    layer["size"] = lying.len().into();
    layer["annotations"][TOC_DIGEST_ANNOTATION] = Digest::of(&json).to_string().into();
    layer["digest"] = registry.put_blob(lying).to_string().into();
    registry.put_manifest("tiny", Some("lies"), serde_json::to_vec(&manifest).unwrap(), OCI_MANIFEST);
    registry
}

#[test]
fn a_strict_run_ends_when_a_table_proves_wrong_and_others_are_told() {
    let registry = registry_that_lies();
    let image = registry.reference("tiny:lies");
    // Both run on until they are ended: by what is found out, or when that was told.
    let forever = ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1; done"];
    let strict = Glowplug::new().output(&[&["run", "--strict", &image], &forever[..]].concat());
    let said = String::from_utf8_lossy(&strict.stderr).into_owned();
    assert!(!strict.status.success(), "{said}");
    assert!(said.contains("as --strict asks") && said.contains("/www/answer.txt: another mode"), "{said}");

    let node = Glowplug::new();
    let output = node.output(&["run", &image, "/bin/cat", "/www/answer.txt"]);
    assert_eq!(output.stdout, b"the tiny image answers\n", "every byte has its digest all the same");
    let whole = node.output(&["run", "--strict", &image, "/bin/cat", "/www/answer.txt"]);
    let said = String::from_utf8_lossy(&whole.stderr).into_owned();
    assert_eq!(whole.stdout, b"the tiny image answers\n", "{said}");
}

#[test]
fn a_table_that_nobody_vouches_for_is_told_and_not_read() {
    let registry = registry_that_lies();
    let mut manifest: Value = serde_json::from_slice(&registry.manifest("tiny", "estargz").unwrap()).unwrap();
    for layer in manifest["layers"].as_array_mut().unwrap() {
        layer.as_object_mut().unwrap().remove("annotations");
    }
    registry.put_manifest("tiny", Some("plain"), serde_json::to_vec(&manifest).unwrap(), OCI_MANIFEST);
    let node = Glowplug::new();
    let explained = |tag: &str| -> Value {
        let image = registry.reference(&format!("tiny:{tag}"));
        let told: Value = serde_json::from_str(&node.succeed(&["--json", "explain", &image])).unwrap();
        told["layers"][2].clone()
    };
    let vouched = explained("estargz");
    assert_eq!(vouched["lazy"], true);
    assert!(vouched["why"].as_str().unwrap().starts_with("eStargz table in the layer"), "{vouched}");
    let plain = explained("plain");
    assert_eq!(plain["lazy"], false);
    assert!(plain["why"].as_str().unwrap().contains("does not name the table's digest"), "{plain}");
}
