//! What lies between the files of an archive, headers and padding, put aside as spans are decoded.
//!
//! The store keeps files only. Whoever wants to hash a whole archive out of it needs the rest as well; kept here, it does not have to be
//! fetched again. In memory and packed, since headers are mostly zeros; what finds no room, or came while nobody kept it, is fetched again
//! by who wants it. Only layers that are due such an audit are kept anything of.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use glowplug_base::ByteRange;
use glowplug_layer::Extent;
use glowplug_store::Layer;

/// Most bytes kept of one image: the headers of some million files, packed.
const MOST_BYTES: usize = 64 * 1024 * 1024;
/// How hard it is packed: zstd's fastest level finds the zeros.
const LEVEL: i32 = 1;

/// The seams of one image.
#[derive(Debug)]
pub(super) struct Seams {
    /// For each layer, whether anything of it is kept.
    wanted: Vec<bool>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// By layer and span.
    seams: HashMap<(usize, usize), Seam>,
    bytes: usize,
}

#[derive(Debug)]
struct Seam {
    bytes: Vec<u8>,
    /// Length before it was packed; `None` while it is not.
    packed: Option<usize>,
}

impl Seams {
    /// Keeps those of the layers that are `wanted`.
    pub(super) fn new(wanted: Vec<bool>) -> Self {
        Self { wanted, kept: Mutex::default() }
    }

    /// Keeps what `stream`, the decoded bytes of a span, has between files. Costs no more than copying it: somebody may wait for the
    /// span.
    pub(super) fn keep(&self, number: usize, layer: &Layer, span: usize, stream: &[u8]) {
        if !self.wanted[number] {
            return;
        }
        let bytes = cut(layer, span, stream);
        let mut kept = self.lock();
        if bytes.is_empty() || kept.bytes + bytes.len() > MOST_BYTES {
            return;
        }
        kept.bytes += bytes.len();
        if let Some(before) = kept.seams.insert((number, span), Seam { bytes, packed: None }) {
            kept.bytes -= before.bytes.len();
        }
    }

    /// Packs what was kept of a span, now that nobody waits for it.
    pub(super) fn pack(&self, number: usize, span: usize) {
        // Whoever takes it meanwhile does not miss it: it is put back only where it was.
        let taken = |seam: &mut Seam| seam.packed.is_none().then(|| seam.bytes.clone());
        let Some(bytes) = self.lock().seams.get_mut(&(number, span)).and_then(taken) else { return };
        let Ok(packed) = zstd::bulk::compress(&bytes, LEVEL) else { return };
        let kept = &mut *self.lock();
        if let Some(seam) = kept.seams.get_mut(&(number, span))
            && seam.packed.is_none()
        {
            kept.bytes = kept.bytes - seam.bytes.len() + packed.len();
            *seam = Seam { packed: Some(bytes.len()), bytes: packed };
        }
    }

    /// Gives what was kept of a span, and keeps it no longer.
    pub(super) fn take(&self, number: usize, span: usize) -> Option<Vec<u8>> {
        let mut kept = self.lock();
        let Seam { bytes, packed } = kept.seams.remove(&(number, span))?;
        kept.bytes -= bytes.len();
        drop(kept);
        match packed {
            None => Some(bytes),
            Some(len) => zstd::bulk::decompress(&bytes, len).ok(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // At worst the count of bytes is off after a panic elsewhere.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the decoded bytes of a span have between files, one piece behind the other.
pub(super) fn cut(layer: &Layer, span: usize, stream: &[u8]) -> Vec<u8> {
    let here = layer.index().spans[span].stream;
    let mut seams = Vec::new();
    // Bytes of a length that is not the span's are found out by others.
    let piece = |from: u64, to: u64| {
        stream.get((from - here.start) as usize..(to - here.start) as usize).unwrap_or_default()
    };
    let mut at = here.start;
    for (part, _) in parts(layer, here) {
        seams.extend_from_slice(piece(at, part.start));
        at = part.end;
    }
    seams.extend_from_slice(piece(at, here.end));
    seams
}

/// Length in bytes of what a span has between files.
pub(super) fn length(layer: &Layer, span: usize) -> u64 {
    let here = layer.index().spans[span].stream;
    here.len() - parts(layer, here).map(|(part, _)| part.len()).sum::<u64>()
}

/// The pieces of files within `here`, a piece of the stream, in its order, each with the extent that it is of.
pub(super) fn parts(layer: &Layer, here: ByteRange) -> impl Iterator<Item = (ByteRange, Extent)> {
    let extents = layer.extents();
    let first = extents.partition_point(|extent| extent.stream + extent.len <= here.start);
    let within = extents[first..].iter().take_while(move |extent| extent.stream < here.end);
    within.map(move |extent| (ByteRange::at(extent.stream, extent.len).intersect(&here), *extent))
}
