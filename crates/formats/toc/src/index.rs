//! The manifest that lists the zTOCs of an image.
//!
//! Version 1 points at its image by `subject` and is found through the referrers of the image. Version 2 has
//! no subject; instead the image's own manifest names it in the annotation [`INDEX_DIGEST_ANNOTATION`], so it
//! cannot be added or changed after the image was made. Both are OCI image manifests whose *layers* are
//! zTOCs.
//!
//! Source of the format: `soci/soci_index.go` and `soci/soci_convert.go` of the SOCI snapshotter.

use std::collections::BTreeMap;

use glowplug_base::{Digest, DigestError};
use serde::{Deserialize, Serialize};

use crate::prefetch;
use crate::ztoc;

/// Artifact type of version 1, also the media type of its config.
pub const ARTIFACT_TYPE_V1: &str = "application/vnd.amazon.soci.index.v1+json";
/// Artifact type of version 2, also the media type of its config.
pub const ARTIFACT_TYPE_V2: &str = "application/vnd.amazon.soci.index.v2+json";
/// Annotation on an image manifest: digest of the version 2 index that belongs to it.
pub const INDEX_DIGEST_ANNOTATION: &str = "com.amazon.soci.index-digest";
/// Annotation on the entry of a version 2 index in an OCI image index: digest of the image manifest it
/// belongs to.
pub const IMAGE_MANIFEST_DIGEST_ANNOTATION: &str = "com.amazon.soci.image-manifest-digest";
/// Media type of both versions.
pub const MANIFEST_MEDIA_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// The config that both versions refer to and registries want to have.
pub const CONFIG: &[u8] = b"{}";
/// What the reference tool writes as the build tool.
pub const REFERENCE_BUILD_TOOL: &str = "AWS SOCI CLI v0.2";

/// Largest manifest taken, in bytes: the size up to which registries must take one.
const MAX_BYTES: usize = 4 << 20;

const LAYER_DIGEST_ANNOTATION: &str = "com.amazon.soci.image-layer-digest";
const LAYER_MEDIA_TYPE_ANNOTATION: &str = "com.amazon.soci.image-layer-mediaType";
const SPAN_SIZE_ANNOTATION: &str = "com.amazon.soci.span-size";
const DISABLE_XATTRS_ANNOTATION: &str = "com.amazon.soci.disable-xattrs";
const BUILD_TOOL_ANNOTATION: &str = "com.amazon.soci.build-tool-identifier";

/// An index manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SociIndex {
    /// Which version, and for version 1 the image.
    pub version: IndexVersion,
    /// The zTOCs, in the order of the layers. Small layers have none.
    pub ztocs: Vec<ZtocDescriptor>,
    /// Lists of spans to fetch first.
    pub prefetches: Vec<PrefetchDescriptor>,
    /// Who made it, for people.
    pub build_tool: String,
}

/// The two versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexVersion {
    /// Found through the image's referrers. Every one that the reference tool writes has a subject.
    V1(Option<Subject>),
    /// Named by the image's manifest.
    V2,
}

/// The image manifest that an index of version 1 belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Media type of the manifest.
    #[serde(rename = "mediaType")]
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// A zTOC in an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZtocDescriptor {
    /// Digest of the zTOC.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Digest of the layer it belongs to.
    pub layer_digest: Digest,
    /// Media type of that layer.
    pub layer_media_type: String,
    /// Decoded bytes of a span that its maker was asked for; older makers do not tell.
    pub span_size: Option<u64>,
    /// Whether the layer is known to have neither extended attributes nor opaque directories.
    pub disable_xattrs: bool,
}

/// A list of spans to fetch first, in an index; see [`Prefetch`](crate::Prefetch).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrefetchDescriptor {
    /// Digest of the list.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Digest of the layer whose spans it lists.
    pub layer_digest: Digest,
}

