//! One image repository, wherever it lives.

use std::fmt::{self, Debug};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use glowplug_base::{ByteRange, Digest};
use glowplug_oci::{Descriptor, Source};
use glowplug_source::{Kind, RangeSource, Retry, RetryPolicy, SourceError, read_all};
use glowplug_timeline::Cause;

use crate::Error;

/// Which document of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// The only one; `latest` in a registry.
    Only,
    /// The one with this tag.
    Tag(String),
    /// The one with this digest.
    Digest(Digest),
}

/// A digest decides over a tag.
impl From<&Source> for Target {
    fn from(source: &Source) -> Self {
        match source {
            Source::Registry(reference) => match (reference.digest(), reference.tag()) {
                (Some(digest), _) => Self::Digest(digest),
                (None, Some(tag)) => Self::Tag(tag.to_owned()),
                (None, None) => Self::Only,
            },
            Source::Layout { tag: Some(tag), .. } => Self::Tag(tag.clone()),
            _ => Self::Only,
        }
    }
}

impl From<Digest> for Target {
    fn from(digest: Digest) -> Self {
        Self::Digest(digest)
    }
}

/// What stands after `/manifests/` in a registry's API.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Only => f.write_str("latest"),
            Self::Tag(tag) => f.write_str(tag),
            Self::Digest(digest) => write!(f, "{digest}"),
        }
    }
}

/// A document as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Its bytes.
    pub bytes: Bytes,
    /// Their digest.
    pub digest: Digest,
    /// What the other side says that it is.
    pub media_type: Option<String>,
}

/// A complete blob in a file of its own, about to be pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobFile {
    /// The file.
    pub path: PathBuf,
    /// Digest of what is in it, as whoever wrote it knows.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// Whether ranges of blobs can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ranges {
    /// No range was asked for so far.
    Unknown,
    /// Yes.
    Supported,
    /// No: every range costs the bytes before it.
    Unsupported,
}

/// One image repository.
pub trait Repository: Send + Sync + Debug {
    /// What it is, for messages: `registry/repository` or a path.
    fn name(&self) -> &str;

    /// A manifest or index, at most 4 MiB, verified by its digest.
    ///
    /// # Errors
    /// See [`Error`].
    fn document<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<Fetched, Error>>;

    /// A blob, not connected yet, neither retried nor verified.
    fn blob(&self, descriptor: &Descriptor) -> Arc<dyn RangeSource>;

    /// What refers to `subject`, by the referrers API or the tag that stands in for it; empty where nothing does.
    /// `artifact_type` filters.
    ///
    /// # Errors
    /// See [`Error`]; a registry without the referrers API is none.
    fn referrers<'a>(
        &'a self,
        subject: &'a Digest,
        artifact_type: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<Descriptor>, Error>>;

    /// Asks whether pushes are taken, before the work that makes what is pushed. Nothing is stored. That nobody objects is
    /// no promise: an answer that was not foreseen does not count as a refusal.
    ///
    /// # Errors
    /// The refusal; [`Error::ReadOnly`] for archives.
    fn check_push(&self) -> BoxFuture<'_, Result<(), Error>>;

    /// Stores a blob.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] for archives.
    fn push_blob(&self, bytes: Bytes) -> BoxFuture<'_, Result<Digest, Error>>;

    /// Stores a blob of any size, of which no more than a piece is in memory at a time. A push that is interrupted
    /// goes on where the other side says that it stopped. The file may be taken away: afterwards nobody relies on it.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] for archives; the file cannot be read; see [`Error`] for the others.
    fn push_file<'a>(&'a self, blob: &'a BlobFile) -> BoxFuture<'a, Result<(), Error>>;

    /// The directory in which a file for [`Self::push_file`] is best made, because it then need not be copied. Nothing
    /// where any place is as good.
    fn spool_dir(&self) -> Option<&Path> {
        None
    }

    /// Stores a manifest or index whose blobs are there already, and lists it where its subject's referrers are found.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] for archives.
    fn push_manifest<'a>(
        &'a self,
        target: &'a Target,
        bytes: Bytes,
        media_type: &'a str,
    ) -> BoxFuture<'a, Result<Digest, Error>>;

    /// Whether ranges of blobs can be asked for, as far as it is known.
    fn ranges(&self) -> Ranges {
        Ranges::Supported
    }

    /// How patient to be.
    fn retry(&self) -> RetryPolicy {
        RetryPolicy::default()
    }

    /// Says that bytes of this repository were wrong, so that they come from elsewhere for a while. Whether there is an
    /// elsewhere is the answer: if so, a blob asked for anew may be right.
    fn distrust(&self) -> bool {
        false
    }

    /// A blob that does not give up at the first trouble.
    fn resilient_blob(&self, descriptor: &Descriptor) -> Arc<dyn RangeSource> {
        Arc::new(Retry::new(self.blob(descriptor), self.retry()))
    }

    /// A whole blob of at most `limit` bytes, verified by its digest.
    ///
    /// # Errors
    /// [`Error::TooBig`] before anything is fetched; see [`Error`] for the others.
    fn small_blob<'a>(
        &'a self,
        descriptor: &'a Descriptor,
        limit: u64,
    ) -> BoxFuture<'a, Result<Bytes, Error>> {
        Box::pin(async move {
            if descriptor.size > limit {
                return Err(Error::TooBig { name: descriptor.digest.to_string(), limit });
            }
            loop {
                let source = self.resilient_blob(descriptor);
                let bytes = read_all(&*source, ByteRange::new(0, descriptor.size), Cause::Metadata).await?;
                match verify(source.name(), &bytes, descriptor.digest) {
                    Ok(()) => return Ok(bytes.into()),
                    Err(_) if self.distrust() => {}
                    Err(error) => return Err(error.into()),
                }
            }
        })
    }
}

/// Refuses bytes whose digest is not `expected`.
pub(crate) fn verify(name: &str, bytes: &[u8], expected: Digest) -> Result<(), SourceError> {
    if Digest::of(bytes) == expected { Ok(()) } else { Err(SourceError::new(name, Kind::Corrupt)) }
}
