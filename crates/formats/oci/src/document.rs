//! Manifests and indexes of both families.
//!
//! A document's own `mediaType` counts; the header it came with is used where the document does not say, and the shape
//! where neither does. A document that could be read both as manifest and as index is refused, since two readers
//! would see two different images in it.

use std::collections::BTreeMap;

use glowplug_base::{Digest, Hint, Hinted};
use serde::{Deserialize, Serialize};

use crate::json::null_is_default;
use crate::{Descriptor, media};

/// An image or artifact manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// Type of this document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What kind of artifact this is; images have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The configuration.
    pub config: Descriptor,
    /// Layers, lowest first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub layers: Vec<Descriptor>,
    /// The manifest this one is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Free key and value pairs.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A list of manifests: one image for several platforms, or the referrers of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// Type of this document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What kind of artifact this is; images have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The manifests.
    #[serde(default, deserialize_with = "null_is_default")]
    pub manifests: Vec<Descriptor>,
    /// The manifest this one is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Free key and value pairs.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Index {
    /// An OCI index of `manifests`.
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(media::OCI_INDEX.to_owned()),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: BTreeMap::new(),
        }
    }
}

/// How large a document may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest manifest or index in bytes.
    pub document_bytes: usize,
    /// Largest image configuration in bytes.
    pub config_bytes: usize,
    /// Most layers of a manifest or manifests of an index.
    pub entries: usize,
}

impl Default for Limits {
    /// 4 MiB, which registries agree on for documents; configurations as much; 4096 entries, where Docker stops at 127
    /// layers.
    fn default() -> Self {
        Self { document_bytes: 4 << 20, config_bytes: 4 << 20, entries: 4096 }
    }
}

/// A manifest or an index.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "documents are few and matched at once; a box would be in everyone's way"
)]
pub enum Document {
    /// One image or artifact.
    Manifest(Manifest),
    /// Several.
    Index(Index),
}

/// Why a document cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It is larger than allowed.
    #[error("document of {bytes} bytes is larger than the allowed {limit}")]
    TooBig {
        /// Its size.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// It lists more than allowed.
    #[error("document lists {entries} entries, more than the allowed {limit}")]
    TooMany {
        /// How many it lists.
        entries: usize,
        /// What is allowed.
        limit: usize,
    },
    /// It is not the JSON that its type promises.
    #[error("malformed document")]
    Json(#[from] serde_json::Error),
    /// The first Docker format, which nobody writes any more.
    #[error("Docker manifest schema 1 ({0}) is not supported")]
    Schema1(String),
    /// A media type that is no image document.
    #[error("unsupported document type {0:?}")]
    Type(String),
    /// It could be read in two ways.
    #[error("document is ambiguous: {0}")]
    Ambiguous(String),
}

impl Hinted for DocumentError {
    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Schema1(_) => {
                Some(Hint::new("push the image again with a current tool; it then writes schema 2"))
            }
            Self::Type(_) => {
                Some(Hint::new("check that the reference names a container image, not another artifact"))
            }
            _ => None,
        }
    }
}

/// What decides about the type, read before anything else.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: Option<serde_json::Value>,
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
    config: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
    fs_layers: Option<serde::de::IgnoredAny>,
}

impl Document {
    /// Reads a document. `content_type` is what the transport or a descriptor said about it, if anything.
    ///
    /// # Errors
    /// See [`DocumentError`].
    pub fn parse(bytes: &[u8], content_type: Option<&str>, limits: &Limits) -> Result<Self, DocumentError> {
        if bytes.len() > limits.document_bytes {
            return Err(DocumentError::TooBig { bytes: bytes.len(), limit: limits.document_bytes });
        }
        let shape: Shape = serde_json::from_slice(bytes)?;
        let document = if shape.is_index(content_type)? {
            Self::Index(serde_json::from_slice(bytes)?)
        } else {
            Self::Manifest(serde_json::from_slice(bytes)?)
        };
        let entries = match &document {
            Self::Index(index) => index.manifests.len(),
            Self::Manifest(manifest) => manifest.layers.len(),
        };
        if entries > limits.entries {
            return Err(DocumentError::TooMany { entries, limit: limits.entries });
        }
        Ok(document)
    }

    /// The media type, as the document says or as its kind implies.
    pub fn media_type(&self) -> &str {
        match self {
            Self::Manifest(manifest) => manifest.media_type.as_deref().unwrap_or(media::OCI_MANIFEST),
            Self::Index(index) => index.media_type.as_deref().unwrap_or(media::OCI_INDEX),
        }
    }

    /// The digest of the manifest that this document is about.
    pub fn subject(&self) -> Option<Digest> {
        match self {
            Self::Manifest(manifest) => manifest.subject.as_ref(),
            Self::Index(index) => index.subject.as_ref(),
        }
        .map(|subject| subject.digest)
    }
}

impl Shape {
    fn is_index(&self, content_type: Option<&str>) -> Result<bool, DocumentError> {
        let looks_index = self.manifests.is_some();
        let looks_manifest = self.config.is_some() || self.layers.is_some();
        if self.fs_layers.is_some() || self.schema_version == Some(1.into()) {
            return Err(DocumentError::Schema1(
                self.media_type.clone().unwrap_or_else(|| "schemaVersion 1".into()),
            ));
        }
        if looks_index && looks_manifest {
            return Err(DocumentError::Ambiguous("it has the fields of a manifest and of an index".into()));
        }
        // A transport that knows nothing (text/plain, octet-stream) does not overrule the shape.
        let told = content_type.map(media::bare).filter(|told| told.starts_with("application/vnd."));
        let own = self.media_type.as_deref().filter(|own| !own.is_empty());
        let by_type = match own.or(told.as_deref()) {
            None if looks_index => return Ok(true),
            None if looks_manifest => return Ok(false),
            None => {
                return Err(DocumentError::Ambiguous(
                    "it has neither media type nor manifests nor layers".into(),
                ));
            }
            Some(name) if media::is_index(name) => true,
            Some(name) if media::is_manifest(name) => false,
            Some(name) if name.starts_with("application/vnd.docker.distribution.manifest.v1+") => {
                return Err(DocumentError::Schema1(name.to_owned()));
            }
            Some(name) => return Err(DocumentError::Type(name.chars().take(200).collect())),
        };
        let contradicted = if by_type { looks_manifest } else { looks_index };
        let told_otherwise = told
            .as_deref()
            .is_some_and(|told| if by_type { media::is_manifest(told) } else { media::is_index(told) });
        if contradicted || told_otherwise {
            return Err(DocumentError::Ambiguous("its media type and its content disagree".into()));
        }
        Ok(by_type)
    }
}
