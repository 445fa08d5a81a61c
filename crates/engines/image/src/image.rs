//! An opened image: one tree over all layers, readable at once, whose bytes come when they are wanted.

mod follow;
mod layer_bytes;
mod learned;
mod runs;
mod whole;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use glowplug_base::ByteRange;
use glowplug_layer::{Entry, Extent};
use glowplug_store::Layer;
use glowplug_timeline::Timeline;

use runs::Run;
use whole::Whole;

use crate::fetch::{Fetcher, Scheduler, Spare, Supply};
use crate::profile::{Profile, Recorder};
use crate::tree::{Merger, Node, NodeId, Tree};
use crate::{Contradiction, ImageError, ReadError};

/// An opened image.
#[derive(Debug)]
pub struct Image {
    tree: Tree,
    /// For each layer its entries' bytes, in the order of the data file.
    placed: Vec<Vec<Run>>,
    fetcher: Arc<Fetcher>,
    recorder: Recorder,
    whole: Whole,
    /// Whether a start profile tells what is wanted.
    taught: AtomicBool,
    timeline: Timeline,
    opened_ns: u64,
}

/// A piece of a file: where in the reader's buffer, and where in which layer's data file.
#[derive(Debug, Clone, Copy)]
struct Part {
    at: usize,
    data: ByteRange,
}

impl Image {
    pub(crate) fn new(
        supplies: Vec<Supply>,
        scheduler: Arc<Scheduler>,
        timeline: Timeline,
    ) -> Result<Self, ImageError> {
        let mut merger = Merger::new();
        for supply in &supplies {
            merger.add(supply.entries())?;
        }
        Ok(Self {
            tree: merger.finish(),
            placed: supplies.iter().map(|supply| runs::all(supply.entries())).collect(),
            recorder: Recorder::new(supplies.iter().map(|supply| supply.layer.index().data_size)),
            fetcher: Arc::new(Fetcher::new(supplies, scheduler, timeline.clone())),
            whole: Whole::default(),
            taught: AtomicBool::new(false),
            opened_ns: timeline.now_ns(),
            timeline,
        })
    }

    /// The merged tree.
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The layers, bottom first: those of its manifest, then one for each file that lies beside it.
    pub fn layers(&self) -> impl Iterator<Item = &Arc<Layer>> {
        self.fetcher.supplies().iter().map(|supply| &supply.layer)
    }

    /// The layers of its manifest, bottom first and numbered as there.
    pub fn own_layers(&self) -> impl Iterator<Item = &Arc<Layer>> {
        let supplies = self.fetcher.supplies().iter();
        supplies.filter(|supply| supply.placed.is_none()).map(|supply| &supply.layer)
    }

    /// Whether every byte is here.
    pub fn is_complete(&self) -> bool {
        self.layers().all(|layer| layer.is_complete())
    }

    /// Bytes that have come over the network so far; deadlines extend while it grows.
    pub fn moved_bytes(&self) -> u64 {
        self.fetcher.moved_bytes()
    }

    /// The entry that a node was made from.
    pub fn entry(&self, node: &Node) -> Option<&Entry> {
        let (layer, entry) = node.origin?;
        self.fetcher.supplies()[layer as usize].entries().get(entry as usize)
    }

    /// Begins to bring what the profile expects, then, as long as `spare` says that a processor is free, everything else.
    /// Needs a tokio runtime.
    pub fn start_prefetch(&self, profile: Option<&Profile>, spare: &Spare) {
        self.taught.store(profile.is_some(), Ordering::Relaxed);
        let order = match profile {
            Some(profile) => self.order(profile),
            // What was not learned here its publisher may know.
            None => self.published_order(),
        };
        self.fetcher.start_prefetch(order, spare);
    }

    /// What the publishers of the layers' indexes want fetched first.
    fn published_order(&self) -> Vec<(usize, usize)> {
        let of_layer = |(number, layer): (usize, &Arc<Layer>)| {
            let spans =
                layer.index().prefetch.iter().flat_map(|range| range.start as usize..range.end as usize);
            spans.map(move |span| (number, span)).collect::<Vec<_>>()
        };
        self.layers().enumerate().flat_map(of_layer).collect()
    }

    /// Returns when a layer turns out to be something else than the index says that was published for it.
    pub async fn contradicted(&self) -> Contradiction {
        self.fetcher.contradicted().await
    }

    /// Layers so far that turned out to be something else than the indexes say that were published for them.
    pub fn contradictions(&self) -> Vec<Contradiction> {
        self.fetcher.contradictions()
    }

    /// Layers whose index somebody else made: how many are as it says, and of how many nobody knows yet. [`Self::contradictions`] are
    /// neither.
    pub fn audited(&self) -> (usize, usize) {
        self.fetcher.audited()
    }

    /// The start is over: from here on the rest may come as fast as it can.
    pub fn settle(&self) {
        self.fetcher.settle();
    }

