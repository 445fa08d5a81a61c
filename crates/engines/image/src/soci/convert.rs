//! The documents of an image that names its own index (version 2): pure, bytes in and bytes out.
//!
//! The image's manifest is rewritten, so its digest changes; everything it says stays, but Docker's media types become
//! OCI's, for only OCI manifests have annotations. What the image's index lists for other platforms stays listed;
//! what is about the old manifest (its provenance, an earlier index) goes, since it is not about the new one.

use glowplug_base::Digest;
use glowplug_oci::{Descriptor, Index, LayerKind, Platform, media};
use glowplug_registry::ResolvedImage;
use glowplug_toc::index::{ARTIFACT_TYPE_V2, IMAGE_MANIFEST_DIGEST_ANNOTATION, INDEX_DIGEST_ANNOTATION};
use serde_json::Value;

/// Annotation of an attestation in an index: the manifest that it is about.
const ATTESTED_ANNOTATION: &str = "vnd.docker.reference.digest";

/// OCI's media type of what `media_type` calls a layer.
pub(super) fn layer_type(media_type: &str) -> String {
    let Ok(kind) = LayerKind::of(media_type) else { return media_type.to_owned() };
    if !media::bare(media_type).starts_with("application/vnd.docker.") {
        return media_type.to_owned();
    }
    let suffix = match kind.compression {
        glowplug_oci::Compression::None => "",
        glowplug_oci::Compression::Gzip => "+gzip",
        glowplug_oci::Compression::Zstd => "+zstd",
    };
    let tar = if kind.foreign {
        "application/vnd.oci.image.layer.nondistributable.v1.tar"
    } else {
        media::OCI_LAYER
    };
    format!("{tar}{suffix}")
}

/// The image's manifest, naming `index`. Fields that are not understood here stay as they are.
///
/// # Errors
/// The manifest is not JSON; one that was resolved is.
pub(super) fn manifest(image: &ResolvedImage, index: &Digest) -> Result<Vec<u8>, serde_json::Error> {
    let mut manifest: Value = serde_json::from_slice(&image.manifest_bytes)?;
    manifest["mediaType"] = media::OCI_MANIFEST.into();
    if image.manifest.config.media_type == media::DOCKER_CONFIG {
        manifest["config"]["mediaType"] = media::OCI_CONFIG.into();
    }
    for (layer, known) in manifest["layers"].as_array_mut().into_iter().flatten().zip(&image.manifest.layers)
    {
        layer["mediaType"] = layer_type(&known.media_type).into();
    }
    manifest["annotations"][INDEX_DIGEST_ANNOTATION] = index.to_string().into();
    serde_json::to_vec(&manifest)
}

/// The index of the image: its `manifest` as rewritten, the SOCI index `soci`, and what else was listed.
///
/// # Errors
/// None in practice: every part is text.
pub(super) fn index(
    image: &ResolvedImage,
    manifest: &[u8],
    soci: &[u8],
) -> Result<Vec<u8>, serde_json::Error> {
    let old = image.manifest_digest;
    let is_about_old = |entry: &Descriptor| {
        let about = [ATTESTED_ANNOTATION, IMAGE_MANIFEST_DIGEST_ANNOTATION];
        about.iter().any(|key| entry.annotations.get(*key).is_some_and(|about| *about == old.to_string()))
    };
    let new = Descriptor::of(media::OCI_MANIFEST, manifest);
    let mut index =
        image.index.clone().unwrap_or_else(|| Index::new(vec![Descriptor { digest: old, ..new.clone() }]));
    index.media_type = Some(media::OCI_INDEX.to_owned());
    index.manifests.retain(|entry| !is_about_old(entry));
    let mut platform = None;
    for entry in index.manifests.iter_mut().filter(|entry| entry.digest == old) {
        (entry.media_type, entry.digest, entry.size) = (new.media_type.clone(), new.digest, new.size);
        platform = Some(entry.platform.get_or_insert_with(|| of_config(image)).clone());
    }
    let annotations = [(IMAGE_MANIFEST_DIGEST_ANNOTATION.to_owned(), new.digest.to_string())];
    index.manifests.push(Descriptor {
        artifact_type: Some(ARTIFACT_TYPE_V2.to_owned()),
        platform,
        annotations: annotations.into(),
        ..Descriptor::of(media::OCI_MANIFEST, soci)
    });
    serde_json::to_vec(&index)
}

/// What the image runs on, as its configuration says.
fn of_config(image: &ResolvedImage) -> Platform {
    Platform {
        variant: image.config.variant().clone(),
        ..Platform::new(image.config.os().to_string(), image.config.architecture().to_string())
    }
}
