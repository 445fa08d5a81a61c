//! A repository whose manifests and configurations are remembered, so that an image that was here before starts
//! although its registry is away.
//!
//! What is asked for by digest is answered from memory; a tag is asked for again each time, and answered from memory
//! only when the registry cannot be reached.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use glowplug_base::Digest;
use glowplug_oci::Descriptor;
use glowplug_registry::{BlobFile, Error, Fetched, Ranges, Repository, ResolvedImage, Target};
use glowplug_source::{MemorySource, RangeSource, RetryPolicy};
use glowplug_store::Documents;
use serde::{Deserialize, Serialize};

const BLOBS: &str = "blobs";
const TAGS: &str = "tags";

/// Remembers for another repository.
#[derive(Debug)]
pub struct Remembered {
    inner: Arc<dyn Repository>,
    documents: Documents,
}

/// What a tag named when it was last asked for.
#[derive(Debug, Serialize, Deserialize)]
struct Tag {
    digest: Digest,
    media_type: Option<String>,
}

impl Remembered {
    pub fn new(inner: Arc<dyn Repository>, documents: Documents) -> Self {
        Self { inner, documents }
    }

    /// Remembers the image's configuration; its manifests were remembered on the way.
    pub fn remember(&self, image: &ResolvedImage) {
        self.keep(BLOBS, &image.manifest.config.digest.to_string(), &image.config_bytes);
    }

    /// Memory is a convenience: a full disk must not keep an image from starting.
    fn keep(&self, kind: &str, name: &str, bytes: &[u8]) {
        if let Err(error) = self.documents.put(kind, name, bytes) {
            tracing::warn!(%error, "could not be remembered");
        }
    }

    fn recall(&self, digest: &Digest) -> Option<Bytes> {
        let bytes = self.documents.get(BLOBS, &digest.to_string())?;
        (Digest::of(&bytes) == *digest).then(|| bytes.into())
    }

    fn tag_name(&self, target: &Target) -> String {
        format!("{}:{target}", self.inner.name())
    }

    fn recall_tag(&self, target: &Target) -> Option<Fetched> {
        let tag: Tag = serde_json::from_slice(&self.documents.get(TAGS, &self.tag_name(target))?).ok()?;
        Some(Fetched { bytes: self.recall(&tag.digest)?, digest: tag.digest, media_type: tag.media_type })
    }
}

impl Repository for Remembered {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn document<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<Fetched, Error>> {
        Box::pin(async move {
            if let Target::Digest(digest) = target
                && let Some(bytes) = self.recall(digest)
            {
                return Ok(Fetched { bytes, digest: *digest, media_type: None });
            }
            match self.inner.document(target).await {
                Ok(fetched) => {
                    self.keep(BLOBS, &fetched.digest.to_string(), &fetched.bytes);
                    let tag = Tag { digest: fetched.digest, media_type: fetched.media_type.clone() };
                    self.keep(TAGS, &self.tag_name(target), &serde_json::to_vec(&tag).unwrap_or_default());
                    Ok(fetched)
                }
                Err(error) if error.is_retryable() => match self.recall_tag(target) {
                    Some(fetched) => {
                        tracing::warn!(%error, "registry is away, using the image as it was last seen");
                        Ok(fetched)
                    }
                    None => Err(error),
                },
                Err(error) => Err(error),
            }
        })
    }

    fn blob(&self, descriptor: &Descriptor) -> Arc<dyn RangeSource> {
        match self.recall(&descriptor.digest) {
            Some(bytes) => Arc::new(MemorySource::new(descriptor.digest.to_string(), bytes)),
            None => self.inner.blob(descriptor),
        }
    }

    fn referrers<'a>(
        &'a self,
        subject: &'a Digest,
        artifact_type: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<Descriptor>, Error>> {
        self.inner.referrers(subject, artifact_type)
    }

    fn check_push(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.check_push()
    }

    fn push_blob(&self, bytes: Bytes) -> BoxFuture<'_, Result<Digest, Error>> {
        self.inner.push_blob(bytes)
    }

    fn push_file<'a>(&'a self, blob: &'a BlobFile) -> BoxFuture<'a, Result<(), Error>> {
        self.inner.push_file(blob)
    }

    fn push_manifest<'a>(
        &'a self,
        target: &'a Target,
        bytes: Bytes,
        media_type: &'a str,
    ) -> BoxFuture<'a, Result<Digest, Error>> {
        self.inner.push_manifest(target, bytes, media_type)
    }

    fn ranges(&self) -> Ranges {
        self.inner.ranges()
    }

    fn retry(&self) -> RetryPolicy {
        self.inner.retry()
    }
}
