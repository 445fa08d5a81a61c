//! The index as bytes: header, then a zstd frame of postcard.
//!
//! ```text
//! 0   8  magic "GPLAYIDX"
//! 8   4  version, little-endian
//! 12  4  CRC-32 of everything after it
//! 16  8  length of the body
//! 24  8  length of the body once decompressed
//! 32  …  body
//! ```

use glowplug_base::ByteRange;

use crate::{BLOCK_BYTES, Check, Chunk, Extent, LayerIndex, Origin, Recipe, Span};

const MAGIC: &[u8; 8] = b"GPLAYIDX";
/// Version of the serialised form. A reader refuses any other; the index is then built again.
pub const VERSION: u32 = 2;
const HEADER_BYTES: usize = 32;
const CHECKED_FROM: usize = 16;
/// Longest window as it is stored: 32 KiB, and what zstd adds to data that it cannot compress.
const PACKED_WINDOW_BYTES: u32 = 33 * 1024;

/// How large an index may be, and what it describes.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Length of the decompressed body in bytes.
    pub body_bytes: u64,
    /// Number of entries.
    pub entries: usize,
    /// Number of spans.
    pub spans: usize,
    /// Number of chunks with a digest.
    pub chunks: usize,
    /// Length of one span's piece of the stream in bytes: whoever decodes a span holds it in memory.
    pub span_bytes: u64,
    /// Length of one span's piece of the data file in bytes: what [`crate::place`] allocates.
    pub span_data_bytes: u64,
    /// Length of the data file in bytes.
    pub data_bytes: u64,
}

impl Default for Limits {
    /// Room for images of some four million files, with names of 200 bytes, and a terabyte, twice over for the longest
    /// span that is made (32 MiB and a chunk). Where each file is a span of its own there are as many spans. A file of a few bytes takes 1 KiB of stream, header included, and a block
    /// of 4 KiB in the data file. The body is the least of what an index takes in memory: a sparse file's extents, 15
    /// bytes there, take 32.
    fn default() -> Self {
        Self {
            body_bytes: 1 << 30,
            entries: 4_000_000,
            spans: 4_000_000,
            chunks: 8_000_000,
            span_bytes: 64 << 20,
            span_data_bytes: 4 * (64 << 20),
            data_bytes: 16 << 40,
        }
    }
}