/// Why bytes are no index manifest.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// More than 4 MiB.
    #[error("{0} bytes are too many for a manifest")]
    TooLarge(usize),
    /// No JSON, or not that of a manifest.
    #[error("malformed manifest")]
    Json(#[from] serde_json::Error),
    /// A manifest of something else.
    #[error("manifest of {0:?} is no SOCI index")]
    ArtifactType(String),
    /// A zTOC does not say which layer it belongs to, or says it in a way that makes no sense.
    #[error("layer {index} of the index: annotation {annotation}")]
    Annotation {
        /// Position among the layers of the manifest.
        index: usize,
        /// Which annotation.
        annotation: &'static str,
        /// What is wrong with it, if it is there and is a digest.
        source: Option<DigestError>,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u32,
    #[serde(default)]
    media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    config: Descriptor,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<Subject>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: Digest,
    size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

impl SociIndex {
    /// Parses a manifest. Layers of other media types are passed over.
    ///
    /// # Errors
    /// [`IndexError`] if the bytes are no SOCI index of either version, or a zTOC in it has no usable layer
    /// digest.
    pub fn parse(bytes: &[u8]) -> Result<Self, IndexError> {
        if bytes.len() > MAX_BYTES {
            return Err(IndexError::TooLarge(bytes.len()));
        }
        let manifest: Manifest = serde_json::from_slice(bytes)?;
        let version = match manifest.config.media_type.as_str() {
            ARTIFACT_TYPE_V1 => IndexVersion::V1(manifest.subject),
            ARTIFACT_TYPE_V2 => IndexVersion::V2,
            other => return Err(IndexError::ArtifactType(other.chars().take(100).collect())),
        };
        let mut index = Self {
            version,
            ztocs: Vec::new(),
            prefetches: Vec::new(),
            build_tool: manifest.annotations.get(BUILD_TOOL_ANNOTATION).cloned().unwrap_or_default(),
        };
        for (position, layer) in manifest.layers.iter().enumerate() {
            match layer.media_type.as_str() {
                ztoc::MEDIA_TYPE => index.ztocs.push(ZtocDescriptor::from_layer(position, layer)?),
                prefetch::MEDIA_TYPE => index.prefetches.push(PrefetchDescriptor {
                    digest: layer.digest,
                    size: layer.size,
                    layer_digest: layer_digest(position, layer)?,
                }),
                _ => {}
            }
        }
        Ok(index)
    }

    /// The bytes of the manifest, equal to those of the reference tool for the same content.
    pub fn encode(&self) -> Vec<u8> {
        let (artifact_type, subject) = match &self.version {
            IndexVersion::V1(subject) => (ARTIFACT_TYPE_V1, subject.clone()),
            IndexVersion::V2 => (ARTIFACT_TYPE_V2, None),
        };
        let manifest = Manifest {
            schema_version: 2,
            media_type: MANIFEST_MEDIA_TYPE.to_owned(),
            artifact_type: None,
            config: Descriptor {
                media_type: artifact_type.to_owned(),
                digest: Digest::of(CONFIG),
                size: CONFIG.len() as u64,
                annotations: BTreeMap::new(),
            },
            layers: self
                .ztocs
                .iter()
                .map(ZtocDescriptor::to_layer)
                .chain(self.prefetches.iter().map(PrefetchDescriptor::to_layer))
                .collect(),
            subject,
            annotations: BTreeMap::from([(BUILD_TOOL_ANNOTATION.to_owned(), self.build_tool.clone())]),
        };
        serde_json::to_vec(&manifest).expect("maps have text keys and nothing else can fail")
    }

    /// The zTOC of the layer with this digest.
    pub fn ztoc_of(&self, layer: &Digest) -> Option<&ZtocDescriptor> {
        self.ztocs.iter().find(|ztoc| ztoc.layer_digest == *layer)
    }
}

impl ZtocDescriptor {
    fn from_layer(index: usize, layer: &Descriptor) -> Result<Self, IndexError> {
        let text = |annotation| layer.annotations.get(annotation).map(String::as_str);
        let span_size = match text(SPAN_SIZE_ANNOTATION) {
            None => None,
            Some(number) => Some(number.parse().map_err(|_| IndexError::Annotation {
                index,
                annotation: SPAN_SIZE_ANNOTATION,
                source: None,
            })?),
        };
        Ok(Self {
            digest: layer.digest,
            size: layer.size,
            layer_digest: layer_digest(index, layer)?,
            layer_media_type: text(LAYER_MEDIA_TYPE_ANNOTATION).unwrap_or_default().to_owned(),
            span_size,
            disable_xattrs: text(DISABLE_XATTRS_ANNOTATION) == Some("true"),
        })
    }

    fn to_layer(&self) -> Descriptor {
        let mut annotations = BTreeMap::from([
            (LAYER_MEDIA_TYPE_ANNOTATION.to_owned(), self.layer_media_type.clone()),
            (LAYER_DIGEST_ANNOTATION.to_owned(), self.layer_digest.to_string()),
        ]);
        if let Some(span_size) = self.span_size {
            annotations.insert(SPAN_SIZE_ANNOTATION.to_owned(), span_size.to_string());
        }
        if self.disable_xattrs {
            annotations.insert(DISABLE_XATTRS_ANNOTATION.to_owned(), "true".to_owned());
        }
        Descriptor {
            media_type: ztoc::MEDIA_TYPE.to_owned(),
            digest: self.digest,
            size: self.size,
            annotations,
        }
    }
}

impl PrefetchDescriptor {
    fn to_layer(&self) -> Descriptor {
        Descriptor {
            media_type: prefetch::MEDIA_TYPE.to_owned(),
            digest: self.digest,
            size: self.size,
            annotations: BTreeMap::from([(
                LAYER_DIGEST_ANNOTATION.to_owned(),
                self.layer_digest.to_string(),
            )]),
        }
    }
}

fn layer_digest(index: usize, layer: &Descriptor) -> Result<Digest, IndexError> {
    let wrong = |source| IndexError::Annotation { index, annotation: LAYER_DIGEST_ANNOTATION, source };
    let text = layer.annotations.get(LAYER_DIGEST_ANNOTATION).ok_or_else(|| wrong(None))?;
    text.parse().map_err(|source| wrong(Some(source)))
}