    /// Milliseconds since the image was opened.
    pub fn age_ms(&self) -> u64 {
        (self.timeline.now_ns() - self.opened_ns) / 1_000_000
    }

    /// Reads without waiting: `None` when bytes are missing.
    ///
    /// Fewer bytes than asked for come only at the end of the file.
    ///
    /// # Errors
    /// What the disk says.
    pub fn try_read(&self, id: NodeId, offset: u64, len: u32) -> Option<Result<Vec<u8>, ReadError>> {
        let Some((layer, parts, len)) = self.parts(id, offset, len) else { return Some(Ok(Vec::new())) };
        let here = &self.fetcher.supplies()[layer].layer;
        self.are_here(layer, &parts).then(|| copy(here, &parts, len))
    }

    /// Reads, and waits for what is missing.
    ///
    /// # Errors
    /// Bytes that could not be had within the source's deadlines, or what the disk says.
    pub async fn read(&self, id: NodeId, offset: u64, len: u32) -> Result<Vec<u8>, ReadError> {
        let Some((layer, parts, len)) = self.parts(id, offset, len) else { return Ok(Vec::new()) };
        let started = self.timeline.now_ns();
        self.bring(layer, &parts).await?;
        self.timeline.stall(started, self.tree.path(id), len as u64);
        copy(&self.fetcher.supplies()[layer].layer, &parts, len)
    }

    /// Notes that parts are wanted, and tells whether all of them are here.
    fn are_here(&self, layer: usize, parts: &[Part]) -> bool {
        let here = &self.fetcher.supplies()[layer].layer;
        parts.iter().all(|part| {
            self.touch(layer, part.data);
            here.index().spans_for_data(part.data).all(|span| here.is_present(span))
        })
    }

    /// Returns when parts are here.
    async fn bring(&self, layer: usize, parts: &[Part]) -> Result<(), ReadError> {
        let here = &self.fetcher.supplies()[layer].layer;
        for part in parts {
            self.touch(layer, part.data);
            self.hasten(layer, part.data);
            self.fetcher.ensure(layer, here.index().spans_for_data(part.data)).await?;
        }
        Ok(())
    }

    /// A reader waits for bytes of a file: if it is likely to want the whole of it, the rest is hastened.
    fn hasten(&self, layer: usize, data: ByteRange) {
        if self.taught.load(Ordering::Relaxed) {
            return;
        }
        let index = self.fetcher.supplies()[layer].layer.index();
        let Some((run, entry)) = self.entry_at(layer, data.start) else { return };
        let file = ByteRange::at(run.file_offset(entry, data.start), data.len());
        if self.whole.wants(layer, run.entry, entry, file) {
            // What is hastened last comes first.
            for run in runs::of(run.entry, entry).into_iter().rev() {
                self.fetcher.hasten(layer, index.spans_for_data(run.data));
            }
        }
    }

    /// The entry that has its bytes at `offset` of a layer's data file, or the next one behind it.
    fn entry_at(&self, layer: usize, offset: u64) -> Option<(Run, &Entry)> {
        let placed = self.placed.get(layer)?;
        let run = *placed.get(placed.partition_point(|run| run.data.end <= offset))?;
        Some((run, self.fetcher.supplies()[layer].entries().get(run.entry as usize)?))
    }

    fn touch(&self, layer: usize, data: ByteRange) {
        self.recorder.touch(layer, data, || self.age_ms());
    }

    /// The pieces of a read; `None` beyond the end of the file and for what is not a file.
    fn parts(&self, id: NodeId, offset: u64, len: u32) -> Option<(usize, Vec<Part>, usize)> {
        let node = self.tree.node(id)?;
        let entry = self.entry(node)?;
        let wanted = ByteRange::at(offset, u64::from(len)).intersect(&ByteRange::new(0, node.size));
        if wanted.is_empty() || wanted.start != offset {
            return None;
        }
        let (layer, _) = node.origin?;
        let first = entry.extents.partition_point(|extent| extent.file + extent.len <= wanted.start);
        let part = |extent: &Extent| {
            let piece = ByteRange::at(extent.file, extent.len).intersect(&wanted);
            let data = ByteRange::at(extent.data + (piece.start - extent.file), piece.len());
            Part { at: (piece.start - wanted.start) as usize, data }
        };
        let parts =
            entry.extents[first..].iter().take_while(|extent| extent.file < wanted.end).map(part).collect();
        Some((layer as usize, parts, wanted.len() as usize))
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        self.fetcher.close();
    }
}

/// Copies present bytes; what lies between the parts is a hole of a sparse file, zeros by its own description.
fn copy(layer: &Layer, parts: &[Part], len: usize) -> Result<Vec<u8>, ReadError> {
    let mut bytes = vec![0; len];
    for part in parts {
        let end = part.at + part.data.len() as usize;
        layer.read_at(&mut bytes[part.at..end], part.data.start)?;
    }
    Ok(bytes)
}
