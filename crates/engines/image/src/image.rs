//! An opened image: one tree over all layers, readable at once, whose bytes come when they are wanted.

mod follow;
mod layer_bytes;

use std::sync::Arc;

use glowplug_base::{ByteRange, Digest};
use glowplug_layer::{Entry, Extent};
use glowplug_store::Layer;
use glowplug_timeline::Timeline;

use crate::fetch::{Fetcher, Spare, Supply};
use crate::profile::{self, Profile, Recorder};
use crate::tree::{Merger, Node, NodeId, Tree};
use crate::{ImageError, ReadError};

/// An opened image.
#[derive(Debug)]
pub struct Image {
    tree: Tree,
    blobs: Vec<Digest>,
    fetcher: Arc<Fetcher>,
    recorder: Recorder,
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
    pub(crate) fn new(supplies: Vec<Supply>, timeline: Timeline) -> Result<Self, ImageError> {
        let mut merger = Merger::new();
        for supply in &supplies {
            merger.add(&supply.layer.index().entries)?;
        }
        Ok(Self {
            tree: merger.finish(),
            blobs: supplies.iter().map(|supply| supply.layer.index().blob).collect(),
            recorder: Recorder::new(supplies.iter().map(|supply| supply.layer.index().spans.len())),
            fetcher: Arc::new(Fetcher::new(supplies, timeline.clone())),
            opened_ns: timeline.now_ns(),
            timeline,
        })
    }

    /// The merged tree.
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The layers, bottom first.
    pub fn layers(&self) -> impl Iterator<Item = &Arc<Layer>> {
        self.fetcher.supplies().iter().map(|supply| &supply.layer)
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
        self.fetcher.supplies()[layer as usize].layer.index().entries.get(entry as usize)
    }

    /// Begins to bring what the profile expects, then, as long as `spare` says that a processor is free, everything else.
    /// Needs a tokio runtime.
    pub fn start_prefetch(&self, profile: Option<&Profile>, spare: &Spare) {
        let order = profile.map(|profile| profile::order(profile, &self.blobs)).unwrap_or_default();
        self.fetcher.start_prefetch(order, spare);
    }

    /// The start is over: from here on the rest may come as fast as it can.
    pub fn settle(&self) {
        self.fetcher.settle();
    }

    /// What was touched since the image was opened, in order.
    pub fn touched(&self) -> Profile {
        self.touched_within(u64::MAX)
    }

    /// What was touched in the first `ms` milliseconds since the image was opened, in order.
    pub fn touched_within(&self, ms: u64) -> Profile {
        let touches = self.recorder.touches().into_iter().filter(|(_, _, at)| *at <= ms);
        Profile::of_run(touches.map(|(layer, span, at)| (self.blobs[layer as usize], span, at)))
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
            let spans = here.index().spans_for_data(part.data);
            self.touch(layer, spans.clone());
            spans.into_iter().all(|span| here.is_present(span))
        })
    }

    /// Returns when parts are here.
    async fn bring(&self, layer: usize, parts: &[Part]) -> Result<(), ReadError> {
        let here = &self.fetcher.supplies()[layer].layer;
        for part in parts {
            let spans = here.index().spans_for_data(part.data);
            self.touch(layer, spans.clone());
            self.fetcher.ensure(layer, spans).await?;
        }
        Ok(())
    }

    fn touch(&self, layer: usize, spans: std::ops::Range<usize>) {
        self.recorder.touch(layer, spans, || self.age_ms());
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

/// Copies present bytes; what lies between the parts is a hole of a sparse file, zeros by its own description.
fn copy(layer: &Layer, parts: &[Part], len: usize) -> Result<Vec<u8>, ReadError> {
    let mut bytes = vec![0; len];
    for part in parts {
        let end = part.at + part.data.len() as usize;
        layer.read_at(&mut bytes[part.at..end], part.data.start)?;
    }
    Ok(bytes)
}
