//! The documents of an image that is made over: pure, bytes in and bytes out.
//!
//! Everything that a document says stays, also what is not understood here, but for what is no longer true: digests
//! and sizes, annotations about how a layer was packed before, copies of contents (`data`), and places where the old
//! blobs could be had (`urls`). Docker's media types become OCI's, for only OCI manifests have annotations.

use std::collections::BTreeMap;

use glowplug_base::Digest;
use glowplug_oci::{Descriptor, media};
use glowplug_toc::estargz::{TOC_DIGEST_ANNOTATION, UNCOMPRESSED_SIZE_ANNOTATION};
use glowplug_toc::index::INDEX_DIGEST_ANNOTATION;
use serde_json::Value;

/// Beginnings of annotations that tell how a layer was packed.
const PACKING: [&str; 4] = [
    TOC_DIGEST_ANNOTATION,
    UNCOMPRESSED_SIZE_ANNOTATION,
    "io.github.containers.zstd-chunked.",
    "io.containers.zstd-chunked.",
];
/// Annotation: digest of a layer's tar.
const TAR_DIGEST: &str = "containerd.io/uncompressed";

/// A layer as a manifest will list it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewLayer {
    /// Type, digest and size of the blob.
    pub(crate) descriptor: Descriptor,
    /// Digest of its tar.
    pub(crate) diff_id: Digest,
    /// What is to be said of it.
    pub(crate) annotations: BTreeMap<String, String>,
}

/// The configuration with the digests of the tars, or as it is where they are as they were.
///
/// # Errors
/// It is not JSON; one that was resolved is.
pub(crate) fn config(config: &[u8], old: &[Digest], new: &[Digest]) -> Result<Vec<u8>, serde_json::Error> {
    if old == new {
        return Ok(config.to_vec());
    }
    let mut value: Value = serde_json::from_slice(config)?;
    value["rootfs"]["diff_ids"] = new.iter().map(Digest::to_string).collect();
    serde_json::to_vec(&value)
}

/// The manifest with its new `config` and `layers`, which are as many as before.
///
/// # Errors
/// It is not JSON; one that was resolved is.
pub(crate) fn manifest(
    manifest: &[u8],
    config: &Descriptor,
    layers: &[&NewLayer],
) -> Result<Vec<u8>, serde_json::Error> {
    let mut value: Value = serde_json::from_slice(manifest)?;
    value["mediaType"] = media::OCI_MANIFEST.into();
    repoint(&mut value["config"], config);
    for (entry, layer) in value["layers"].as_array_mut().into_iter().flatten().zip(layers) {
        repoint(entry, &layer.descriptor);
        annotate(entry, layer);
    }
    // The SOCI index that it names describes the old layers.
    if let Some(annotations) = value["annotations"].as_object_mut() {
        annotations.remove(INDEX_DIGEST_ANNOTATION);
    }
    if value["annotations"].as_object().is_some_and(serde_json::Map::is_empty) {
        drop(value.as_object_mut().map(|value| value.remove("annotations")));
    }
    serde_json::to_vec(&value)
}

/// The index with those of its entries that are in `new`, by their old digests, made over.
///
/// # Errors
/// It is not JSON; one that was resolved is.
pub(crate) fn index(index: &[u8], new: &[(Digest, Descriptor)]) -> Result<Vec<u8>, serde_json::Error> {
    let mut value: Value = serde_json::from_slice(index)?;
    value["mediaType"] = media::OCI_INDEX.into();
    if let Some(entries) = value["manifests"].as_array_mut() {
        entries.retain_mut(|entry| {
            let digest = entry["digest"].as_str().unwrap_or_default();
            let Some((_, new)) = new.iter().find(|(old, _)| old.to_string() == digest) else { return false };
            repoint(entry, new);
            true
        });
    }
    serde_json::to_vec(&value)
}

/// Makes a descriptor point at something else.
fn repoint(entry: &mut Value, to: &Descriptor) {
    entry["mediaType"] = to.media_type.as_str().into();
    entry["digest"] = to.digest.to_string().into();
    entry["size"] = to.size.into();
    if let Some(entry) = entry.as_object_mut() {
        entry.remove("data");
        entry.remove("urls");
    }
}

/// Says of a layer how it is packed now.
fn annotate(entry: &mut Value, layer: &NewLayer) {
    let Some(entry) = entry.as_object_mut() else { return };
    let mut annotations = match entry.remove("annotations") {
        Some(Value::Object(annotations)) => annotations,
        _ => serde_json::Map::new(),
    };
    annotations.retain(|key, _| !PACKING.iter().any(|packing| key.starts_with(packing)));
    if let Some(digest) = annotations.get_mut(TAR_DIGEST) {
        *digest = layer.diff_id.to_string().into();
    }
    annotations.extend(layer.annotations.iter().map(|(key, value)| (key.clone(), value.as_str().into())));
    if !annotations.is_empty() {
        entry.insert("annotations".to_owned(), annotations.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(bytes: &[u8]) -> NewLayer {
        NewLayer {
            descriptor: Descriptor::of(media::OCI_LAYER_GZIP, bytes),
            diff_id: Digest::of(b"tar"),
            annotations: BTreeMap::from([(TOC_DIGEST_ANNOTATION.to_owned(), "new".to_owned())]),
        }
    }

    #[test]
    fn a_manifest_keeps_what_is_still_true() {
        let old = serde_json::json!({
            "schemaVersion": 2, "mediaType": media::DOCKER_MANIFEST, "unknown": [1],
            "config": { "mediaType": media::DOCKER_CONFIG, "digest": "old", "size": 1, "data": "e30=", "more": 1 },
            "layers": [{ "mediaType": media::DOCKER_LAYER_GZIP, "digest": "old", "size": 1, "urls": ["there"], "annotations": {
                "kept": "yes", TAR_DIGEST: "old", TOC_DIGEST_ANNOTATION: "old",
                "io.github.containers.zstd-chunked.manifest-position": "1:2:3:1" } }],
            "annotations": { INDEX_DIGEST_ANNOTATION: "old" },
        });
        let config = Descriptor::of(media::OCI_CONFIG, b"config");
        let new = manifest(old.to_string().as_bytes(), &config, &[&layer(b"layer")]).unwrap();
        let new: Value = serde_json::from_slice(&new).unwrap();
        let (config, blob) = (Digest::of(b"config").to_string(), Digest::of(b"layer").to_string());
        assert_eq!(
            new,
            serde_json::json!({
                "schemaVersion": 2, "mediaType": media::OCI_MANIFEST, "unknown": [1],
                "config": { "mediaType": media::OCI_CONFIG, "digest": config, "size": 6, "more": 1 },
                "layers": [{ "mediaType": media::OCI_LAYER_GZIP, "digest": blob, "size": 5, "annotations": {
                    "kept": "yes", TAR_DIGEST: Digest::of(b"tar").to_string(), TOC_DIGEST_ANNOTATION: "new" } }],
            })
        );
    }

    #[test]
    fn a_configuration_changes_only_where_a_tar_did() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let old = br#"{ "rootfs": {"type": "layers", "diff_ids": []}, "history": [{"comment": "x"}] }"#;
        assert_eq!(config(old, &[a], &[a]).unwrap(), old);
        let new: Value = serde_json::from_slice(&config(old, &[a, a], &[a, b]).unwrap()).unwrap();
        assert_eq!(new["rootfs"]["diff_ids"], serde_json::json!([a.to_string(), b.to_string()]));
        assert_eq!(new["history"][0]["comment"], "x");
    }
}
