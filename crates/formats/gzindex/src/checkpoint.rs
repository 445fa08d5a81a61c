//! Places where decoding can begin, and the bytes a span between two of them needs.

use std::fmt;

use glowplug_base::ByteRange;

/// How far back deflate data can refer, in bytes (RFC 1951 section 2), and so the largest window.
pub const WINDOW_BYTES: usize = 32 * 1024;

/// A place in a gzip stream where decoding can begin.
#[derive(Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Compressed offset of the first byte that belongs wholly to the data from here on.
    pub compressed: u64,
    /// Offset in the decoded stream, in bytes, of the first byte decoded from here.
    pub uncompressed: u64,
    /// How many of the high bits of the byte before `compressed` belong to the data from here on; 0 to 7.
    pub bits: u8,
    /// The decoded bytes before this place, oldest first, at most [`WINDOW_BYTES`] and none from before the
    /// member; empty at the start of a member.
    pub window: Vec<u8>,
    /// Whether a gzip header stands at `compressed`, so that decoding begins in gzip mode there. The
    /// [`Indexer`](crate::Indexer) never sets it: its checkpoints stand behind the header. It is for starts
    /// that come from elsewhere, such as the members of an eStargz layer.
    pub member_start: bool,
}

impl Checkpoint {
    /// Where the checkpoint stands in the compressed stream.
    pub fn position(&self) -> Position {
        Position { compressed: self.compressed, bits: self.bits }
    }

    /// What [`decode_span`](crate::decode_span) must know to begin here.
    pub fn start(&self) -> SpanStart<'_> {
        SpanStart { bits: self.bits, window: &self.window, member_start: self.member_start }
    }
}

impl fmt::Debug for Checkpoint {
    /// The window as its length: 32 KiB of numbers help nobody.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoint")
            .field("compressed", &self.compressed)
            .field("uncompressed", &self.uncompressed)
            .field("bits", &self.bits)
            .field("window_len", &self.window.len())
            .field("member_start", &self.member_start)
            .finish()
    }
}

/// Where a checkpoint stands in the compressed stream, to the bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// As [`Checkpoint::compressed`].
    pub compressed: u64,
    /// As [`Checkpoint::bits`].
    pub bits: u8,
}

/// The state a decoder begins a span with; a [`Checkpoint`] without its places.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SpanStart<'a> {
    /// As [`Checkpoint::bits`]. When not 0, the compressed bytes of the span begin with the byte they are in.
    pub bits: u8,
    /// As [`Checkpoint::window`]. A window padded with zeros at its old end, as SOCI stores them, does as well.
    pub window: &'a [u8],
    /// As [`Checkpoint::member_start`]; `bits` must be 0 and `window` is not looked at when set.
    pub member_start: bool,
}

impl fmt::Debug for SpanStart<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpanStart")
            .field("bits", &self.bits)
            .field("window_len", &self.window.len())
            .field("member_start", &self.member_start)
            .finish()
    }
}

/// The compressed bytes that decoding the span from `this` to `next` needs; to the end of the blob of
/// `blob_size` bytes when there is no `next`.
///
/// When a checkpoint falls inside a byte, the spans on both sides need that byte: their ranges overlap by it.
pub fn span_compressed_range(this: Position, next: Option<Position>, blob_size: u64) -> ByteRange {
    let start = this.compressed.saturating_sub(u64::from(this.bits != 0));
    let end = next.map_or(blob_size, |next| next.compressed.min(blob_size));
    ByteRange::new(start, end)
}
