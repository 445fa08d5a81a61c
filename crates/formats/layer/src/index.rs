//! The index as structs.

use std::ops::Range;

use glowplug_base::{ByteRange, Digest};
use serde::{Deserialize, Serialize};

/// Everything needed to read one layer lazily.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerIndex {
    /// Digest of the layer's blob as the manifest names it; with [`Origin::Chunks`], of the chunk table.
    pub blob: Digest,
    /// Length of the blob in bytes.
    pub blob_size: u64,
    /// Length of the stream (uncompressed archive) in bytes.
    pub stream_size: u64,
    /// Length of the data file in bytes; a multiple of [`crate::BLOCK_BYTES`].
    pub data_size: u64,
    /// Where the index came from.
    pub origin: Origin,
    /// The entries in archive order, whiteouts included.
    pub entries: Vec<Entry>,
    /// The spans in stream order; together they cover the stream.
    pub spans: Vec<Span>,
    /// Digests of pieces of the stream, in its order, for spans with [`Check::Chunks`].
    pub chunks: Vec<Chunk>,
    /// Numbers of spans that the image's publisher wants fetched first, most urgent first.
    pub prefetch: Vec<Range<u32>>,
}

/// Where an index came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// Built while the layer streamed by; the whole blob matched its digest.
    Streamed,
    /// Read from a SOCI zTOC that the image's publisher made.
    Soci,
    /// Read from the table of contents that an eStargz or zstd:chunked layer carries. The stream then is not the archive:
    /// such a table does not say where headers lie, so the stream is what the spans decode to, one behind the other.
    Toc,
    /// Read from the chunk table of one file that is a blob of its own. Such a layer goes by the digest of that table, which
    /// therefore cannot be wrong about it; the stream is the file.
    Chunks,
    /// Built by another node of the cluster while the layer streamed by there: believed as far as that node is, until the layer
    /// was held against it.
    Peer,
    /// Built while the layer, an EROFS image, streamed by; the whole blob matched its digest. The stream is the image. Files
    /// may have their bytes anywhere in it, in any order, and share them.
    Erofs,
}

impl Origin {
    /// Whether somebody else made the index, so that it may be wrong about the layer.
    pub const fn is_published(self) -> bool {
        !matches!(self, Self::Streamed | Self::Chunks | Self::Erofs)
    }
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Another name for a file.
    Hardlink,
    /// A character device.
    Char,
    /// A block device.
    Block,
    /// A named pipe.
    Fifo,
}

/// One entry of the archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Path relative to the root, without leading, trailing or double slashes and without `.` or `..`; the root is
    /// empty. Whiteouts keep their `.wh.` names.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Target of a symbolic link as written, or the normalised path of a hard link's target.
    pub link: Vec<u8>,
    /// Permission bits with set-user-id, set-group-id and sticky: the low 12 bits of `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time, seconds since the Unix epoch.
    pub mtime_s: i64,
    /// Modification time, nanoseconds of the second.
    pub mtime_ns: u32,
    /// Device number of a device entry: major and minor.
    pub device: (u32, u32),
    /// Length of the file in bytes, holes included.
    pub size: u64,
    /// Extended attributes with their full names.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the file's bytes are, in file order; none for an empty file, several for a sparse one. In the stream they are
    /// in order, too, from entry to entry, but for [`Origin::Erofs`].
    pub extents: Vec<Extent>,
}

/// A run of a file's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// Offset in the file.
    pub file: u64,
    /// Offset in the stream.
    pub stream: u64,
    /// Offset in the data file.
    pub data: u64,
    /// Length in bytes.
    pub len: u64,
}

/// A unit of fetching and decoding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The piece of the stream.
    pub stream: ByteRange,
    /// The piece of the blob that decodes to it.
    pub blob: ByteRange,
    /// The piece of the data file that it fills.
    pub data: ByteRange,
    /// How to decode it.
    pub recipe: Recipe,
    /// How to know that it is right.
    pub check: Check,
}

/// How a span's bytes become its piece of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Recipe {
    /// They are the stream.
    Stored,
    /// Inflate from a gzip member's header. What the member decodes to beyond the span is nobody's.
    GzipMember,
    /// Inflate raw, after priming `bits` bits of the first byte and the window as dictionary.
    Deflate {
        /// How many of the first byte's high bits belong to this span; 0 when it begins on a byte.
        bits: u8,
        /// The 32 KiB of stream before the span.
        window: WindowRef,
    },
    /// One or more whole zstd frames. What they decode to beyond the span is nobody's.
    ZstdFrame,
    /// There is no way into the blob here: the whole layer must stream by again.
    Whole,
}

/// Where a span's window lies in the windows file, zstd-compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowRef {
    /// Offset in the windows file.
    pub offset: u64,
    /// Compressed length in bytes.
    pub len: u32,
}

/// How to know that a span is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Check {
    /// SHA-256 of the span's piece of the data file, gaps included.
    Data(Digest),
    /// SHA-256 of the span's piece of the blob, as SOCI has it.
    Blob(Digest),
    /// The digests of the index's [`LayerIndex::chunks`] within the span. They cover every extent in it.
    Chunks,
}

/// A piece of the stream whose digest is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// The piece, within one span.
    pub stream: ByteRange,
    /// Its SHA-256.
    pub digest: Digest,
}

impl LayerIndex {
    /// The spans that hold the bytes `data` of the data file, as a range of span numbers.
    pub fn spans_for_data(&self, data: ByteRange) -> std::ops::Range<usize> {
        if data.is_empty() {
            return 0..0;
        }
        let first = self.spans.partition_point(|span| span.data.end <= data.start);
        let last = self.spans.partition_point(|span| span.data.start < data.end);
        first..last.max(first)
    }

    /// The chunks within span number `span`.
    pub fn chunks_of(&self, span: usize) -> &[Chunk] {
        let here = self.spans[span].stream;
        let first = self.chunks.partition_point(|chunk| chunk.stream.start < here.start);
        let last = self.chunks.partition_point(|chunk| chunk.stream.start < here.end);
        &self.chunks[first..last]
    }

    /// Whether every span can be had without streaming the whole layer.
    pub fn is_lazy(&self) -> bool {
        self.spans.iter().all(|span| span.recipe != Recipe::Whole)
    }

    /// All extents, entry by entry; in stream order, but for [`Origin::Erofs`].
    pub fn extents(&self) -> impl Iterator<Item = &Extent> {
        self.entries.iter().flat_map(|entry| &entry.extents)
    }

    /// What the extents take of the stream, in its order: what several files share is there once. Extents that overlap are
    /// joined, so that an extent's place follows from that of its piece; [`Extent::file`] means nothing in those that are.
    pub fn pieces(&self) -> Vec<Extent> {
        let mut pieces: Vec<Extent> = self.extents().copied().collect();
        if !pieces.is_sorted_by(|one, next| one.stream.saturating_add(one.len) <= next.stream) {
            pieces.sort_unstable_by_key(|piece| (piece.stream, piece.len));
            pieces.dedup_by(|next, piece| {
                let end = piece.stream.saturating_add(piece.len);
                let overlap = next.stream < end;
                if overlap {
                    piece.len = end.max(next.stream.saturating_add(next.len)) - piece.stream;
                }
                overlap
            });
        }
        pieces
    }
}
