//! What starts of an image read, as SOCI's own tools take it: a list of spans for each layer, in a new index beside the image.
//!
//! The zTOCs stay as they are and are not made again; only the lists and an index of version 1 that names both are pushed. Of
//! several indexes beside an image this program reads one with lists first.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use glowplug_base::{ByteRange, Digest};
use glowplug_registry::{Error, Repository, ResolvedImage, Target};
use glowplug_tarwalk::normalise;
use glowplug_toc::index::MANIFEST_MEDIA_TYPE;
use glowplug_toc::{EntryKind, IndexVersion, Prefetch, PrefetchDescriptor, PrefetchSpan, SociIndex, Ztoc};

use super::discover::{fetch, find};
use crate::profile::{PIECE_BYTES, Profile};

/// An index with lists that can be found now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefetched {
    /// Digest of the index.
    pub index: Digest,
    /// How many layers have a list.
    pub layers: usize,
    /// How many spans are listed in all.
    pub spans: u64,
}

/// Why an image gets no lists, though nothing failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoPrefetch {
    /// There is no SOCI index beside the image.
    #[error("the image has no SOCI index; make one with `glowplug image index`")]
    NoIndex,
    /// Its manifest names the index, so that neither can change.
    #[error("the image names its SOCI index itself (version 2), so the index cannot change")]
    Fixed,
    /// No layer with a zTOC holds anything of what the profile tells.
    #[error("no indexed layer holds a file that the profile tells of")]
    Nothing,
}

/// Publishes lists of what `profile` tells beside `image`, in its own repository.
///
/// # Errors
/// The repository does not take them.
pub async fn publish_prefetch(
    repository: &dyn Repository,
    image: &ResolvedImage,
    profile: &Profile,
) -> Result<Result<Prefetched, NoPrefetch>, Error> {
    let Some(index) = find(repository, &image.manifest, &image.manifest_digest).await else {
        return Ok(Err(NoPrefetch::NoIndex));
    };
    let IndexVersion::V1(Some(subject)) = &index.version else { return Ok(Err(NoPrefetch::Fixed)) };
    let mut wanted = Wanted::new(profile);
    // The topmost layer that has a file is the one whose bytes are read.
    for layer in image.layers.iter().rev() {
        let (digest, size) = (layer.descriptor.digest, layer.descriptor.size);
        if let Some(ztoc) = fetch(repository, &index, &digest, size).await {
            wanted.take(digest, &ztoc);
        }
    }
    let mut prefetches = Vec::new();
    let mut spans = 0;
    for layer in &image.layers {
        let Some(list) = wanted.list(&layer.descriptor.digest) else { continue };
        spans += list.spans.iter().map(|range| u64::from(range.end_span - range.start_span) + 1).sum::<u64>();
        let bytes = Bytes::from(list.encode());
        let size = bytes.len() as u64;
        let digest = repository.push_blob(bytes).await?;
        prefetches.push(PrefetchDescriptor { digest, size, layer_digest: layer.descriptor.digest });
    }
    if prefetches.is_empty() {
        return Ok(Err(NoPrefetch::Nothing));
    }
    let layers = prefetches.len();
    let version = IndexVersion::V1(Some(subject.clone()));
    let bytes = Bytes::from(SociIndex { version, prefetches, ..index }.encode());
    let target = Target::Digest(Digest::of(&bytes));
    let index = repository.push_manifest(&target, bytes, MANIFEST_MEDIA_TYPE).await?;
    Ok(Ok(Prefetched { index, layers, spans }))
}

/// The spans that a profile wants, found layer by layer.
struct Wanted<'a> {
    profile: &'a Profile,
    /// The touches of each path that no layer so far has.
    open: HashMap<&'a [u8], Vec<usize>>,
    /// For each layer the spans, with the touch that wants them.
    found: HashMap<Digest, Vec<(usize, u32)>>,
}

impl<'a> Wanted<'a> {
    fn new(profile: &'a Profile) -> Self {
        let mut open: HashMap<&[u8], Vec<usize>> = HashMap::new();
        for (number, touch) in profile.touches.iter().enumerate() {
            open.entry(touch.path.as_bytes()).or_default().push(number);
        }
        Self { profile, open, found: HashMap::new() }
    }

    /// Looks for files in a layer; what is found here is not looked for below it.
    fn take(&mut self, layer: Digest, ztoc: &Ztoc) {
        let spans: Vec<ByteRange> = ztoc
            .spans()
            .map(|span| if span.checkpoint.is_some() { span.uncompressed } else { span.compressed })
            .collect();
        for entry in ztoc.entries.iter().filter(|entry| entry.kind == EntryKind::Regular) {
            let Ok(path) = normalise(&entry.name) else { continue };
            let Some(touches) = self.open.remove(&path[..]) else { continue };
            for number in touches {
                let start = self.profile.touches[number].piece.saturating_mul(PIECE_BYTES);
                let piece =
                    ByteRange::at(start, PIECE_BYTES).intersect(&ByteRange::new(0, entry.payload_size()));
                if piece.is_empty() {
                    continue;
                }
                let here = ByteRange::at(entry.offset.saturating_add(piece.start), piece.len());
                let first = spans.partition_point(|span| span.end <= here.start);
                let last = spans.partition_point(|span| span.start < here.end);
                let found = self.found.entry(layer).or_default();
                found.extend((first..last).map(|span| (number, span as u32)));
            }
        }
    }

    /// The list of a layer: rows of neighbours, those first that are wanted first.
    fn list(&mut self, layer: &Digest) -> Option<Prefetch> {
        let mut found = self.found.remove(layer)?;
        found.sort_unstable();
        let mut seen = HashSet::new();
        let mut spans: Vec<PrefetchSpan> = Vec::new();
        for (_, span) in found.into_iter().filter(|(_, span)| seen.insert(*span)) {
            match spans.last_mut() {
                Some(row) if row.end_span.checked_add(1) == Some(span) => row.end_span = span,
                _ => {
                    let priority = spans.len() as i64;
                    spans.push(PrefetchSpan { start_span: span, end_span: span, priority });
                }
            }
        }
        (!spans.is_empty()).then_some(Prefetch { spans })
    }
}
