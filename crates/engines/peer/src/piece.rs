//! Pieces: what peers ask each other for.
//!
//! A blob is cut at fixed multiples of [`PIECE_BYTES`], so that every node cuts alike without talking about it.

use std::ops::Range;

use glowplug_base::{ByteRange, Digest};

/// Bytes of a piece; a blob's last one may be shorter. Part of the peer protocol's version 1.
///
/// A piece is whole before it is passed on, so its length is what a reader of a few bytes waits for, and what is fetched
/// for them: 42 ms of a link of 200 Mbit/s. Requests for shorter ones would cost more than their bytes.
pub const PIECE_BYTES: u64 = 1 << 20;

/// One piece of one blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PieceId {
    /// The blob.
    pub blob: Digest,
    /// Its place in the blob, from 0.
    pub number: u64,
}

impl PieceId {
    /// Where it lies in a blob of `size` bytes; empty where the blob is over before.
    pub fn range(&self, size: u64) -> ByteRange {
        ByteRange::at(self.number.saturating_mul(PIECE_BYTES), PIECE_BYTES)
            .intersect(&ByteRange::new(0, size))
    }

    /// Whether a blob of `size` bytes is this piece and no more, so that the blob's digest is the piece's.
    pub(crate) fn is_whole_blob(&self, size: u64) -> bool {
        self.number == 0 && size <= PIECE_BYTES
    }
}

/// The numbers of the pieces that `range` touches.
pub(crate) fn touched(range: ByteRange) -> Range<u64> {
    if range.is_empty() { 0..0 } else { range.start / PIECE_BYTES..(range.end - 1) / PIECE_BYTES + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_a_blob_without_overlap() {
        let piece = |number| PieceId { blob: Digest::of(b""), number };
        let size = 2 * PIECE_BYTES + 5;
        assert_eq!(piece(0).range(size), ByteRange::new(0, PIECE_BYTES));
        assert_eq!(piece(2).range(size), ByteRange::new(2 * PIECE_BYTES, size));
        assert!(piece(3).range(size).is_empty());
        assert!(piece(u64::MAX).range(size).is_empty());
        assert!(piece(0).is_whole_blob(5) && !piece(0).is_whole_blob(size));
    }

    #[test]
    fn a_range_touches_the_pieces_its_bytes_are_in() {
        assert_eq!(touched(ByteRange::new(0, 1)), 0..1);
        assert_eq!(touched(ByteRange::new(PIECE_BYTES - 1, PIECE_BYTES)), 0..1);
        assert_eq!(touched(ByteRange::new(PIECE_BYTES - 1, PIECE_BYTES + 1)), 0..2);
        assert_eq!(touched(ByteRange::new(7, 7)), 0..0);
    }
}
