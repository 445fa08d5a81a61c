//! The registries behind this node: its own way to the bytes, with its own credentials.
//!
//! What was learned of a blob is kept: its length, and the address that its registry redirects to.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use glowplug_base::Digest;
use glowplug_oci::{Descriptor, Document, Limits, Reference, ReferenceError};
use glowplug_registry::{Client, Fetched, Repository, Target};
use glowplug_source::{Kind, RangeSource, read_all};
use glowplug_timeline::Cause;
use tokio::sync::Semaphore;

use crate::{Error, PieceId};

/// Requests to registries at once: enough to fill a link over which each takes a tenth of a second, few enough not to be
/// throttled, and so many pieces in memory at most.
const REQUESTS_AT_ONCE: usize = 16;
/// Repositories, and blobs, that are known at a time. An image has some dozens.
const KNOWN_AT_ONCE: usize = 4096;
/// Manifests that are kept, verified by their digests: at 4 MiB at most, and a few kilobytes as they are.
const DOCUMENTS_KEPT: usize = 256;

/// A repository of a registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RepositoryName(Reference);

/// Why that is no repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RepositoryNameError {
    /// Registry and name are no reference.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// What was given as a registry is none.
    #[error("{0:?} is not a registry")]
    Registry(String),
}

impl RepositoryName {
    /// The repository `name` of `registry`.
    ///
    /// # Errors
    /// When the two together are not what an image's name begins with.
    pub fn new(registry: &str, name: &str) -> Result<Self, RepositoryNameError> {
        let reference = Reference::parse(&format!("{registry}/{name}:latest"))?;
        // A word without dot or colon before the slash is taken for a part of a name on Docker's registry.
        let same = reference.registry().eq_ignore_ascii_case(registry) || registry.ends_with("docker.io");
        if !same || name.contains([':', '@']) {
            return Err(RepositoryNameError::Registry(registry.chars().take(100).collect()));
        }
        Ok(Self(reference))
    }

    /// The registry: `docker.io`.
    pub fn registry(&self) -> &str {
        self.0.registry()
    }

    /// The name inside the registry: `library/busybox`.
    pub fn name(&self) -> &str {
        self.0.repository()
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry(), self.name())
    }
}

/// A map that begins anew when it is full: what is in it can always be learned again.
#[derive(Debug)]
struct Known<K, V> {
    entries: Mutex<HashMap<K, V>>,
    most: usize,
}

impl<K: Eq + Hash, V: Clone> Known<K, V> {
    fn new(most: usize) -> Self {
        Self { entries: Mutex::default(), most }
    }

    fn get(&self, key: &K) -> Option<V> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn insert(&self, key: K, value: V) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= self.most {
            entries.clear();
        }
        entries.insert(key, value);
    }

    fn remove(&self, key: &K) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

/// The way to the registries.
#[derive(Debug)]
pub(crate) struct Upstream {
    client: Client,
    repositories: Known<RepositoryName, Arc<dyn Repository>>,
    blobs: Known<(RepositoryName, Digest, u64), Arc<dyn RangeSource>>,
    sizes: Known<(RepositoryName, Digest), u64>,
    documents: Known<(RepositoryName, Digest), Fetched>,
    turns: Semaphore,
}

impl Upstream {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            repositories: Known::new(KNOWN_AT_ONCE),
            blobs: Known::new(KNOWN_AT_ONCE),
            sizes: Known::new(KNOWN_AT_ONCE),
            documents: Known::new(DOCUMENTS_KEPT),
            turns: Semaphore::new(REQUESTS_AT_ONCE),
        }
    }

    fn repository(&self, name: &RepositoryName) -> Result<Arc<dyn Repository>, Error> {
        if let Some(repository) = self.repositories.get(name) {
            return Ok(repository);
        }
        let repository = self.client.registry(&name.0)?;
        self.repositories.insert(name.clone(), repository.clone());
        Ok(repository)
    }

    /// Bytes in the blob, as a manifest that was verified or the registry says.
    pub(crate) async fn size(&self, repository: &RepositoryName, blob: &Digest) -> Result<u64, Error> {
        if let Some(size) = self.known_size(repository, blob) {
            return Ok(size);
        }
        let size = self.client.blob_size(&repository.0, blob).await?;
        self.sizes.insert((repository.clone(), *blob), size);
        Ok(size)
    }

    /// Bytes in the blob, where that was learned before.
    pub(crate) fn known_size(&self, repository: &RepositoryName, blob: &Digest) -> Option<u64> {
        self.sizes.get(&(repository.clone(), *blob))
    }

    /// A piece of a blob of `size` bytes. A registry whose blob has another length answers with an error.
    pub(crate) async fn piece(
        &self,
        repository: &RepositoryName,
        piece: &PieceId,
        size: u64,
        anew: bool,
    ) -> Result<Bytes, Error> {
        let _turn = self.turns.acquire().await.map_err(|_| Error::BrokenOff)?;
        let key = (repository.clone(), piece.blob, size);
        let source = match self.blobs.get(&key) {
            Some(source) => source,
            None => {
                let descriptor = Descriptor::new("application/octet-stream", piece.blob, size);
                let source = self.repository(repository)?.resilient_blob(&descriptor);
                self.blobs.insert(key, source.clone());
                source
            }
        };
        let range = piece.range(size);
        if anew {
            source.distrust(range);
        }
        match read_all(&*source, range, Cause::Background).await {
            Ok(bytes) => Ok(bytes.into()),
            Err(error) => {
                // A manifest may have told a wrong length: the next reader asks the registry.
                if matches!(error.kind, Kind::Protocol(_)) {
                    self.sizes.remove(&(repository.clone(), piece.blob));
                }
                Err(error.into())
            }
        }
    }

    /// A manifest or index. One by digest is verified, and kept; a tag is asked for each time.
    pub(crate) async fn document(
        &self,
        repository: &RepositoryName,
        target: &Target,
    ) -> Result<Fetched, Error> {
        if let Target::Digest(digest) = target
            && let Some(kept) = self.documents.get(&(repository.clone(), *digest))
        {
            return Ok(kept);
        }
        let fetched = self.repository(repository)?.document(target).await?;
        self.learn_sizes(repository, &fetched);
        self.documents.insert((repository.clone(), fetched.digest), fetched.clone());
        Ok(fetched)
    }

    /// What refers to `subject`.
    pub(crate) async fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, Error> {
        Ok(self.repository(repository)?.referrers(subject, artifact_type).await?)
    }

    /// Whoever asks for a manifest asks for its blobs next.
    fn learn_sizes(&self, repository: &RepositoryName, fetched: &Fetched) {
        let document = Document::parse(&fetched.bytes, fetched.media_type.as_deref(), &Limits::default());
        if let Ok(Document::Manifest(manifest)) = document {
            for blob in manifest.layers.iter().chain([&manifest.config]) {
                self.sizes.insert((repository.clone(), blob.digest), blob.size);
            }
        }
    }
}
