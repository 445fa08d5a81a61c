//! Finds the SOCI index beside an image. Nothing here fails: an image without a usable index is a plain image.

use std::ops::Range;
use std::sync::Arc;

use glowplug_base::Digest;
use glowplug_oci::{Descriptor, Manifest};
use glowplug_registry::{Repository, Target};
use glowplug_toc::index::{ARTIFACT_TYPE_V1, INDEX_DIGEST_ANNOTATION};
use glowplug_toc::{IndexVersion, Prefetch, SociIndex, Ztoc, ZtocDescriptor, ZtocLimits, prefetch, ztoc};
use tokio::sync::OnceCell;

use crate::error::chain;

/// Most referrers looked at; an image has one index, or a few when it was made again.
const MAX_REFERRERS: usize = 4;
/// Bytes that a zTOC may have beside those of its layer: one that is larger costs more than it can save.
const ZTOC_ALLOWANCE_BYTES: u64 = 1024 * 1024;
/// Longest prefetch list that is fetched, in bytes: some 25,000 ranges of spans.
const MAX_PREFETCH_BYTES: u64 = 1024 * 1024;

/// Looks for the index of one image when it is first needed, and once only.
#[derive(Debug)]
pub struct Lookup {
    repository: Arc<dyn Repository>,
    manifest: Manifest,
    digest: Digest,
    index: OnceCell<Option<SociIndex>>,
}

impl Lookup {
    /// For the image with this manifest, whose digest is `digest`. Asks nothing yet.
    pub fn new(repository: Arc<dyn Repository>, manifest: Manifest, digest: Digest) -> Self {
        Self { repository, manifest, digest, index: OnceCell::new() }
    }

    /// The index, if the image has a usable one.
    pub async fn index(&self) -> Option<&SociIndex> {
        self.index.get_or_init(|| find(&*self.repository, &self.manifest, &self.digest)).await.as_ref()
    }

    /// What the index says about the zTOC of the layer `blob` of `blob_size` bytes, without fetching it: how large it is,
    /// for instance. `None` where [`Self::ztoc`] would not even try.
    pub async fn listed(&self, blob: &Digest, blob_size: u64) -> Option<&ZtocDescriptor> {
        self.index().await?.ztoc_of(blob).filter(|listed| listed.size <= largest_ztoc(blob_size))
    }

    /// The zTOC of the layer `blob` of `blob_size` bytes, if there is a usable one.
    pub async fn ztoc(&self, blob: &Digest, blob_size: u64) -> Option<Ztoc> {
        fetch(&*self.repository, self.index().await?, blob, blob_size).await
    }

    /// The spans of the layer `blob` that the image's publisher wants fetched first, most urgent first; none where no usable list
    /// was published.
    pub async fn prefetch(&self, blob: &Digest) -> Vec<Range<u32>> {
        let Some(index) = self.index().await else { return Vec::new() };
        let mut wanted = Vec::new();
        for listed in index.prefetches.iter().filter(|listed| listed.layer_digest == *blob) {
            let descriptor = Descriptor::new(prefetch::MEDIA_TYPE, listed.digest, listed.size);
            let bytes = self.repository.small_blob(&descriptor, MAX_PREFETCH_BYTES).await;
            let parsed =
                bytes.map_err(|e| chain(&e)).and_then(|b| Prefetch::parse(&b).map_err(|e| chain(&e)));
            match parsed {
                Ok(list) => wanted.extend(list.spans),
                Err(reason) => {
                    tracing::warn!(layer = %blob, list = %listed.digest, %reason, "the prefetch list cannot be used");
                }
            }
        }
        wanted.sort_by_key(|range| (range.priority, range.start_span));
        wanted.iter().map(|range| range.start_span..range.end_span.saturating_add(1)).collect()
    }
}

/// The index of an image, given by its manifest and the manifest's digest: the one that the manifest names, or one that
/// refers to it.
pub async fn find(repository: &dyn Repository, manifest: &Manifest, digest: &Digest) -> Option<SociIndex> {
    if let Some(named) = manifest.annotations.get(INDEX_DIGEST_ANNOTATION) {
        let index = match named.parse() {
            Ok(named) => read(repository, named, None).await,
            Err(error) => Err(chain(&error)),
        };
        match index {
            Ok(index) => return Some(index),
            Err(reason) => {
                tracing::warn!(image = %digest, index = %named, %reason, "the SOCI index cannot be used")
            }
        }
    }
    let referrers = match repository.referrers(digest, Some(ARTIFACT_TYPE_V1)).await {
        Ok(referrers) => referrers,
        Err(error) => {
            tracing::warn!(image = %digest, reason = %chain(&error), "cannot ask for SOCI indexes");
            return None;
        }
    };
    // A filter is a wish: registries may ignore it.
    let wanted = |referrer: &&Descriptor| {
        referrer.artifact_type.as_deref().is_none_or(|kind| kind == ARTIFACT_TYPE_V1)
    };
    let mut usable = None;
    for referrer in referrers.iter().filter(wanted).take(MAX_REFERRERS) {
        match read(repository, referrer.digest, Some(digest)).await {
            // The same index with lists of what is wanted first says more than the one without.
            Ok(index) if !index.prefetches.is_empty() => return Some(index),
            Ok(index) => usable = usable.or(Some(index)),
            Err(reason) => {
                tracing::warn!(image = %digest, index = %referrer.digest, %reason, "the SOCI index cannot be used");
            }
        }
    }
    usable
}

/// Reads an index: of version 1 about `subject`, or of version 2 without one.
async fn read(
    repository: &dyn Repository,
    digest: Digest,
    subject: Option<&Digest>,
) -> Result<SociIndex, String> {
    let target = Target::Digest(digest);
    let fetched = repository.document(&target).await.map_err(|e| chain(&e))?;
    let index = SociIndex::parse(&fetched.bytes).map_err(|e| chain(&e))?;
    match (&index.version, subject) {
        (IndexVersion::V1(Some(found)), Some(wanted)) if found.digest == *wanted => Ok(index),
        (IndexVersion::V2, None) => Ok(index),
        _ => Err("it is the index of something else".to_owned()),
    }
}

/// Length of the largest zTOC that is fetched for a layer of `blob_size` bytes, in bytes.
pub(super) fn largest_ztoc(blob_size: u64) -> u64 {
    blob_size.saturating_add(ZTOC_ALLOWANCE_BYTES).min(ZtocLimits::default().bytes as u64)
}

/// The zTOC of the layer `blob` of `blob_size` bytes, if the index has one.
pub async fn fetch(
    repository: &dyn Repository,
    index: &SociIndex,
    blob: &Digest,
    blob_size: u64,
) -> Option<Ztoc> {
    let listed = index.ztoc_of(blob)?;
    let (limits, limit) = (ZtocLimits::default(), largest_ztoc(blob_size));
    let descriptor = Descriptor::new(ztoc::MEDIA_TYPE, listed.digest, listed.size);
    let read = async {
        let bytes = repository.small_blob(&descriptor, limit).await.map_err(|e| chain(&e))?;
        let parsed = tokio::task::spawn_blocking(move || Ztoc::parse(&bytes, &limits));
        parsed.await.map_err(|e| e.to_string())?.map_err(|e| chain(&e))
    };
    match read.await {
        Ok(ztoc) => Some(ztoc),
        Err(reason) => {
            tracing::warn!(layer = %blob, ztoc = %listed.digest, %reason, "the zTOC cannot be used");
            None
        }
    }
}
