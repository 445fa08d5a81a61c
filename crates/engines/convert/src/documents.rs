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

/// The configuration with the digests of the tars, or as it is where they are as they were. Of each layer there are as
/// many `new` ones as it has become.
///
/// # Errors
/// It is not JSON; one that was resolved is.
pub(crate) fn config(
    config: &[u8],
    old: &[Digest],
    new: &[Vec<Digest>],
) -> Result<Vec<u8>, serde_json::Error> {
    if new.iter().flatten().eq(old) {
        return Ok(config.to_vec());
    }
    let mut value: Value = serde_json::from_slice(config)?;
    value["rootfs"]["diff_ids"] = new.iter().flatten().map(Digest::to_string).collect();
    if new.iter().any(|pieces| pieces.len() != 1)
        && let Some(history) = value["history"].as_array_mut()
    {
        let pieces: Vec<usize> = new.iter().map(Vec::len).collect();
        *history = spread(std::mem::take(history), &pieces);
    }
    serde_json::to_vec(&value)
}

/// The history of layers that became several: what made a layer made each of its pieces. One that does not tell of all
/// layers stays as it is.
fn spread(history: Vec<Value>, pieces: &[usize]) -> Vec<Value> {
    let is_of_layer = |entry: &Value| entry["empty_layer"] != true;
    if history.iter().filter(|entry| is_of_layer(entry)).count() != pieces.len() {
        return history;
    }
    let mut of_layers = pieces.iter();
    let mut spread = Vec::new();
    for entry in history {
        let count = if is_of_layer(&entry) { of_layers.next().copied().unwrap_or(1) } else { 1 };
        if count == 1 {
            spread.push(entry);
            continue;
        }
        for number in 1..=count {
            let mut entry = entry.clone();
            entry["comment"] = format!("repacked {number} of {count}").into();
            spread.push(entry);
        }
    }
    spread
}

/// The manifest with its new `config` and `layers`: of each one as many as it has become.
///
/// # Errors
/// It is not JSON; one that was resolved is.
pub(crate) fn manifest(
    manifest: &[u8],
    config: &Descriptor,
    layers: &[Vec<&NewLayer>],
) -> Result<Vec<u8>, serde_json::Error> {
    let mut value: Value = serde_json::from_slice(manifest)?;
    value["mediaType"] = media::OCI_MANIFEST.into();
    repoint(&mut value["config"], config);
    if let Some(entries) = value["layers"].as_array_mut() {
        let old = std::mem::take(entries);
        for (entry, pieces) in old.into_iter().zip(layers) {
            for layer in pieces {
                let mut entry = entry.clone();
                repoint(&mut entry, &layer.descriptor);
                annotate(&mut entry, layer);
                entries.push(entry);
            }
        }
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
        let new = manifest(old.to_string().as_bytes(), &config, &[vec![&layer(b"layer")]]).unwrap();
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
        assert_eq!(config(old, &[a], &[vec![a]]).unwrap(), old);
        let new: Value = serde_json::from_slice(&config(old, &[a, a], &[vec![a], vec![b]]).unwrap()).unwrap();
        assert_eq!(new["rootfs"]["diff_ids"], serde_json::json!([a.to_string(), b.to_string()]));
        assert_eq!(new["history"][0]["comment"], "x");
    }

    #[test]
    fn the_history_has_an_entry_for_each_piece_of_a_layer() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let old = serde_json::json!({ "rootfs": {}, "history": [
            { "created_by": "base", "comment": "kept" }, { "created_by": "ENV", "empty_layer": true },
            { "created_by": "COPY", "comment": "buildkit" }] });
        let new = config(old.to_string().as_bytes(), &[a, b], &[vec![a], vec![a, b]]).unwrap();
        let new: Value = serde_json::from_slice(&new).unwrap();
        assert_eq!(
            new["history"],
            serde_json::json!([
                { "created_by": "base", "comment": "kept" }, { "created_by": "ENV", "empty_layer": true },
                { "created_by": "COPY", "comment": "repacked 1 of 2" },
                { "created_by": "COPY", "comment": "repacked 2 of 2" }])
        );
        // One that tells of another number of layers is nobody's map.
        let new = config(old.to_string().as_bytes(), &[a], &[vec![a, b]]).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&new).unwrap()["history"], old["history"]);
    }
}