/// Why bytes are not a usable index.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// Not an index at all, or cut short.
    #[error("not a layer index")]
    Magic,
    /// Written by another version of Glowplug.
    #[error("layer index version {0}, this program reads version {VERSION}")]
    Version(u32),
    /// Damaged.
    #[error("layer index is damaged: {0}")]
    Damaged(&'static str),
    /// Beyond the limits.
    #[error("layer index is too large: {0}")]
    TooLarge(&'static str),
    /// The body does not decode.
    #[error("layer index does not decode")]
    Body(#[source] postcard::Error),
    /// The body does not compress or decompress.
    #[error("layer index does not decompress")]
    Compression(#[source] std::io::Error),
}

/// Serialises an index.
///
/// # Errors
/// [`CodecError::Body`] or [`CodecError::Compression`] when memory runs out.
pub fn encode(index: &LayerIndex) -> Result<Vec<u8>, CodecError> {
    pack(&postcard::to_stdvec(index).map_err(CodecError::Body)?)
}

/// Serialises an index that [`decode`] will take with the same limits.
///
/// # Errors
/// As [`encode`], and [`CodecError::TooLarge`] or [`CodecError::Damaged`] for what [`decode`] would refuse.
pub fn encode_within(index: &LayerIndex, limits: &Limits) -> Result<Vec<u8>, CodecError> {
    check(index, limits)?;
    let plain = postcard::to_stdvec(index).map_err(CodecError::Body)?;
    if plain.len() as u64 > limits.body_bytes {
        return Err(CodecError::TooLarge("body"));
    }
    pack(&plain)
}

fn pack(plain: &[u8]) -> Result<Vec<u8>, CodecError> {
    let body = zstd::bulk::compress(plain, 3).map_err(CodecError::Compression)?;
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&(body.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&(plain.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&body);
    let crc = crc32fast::hash(&bytes[CHECKED_FROM..]);
    bytes[12..CHECKED_FROM].copy_from_slice(&crc.to_le_bytes());
    Ok(bytes)
}

/// Reads a serialised index and checks that it is consistent.
///
/// # Errors
/// Every way in which `bytes` can be something else than a sound index within `limits`.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<LayerIndex, CodecError> {
    let (header, body) = bytes.split_at_checked(HEADER_BYTES).ok_or(CodecError::Magic)?;
    if &header[..8] != MAGIC {
        return Err(CodecError::Magic);
    }
    let u32_at = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
    if u32_at(8) != VERSION {
        return Err(CodecError::Version(u32_at(8)));
    }
    if body.len() as u64 != u64_at(16) {
        return Err(CodecError::Damaged("length"));
    }
    if crc32fast::hash(&bytes[CHECKED_FROM..]) != u32_at(12) {
        return Err(CodecError::Damaged("checksum"));
    }
    if u64_at(24) > limits.body_bytes {
        return Err(CodecError::TooLarge("body"));
    }
    let plain = zstd::bulk::decompress(body, u64_at(24) as usize).map_err(CodecError::Compression)?;
    let index = postcard::from_bytes(&plain).map_err(CodecError::Body)?;
    check(&index, limits)?;
    Ok(index)
}

/// The invariants that readers rely on.
fn check(index: &LayerIndex, limits: &Limits) -> Result<(), CodecError> {
    if index.entries.len() > limits.entries {
        return Err(CodecError::TooLarge("entries"));
    }
    if index.spans.len() > limits.spans {
        return Err(CodecError::TooLarge("spans"));
    }
    if index.chunks.len() > limits.chunks {
        return Err(CodecError::TooLarge("chunks"));
    }
    if index.data_size > limits.data_bytes {
        return Err(CodecError::TooLarge("data file"));
    }
    let (mut stream, mut data) = (0, 0);
    for span in &index.spans {
        let ordered = |range: &ByteRange| range.start <= range.end;
        if !(ordered(&span.stream) && ordered(&span.blob) && ordered(&span.data)) {
            return Err(CodecError::Damaged("span with negative length"));
        }
        if span.stream.start != stream || span.data.start != data {
            return Err(CodecError::Damaged("spans do not join"));
        }
        if span.blob.end > index.blob_size
            || (span.recipe == Recipe::Stored && span.blob.len() != span.stream.len())
        {
            return Err(CodecError::Damaged("span outside the blob"));
        }
        check_lengths(span, limits)?;
        (stream, data) = (span.stream.end, span.data.end);
    }
    if stream != index.stream_size || data != index.data_size || data % BLOCK_BYTES != 0 {
        return Err(CodecError::Damaged("spans do not cover the layer"));
    }
    let count = index.spans.len() as u64;
    if index.prefetch.iter().any(|range| range.start > range.end || u64::from(range.end) > count) {
        return Err(CodecError::Damaged("prefetch of spans that do not exist"));
    }
    check_chunks(index)?;
    check_extents(index)
}

/// Extents lie within the layer, and what is later in the stream is later in the data file.
fn check_extents(index: &LayerIndex) -> Result<(), CodecError> {
    const MISPLACED: CodecError = CodecError::Damaged("extent out of place");
    let (mut in_order, mut data_in_order) = (true, true);
    let (mut stream, mut data) = (0, 0);
    for extent in index.extents() {
        let ends = extent.stream.checked_add(extent.len).zip(extent.data.checked_add(extent.len));
        let Some((stream_end, data_end)) = ends else { return Err(CodecError::Damaged("extent overflows")) };
        let inside = stream_end <= index.stream_size && data_end <= index.data_size;
        if !inside || extent.file.checked_add(extent.len).is_none() {
            return Err(MISPLACED);
        }
        in_order &= extent.stream >= stream;
        data_in_order &= extent.data >= data;
        (stream, data) = (stream_end, data_end);
    }
    match in_order {
        true if data_in_order => Ok(()),
        // Who reads an index of an archive relies on the order.
        false if index.origin == Origin::Erofs && has_one_order(index) => Ok(()),
        _ => Err(MISPLACED),
    }
}

/// Whether extents in any order have their places in the data file in the order of the stream, and no byte has two.
fn has_one_order(index: &LayerIndex) -> bool {
    let pieces = index.pieces();
    let in_place = |extent: &Extent| {
        let at = pieces.partition_point(|piece| piece.stream + piece.len <= extent.stream);
        let place = |piece: &Extent| {
            piece.stream <= extent.stream && extent.data == piece.data + (extent.stream - piece.stream)
        };
        extent.len == 0 || pieces.get(at).is_some_and(place)
    };
    let ends = |piece: &Extent| piece.data + piece.len;
    pieces.iter().all(|piece| ends(piece) <= index.data_size)
        && pieces.windows(2).all(|pair| ends(&pair[0]) <= pair[1].data)
        && index.extents().all(in_place)
}

/// Chunks are in order, each within one span, and no extent lies in a span of chunks without one.
fn check_chunks(index: &LayerIndex) -> Result<(), CodecError> {
    let (mut end, mut spans) = (0, index.spans.iter().peekable());
    for Chunk { stream, .. } in &index.chunks {
        while spans.next_if(|span| span.stream.end <= stream.start).is_some() {}
        let inside = spans.peek().is_some_and(|span| stream.end <= span.stream.end);
        if stream.start < end || stream.start >= stream.end || !inside {
            return Err(CodecError::Damaged("chunk out of place"));
        }
        end = stream.end;
    }
    let unchecked = |extent: &Extent, span: &Span| {
        let mut at = extent.stream.max(span.stream.start);
        let end = (extent.stream + extent.len).min(span.stream.end);
        let first = index.chunks.partition_point(|chunk| chunk.stream.end <= at);
        for chunk in &index.chunks[first..] {
            if at >= end || chunk.stream.start > at {
                break;
            }
            at = chunk.stream.end;
        }
        at < end
    };
    for extent in index.extents() {
        let first = index.spans.partition_point(|span| span.stream.end <= extent.stream);
        let touched =
            index.spans[first..].iter().take_while(|span| span.stream.start < extent.stream + extent.len);
        for span in touched.filter(|span| span.check == Check::Chunks) {
            if unchecked(extent, span) {
                return Err(CodecError::Damaged("bytes without a digest"));
            }
        }
    }
    Ok(())
}

/// What a span makes a reader allocate.
fn check_lengths(span: &Span, limits: &Limits) -> Result<(), CodecError> {
    if span.stream.len() > limits.span_bytes {
        return Err(CodecError::TooLarge("span"));
    }
    if span.data.len() > limits.span_data_bytes {
        return Err(CodecError::TooLarge("span in the data file"));
    }
    match span.recipe {
        Recipe::Deflate { window, .. } if window.len > PACKED_WINDOW_BYTES => {
            Err(CodecError::TooLarge("window"))
        }
        _ => Ok(()),
    }
}
