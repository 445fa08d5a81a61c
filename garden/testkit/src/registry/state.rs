//! What the registry stores and remembers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use glowplug_base::Digest;
use glowplug_oci::{Descriptor, Document, Limits};

use super::auth::Gate;
use super::fault::Rule;

/// One request as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path without the query.
    pub path: String,
    /// The query without the question mark.
    pub query: String,
    /// The Range header.
    pub range: Option<String>,
    /// The Content-Range header.
    pub content_range: Option<String>,
    /// The Cache-Control header.
    pub cache_control: Option<String>,
    /// The Authorization header.
    pub authorization: Option<String>,
    /// Whether it came to the content delivery network's address.
    pub cdn: bool,
    /// The status it was answered with; 0 while there is none.
    pub status: u16,
}

impl Logged {
    /// Whether a blob was asked for.
    pub fn is_blob(&self) -> bool {
        self.method == "GET" && self.path.contains("/blobs/")
    }
}

#[derive(Debug, Default)]
pub(super) struct State {
    inner: Mutex<Inner>,
    origins: Mutex<(String, String)>,
    pub(super) redirect: AtomicBool,
    pub(super) presign_epoch: AtomicU64,
    pub(super) no_referrers: AtomicBool,
    pub(super) referrers_page: AtomicUsize,
}

#[derive(Debug, Default)]
pub(super) struct Inner {
    pub(super) blobs: HashMap<Digest, Bytes>,
    /// By repository and tag or digest.
    pub(super) manifests: HashMap<(String, String), Stored>,
    pub(super) rules: Vec<Rule>,
    pub(super) gate: Gate,
    /// What was sent so far, by the number of the upload.
    pub(super) uploads: HashMap<u64, Vec<u8>>,
    pub(super) uploads_begun: u64,
    pub(super) log: Vec<Logged>,
}

#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) bytes: Bytes,
    pub(super) media_type: String,
}

impl State {
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_origins(&self, registry: String, cdn: String) {
        *self.origins.lock().unwrap_or_else(PoisonError::into_inner) = (registry, cdn);
    }

    /// Own address and the content delivery network's, as URLs without a path.
    pub(super) fn origins(&self) -> (String, String) {
        self.origins.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Inner {
    pub(super) fn put_manifest(
        &mut self,
        repository: &str,
        tag: Option<&str>,
        bytes: Bytes,
        media_type: &str,
    ) -> Digest {
        let digest = Digest::of(&bytes);
        let stored = Stored { bytes, media_type: media_type.to_owned() };
        for name in [Some(digest.to_string()), tag.map(str::to_owned)].into_iter().flatten() {
            self.manifests.insert((repository.to_owned(), name), stored.clone());
        }
        digest
    }

    /// Descriptors of the manifests in `repository` that are about `subject`, in the order of their digests.
    pub(super) fn referrers(&self, repository: &str, subject: &Digest) -> Vec<Descriptor> {
        let mut found: Vec<Descriptor> = self
            .manifests
            .iter()
            .filter(|((of, name), _)| of == repository && name.starts_with("sha256:"))
            .filter_map(|(_, stored)| {
                let document =
                    Document::parse(&stored.bytes, Some(&stored.media_type), &Limits::default()).ok()?;
                if document.subject() != Some(*subject) {
                    return None;
                }
                let mut descriptor = Descriptor::of(stored.media_type.as_str(), &stored.bytes);
                (descriptor.artifact_type, descriptor.annotations) = match document {
                    Document::Manifest(m) => (m.artifact_type.or(Some(m.config.media_type)), m.annotations),
                    Document::Index(index) => (index.artifact_type, index.annotations),
                };
                Some(descriptor)
            })
            .collect();
        found.sort_by_key(|descriptor| descriptor.digest);
        found
    }
}
