//! The pieces of a layer that are fetched, checked and decoded one by one.

use glowplug_base::{ByteRange, Digest};

use super::{Checkpoint, Compression, Ztoc};

/// One span of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span<'a> {
    /// Its bytes in the layer blob, to which the digest belongs. If the next span begins within a byte, that
    /// byte belongs to both.
    pub compressed: ByteRange,
    /// Its bytes in the tar. The last span ends with the tar, though its data may go on with padding.
    pub uncompressed: ByteRange,
    /// Digest of the bytes in the layer blob.
    pub digest: Digest,
    /// Where decoding begins; none if the layer is not compressed.
    pub checkpoint: Option<&'a Checkpoint>,
}

impl Ztoc {
    /// All spans in order.
    pub fn spans(&self) -> impl Iterator<Item = Span<'_>> {
        (0..self.span_digests.len()).filter_map(|index| self.span(index))
    }

    /// Span number `index`, counted from 0.
    pub fn span(&self, index: usize) -> Option<Span<'_>> {
        let digest = *self.span_digests.get(index)?;
        match &self.compression {
            Compression::Gzip { checkpoints, .. } => {
                let checkpoint = checkpoints.get(index)?;
                let next = checkpoints.get(index + 1);
                let compressed = ByteRange::new(
                    checkpoint.first_byte(),
                    next.map_or(self.compressed_size, |next| next.compressed),
                );
                let uncompressed = ByteRange::new(
                    checkpoint.uncompressed,
                    next.map_or(self.uncompressed_size, |next| next.uncompressed),
                );
                Some(Span { compressed, uncompressed, digest, checkpoint: Some(checkpoint) })
            }
            Compression::Uncompressed { span_size } => {
                let start = (index as u64).checked_mul(*span_size)?;
                let whole = ByteRange::at(start, *span_size);
                let compressed = whole.intersect(&ByteRange::new(0, self.compressed_size));
                let uncompressed = whole.intersect(&ByteRange::new(0, self.uncompressed_size));
                Some(Span { compressed, uncompressed, digest, checkpoint: None })
            }
        }
    }
}

impl Checkpoint {
    /// Offset of the first compressed byte that decoding from here needs.
    pub(super) fn first_byte(&self) -> u64 {
        if self.bits == 0 { self.compressed } else { self.compressed.saturating_sub(1) }
    }
}
