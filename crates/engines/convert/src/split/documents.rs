//! The documents of model artifacts, and what the image's manifest says of it: pure, values in and bytes out.
//!
//! The artifact is one of CNCF ModelPack (its specification's `spec.md`, `config.md` and `annotations.md`): each file of
//! weights is a layer as it is, so that registries and nodes keep it once whichever images use it. Its chunk tables are
//! layers, too, for what no manifest names a registry removes; they are of the type for small files beside weights.

use glowplug_base::Digest;
use glowplug_image::models::ModelFile;
use glowplug_oci::{Descriptor, Index, Platform, media};
use glowplug_toc::Timestamp;
use serde_json::{Value, json};

/// Type of a model artifact.
pub(super) const ARTIFACT_TYPE: &str = "application/vnd.cncf.model.manifest.v1+json";
/// Media type of its configuration.
pub(super) const CONFIG_TYPE: &str = "application/vnd.cncf.model.config.v1+json";
/// Media type of a file of weights as it is.
pub(super) const WEIGHT_TYPE: &str = "application/vnd.cncf.model.weight.v1.raw";
/// Media type of a small file beside weights, as it is.
const WEIGHT_CONFIG_TYPE: &str = "application/vnd.cncf.model.weight.config.v1.raw";
/// Annotation of a layer: the file's path.
const FILE_PATH: &str = "org.cncf.model.filepath";
/// Annotation of a layer: what a directory says of the file, as JSON.
const FILE_METADATA: &str = "org.cncf.model.file.metadata+json";
/// What is put behind the path of a file for that of its chunk table.
const TABLE_ENDING: &str = ".glowplug-chunks";
/// How a tar says that an entry is a plain file: the digit 0 as a byte.
const PLAIN_FILE: u8 = b'0';

/// The configuration of an artifact of `files`, whose weights are of `format` if that is one and known.
///
/// # Errors
/// None in practice.
pub(super) fn config(files: &[ModelFile], format: Option<&str>) -> Result<Vec<u8>, serde_json::Error> {
    let digests = files.iter().map(|file| file.digest).chain(files.iter().map(|file| file.chunks));
    let described = format.map_or(json!({}), |format| json!({ "format": format }));
    serde_json::to_vec(&json!({
        "descriptor": {},
        "config": described,
        "modelfs": { "type": "layers", "diffIds": digests.collect::<Vec<Digest>>() },
    }))
}

/// The manifest of an artifact of `files`.
///
/// # Errors
/// None in practice.
pub(super) fn manifest(files: &[ModelFile], config: &Descriptor) -> Result<Vec<u8>, serde_json::Error> {
    let weights = files.iter().map(|file| layer(WEIGHT_TYPE, file.digest, file.size, &file.path, file));
    let tables = files.iter().map(|file| {
        let path = format!("{}{TABLE_ENDING}", file.path);
        layer(WEIGHT_CONFIG_TYPE, file.chunks, file.chunks_size, &path, file)
    });
    serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": media::OCI_MANIFEST,
        "artifactType": ARTIFACT_TYPE,
        "config": { "mediaType": config.media_type, "digest": config.digest, "size": config.size },
        "layers": weights.chain(tables).collect::<Vec<Value>>(),
    }))
}

/// An index of artifacts: each for the platforms whose images it belongs to.
///
/// # Errors
/// None in practice.
pub(super) fn index<'a>(
    artifacts: impl Iterator<Item = (&'a [u8], &'a [Platform])>,
) -> Result<Vec<u8>, serde_json::Error> {
    let listed = artifacts.flat_map(|(artifact, platforms)| {
        platforms.iter().map(move |platform| Descriptor {
            artifact_type: Some(ARTIFACT_TYPE.to_owned()),
            platform: Some(platform.clone()),
            ..Descriptor::of(media::OCI_MANIFEST, artifact)
        })
    });
    serde_json::to_vec(&Index {
        artifact_type: Some(ARTIFACT_TYPE.to_owned()),
        ..Index::new(listed.collect())
    })
}

fn layer(media_type: &str, digest: Digest, size: u64, path: &str, file: &ModelFile) -> Value {
    let path = path.trim_start_matches('/');
    let mtime = Timestamp { seconds: file.mtime, nanoseconds: file.mtime_nanoseconds };
    let metadata = json!({
        "name": path.rsplit('/').next(), "mode": file.mode, "uid": file.uid, "gid": file.gid, "size": size,
        "mtime": mtime.to_string(), "typeflag": PLAIN_FILE,
    });
    json!({ "mediaType": media_type, "digest": digest, "size": size,
        "annotations": { FILE_PATH: path, FILE_METADATA: metadata.to_string() } })
}

/// An image's manifest with one more annotation.
///
/// # Errors
/// It is not JSON; one that was resolved is.
pub(super) fn annotated(manifest: &[u8], key: &str, text: &str) -> Result<Vec<u8>, serde_json::Error> {
    let mut value: Value = serde_json::from_slice(manifest)?;
    if value["annotations"].is_null() {
        value["annotations"] = json!({});
    }
    value["annotations"][key] = text.into();
    serde_json::to_vec(&value)
}

#[cfg(test)]
mod tests {
    use glowplug_oci::{Document, Limits};

    use super::*;

    #[test]
    fn the_artifact_says_what_the_specification_asks_for() {
        let file = ModelFile {
            path: "/srv/m/a.safetensors".to_owned(),
            digest: Digest::of(b"a"),
            size: 1,
            chunks: Digest::of(b"table"),
            chunks_size: 56,
            mode: 0o640,
            uid: 1000,
            gid: 7,
            mtime: 1_700_000_000,
            mtime_nanoseconds: 500_000_000,
        };
        let config = config(std::slice::from_ref(&file), Some("safetensors")).unwrap();
        let parsed: Value = serde_json::from_slice(&config).unwrap();
        assert_eq!(parsed["config"]["format"], "safetensors");
        assert_eq!(parsed["modelfs"]["diffIds"][0], file.digest.to_string());
        let bytes = manifest(std::slice::from_ref(&file), &Descriptor::of(CONFIG_TYPE, &config)).unwrap();
        let Document::Manifest(manifest) = Document::parse(&bytes, None, &Limits::default()).unwrap() else {
            panic!("an index")
        };
        assert_eq!(manifest.artifact_type.as_deref(), Some(ARTIFACT_TYPE));
        assert_eq!(manifest.layers.len(), 2);
        let weight = &manifest.layers[0];
        assert_eq!((&*weight.media_type, weight.digest, weight.size), (WEIGHT_TYPE, file.digest, 1));
        assert_eq!(weight.annotations[FILE_PATH], "srv/m/a.safetensors");
        let metadata: Value = serde_json::from_str(&weight.annotations[FILE_METADATA]).unwrap();
        assert_eq!(
            metadata,
            json!({ "name": "a.safetensors", "mode": 0o640, "uid": 1000, "gid": 7, "size": 1,
                "mtime": "2023-11-14T22:13:20.5Z", "typeflag": 48 })
        );
    }
}
