//! Where stream bytes go in the data file.

use std::borrow::Cow;

use glowplug_base::ByteRange;

use crate::{BLOCK_BYTES, Extent, LayerIndex};

/// A hole of a sparse file that is shorter takes room in the data file, as zeros; a longer one takes none. No block then holds
/// bytes from both sides of a hole that is left out.
const SHORTEST_HOLE_BYTES: u64 = 2 * BLOCK_BYTES;

/// Gives each extent its place in the data file, in stream order.
///
/// A file's first byte lands on a block boundary; an extent in the middle of a sparse file keeps its offset within the
/// block, so that whole blocks of the file are whole blocks of the data file.
#[derive(Debug, Clone, Default)]
pub struct Cursor {
    end: u64,
}

impl Cursor {
    /// Nothing placed yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The place of the next extent, of `len` bytes, that holds the file's bytes from `file`.
    /// `None` when offsets overflow.
    pub fn place(&mut self, file: u64, len: u64) -> Option<u64> {
        let start = self.aligned()?.checked_add(file % BLOCK_BYTES)?;
        self.end = start.checked_add(len)?;
        self.aligned().map(|_| start)
    }

    /// The place of the next extent of the file whose last one ended at `before` in the file. `None` when offsets overflow or go
    /// back.
    pub fn place_behind(&mut self, before: u64, file: u64, len: u64) -> Option<u64> {
        let hole = file.checked_sub(before)?;
        if hole >= SHORTEST_HOLE_BYTES {
            return self.place(file, len);
        }
        let start = self.end.checked_add(hole)?;
        self.end = start.checked_add(len)?;
        self.aligned().map(|_| start)
    }

    /// Where a span ends in the data file that ends in the stream between two extents.
    pub fn aligned(&self) -> Option<u64> {
        self.end.checked_next_multiple_of(BLOCK_BYTES)
    }
}

/// Where in a data file of `data_size` bytes a span ends that ends at `at` in the stream; `extents` are all extents of the
/// layer in stream order. Between two files the gap belongs to it, and in a file a short hole.
pub fn boundary(extents: &[Extent], data_size: u64, at: u64) -> u64 {
    let next = extents.partition_point(|extent| extent.stream + extent.len <= at);
    let end_before = next.checked_sub(1).map_or(0, |before| extents[before].data + extents[before].len);
    match extents.get(next) {
        None => data_size,
        Some(extent) if extent.stream < at => extent.data + (at - extent.stream),
        // Behind a short hole the extent shares its block with the one before.
        Some(extent) => (extent.data - extent.data % BLOCK_BYTES).max(end_before.min(extent.data)),
    }
}

/// The data-file image of one span: `stream` holds the decoded bytes of span number `span`, `extents` all extents of
/// the index in stream order.
///
/// Returns as many bytes as the span's data range has; gaps are zero. Inside one large file that is the stream as it is.
pub fn place<'a>(index: &LayerIndex, extents: &[Extent], span: usize, stream: &'a [u8]) -> Cow<'a, [u8]> {
    let span = &index.spans[span];
    let first = extents.partition_point(|extent| extent.stream + extent.len <= span.stream.start);
    if let Some(extent) = extents.get(first)
        && extent.stream <= span.stream.start
        && extent.stream + extent.len >= span.stream.end
        && extent.data + (span.stream.start - extent.stream) == span.data.start
        && span.data.len() == stream.len() as u64
    {
        return Cow::Borrowed(stream);
    }
    let mut image = vec![0; usize::try_from(span.data.len()).unwrap_or(0)];
    for extent in extents[first..].iter().take_while(|extent| extent.stream < span.stream.end) {
        let part = ByteRange::at(extent.stream, extent.len).intersect(&span.stream);
        let from = (part.start - span.stream.start) as usize;
        let to = (extent.data + (part.start - extent.stream)).wrapping_sub(span.data.start) as usize;
        let len = part.len() as usize;
        // A well-formed index always has room; a damaged one must not panic.
        if let (Some(source), Some(target)) =
            (stream.get(from..from + len), to.checked_add(len).and_then(|end| image.get_mut(to..end)))
        {
            target.copy_from_slice(source);
        }
    }
    Cow::Owned(image)
}
