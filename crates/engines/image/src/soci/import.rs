//! zTOC to layer index.

use std::sync::Arc;

use glowplug_base::{ByteRange, Digest};
use glowplug_layer::{
    Check, Cursor, Entry, Extent, Kind, LayerIndex, Origin, Recipe, Span, WindowRef, boundary,
};
use glowplug_oci::Compression;
use glowplug_store::{Layer, Store};
use glowplug_toc::ztoc::WINDOW_BYTES;
use glowplug_toc::{Compression as ZtocCompression, Ztoc, ZtocEntry};

use super::SociError;
use crate::claim::{Claimed, MAX_SPAN_BYTES};

/// Bytes of the stream that a byte of deflate data can give at most.
const MAX_RATIO: u64 = 1032;
/// Compressed bytes granted beyond the span's own: it may begin in the middle of a code.
const RATIO_SLACK_BYTES: u64 = 8;
/// Length of a tar header, in bytes; payloads begin at multiples of it.
const TAR_BLOCK_BYTES: u64 = 512;
/// Before the name of an extended attribute in a PAX record.
const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";
/// Before the PAX records of sparse files.
const SPARSE_PREFIX: &[u8] = b"GNU.sparse.";

/// A layer index made of a zTOC, not in the store yet.
#[derive(Debug)]
pub struct Imported<'a> {
    /// The index; where the windows lie is not known yet.
    pub index: LayerIndex,
    /// For each span that begins within deflate data, the stream before it.
    windows: Vec<&'a [u8]>,
}

/// Makes a layer index of a zTOC for the layer `blob` of `blob_size` bytes, as its descriptor says.
///
/// # Errors
/// [`SociError::Claim`] or [`SociError::Ztoc`] when the zTOC contradicts itself or the descriptor,
/// [`SociError::Unsupported`] for sparse files and zstd.
pub fn from_ztoc(
    ztoc: &Ztoc,
    blob: Digest,
    blob_size: u64,
    compression: Compression,
) -> Result<Imported<'_>, SociError> {
    let wrong = |reason: String| SociError::Claim { layer: blob, reason };
    if ztoc.compressed_size != blob_size {
        return Err(wrong(format!(
            "it is for a blob of {} bytes, this one has {blob_size}",
            ztoc.compressed_size
        )));
    }
    let stream_size = match (&ztoc.compression, compression) {
        (_, Compression::Zstd) => {
            return Err(SociError::Unsupported { layer: blob, what: "zstd compression".to_owned() });
        }
        (ZtocCompression::Gzip { .. }, Compression::Gzip) => ztoc.uncompressed_size,
        // The stream is the blob, padding behind the tar included: every span then is exactly what its digest is of.
        (ZtocCompression::Uncompressed { .. }, Compression::None) => blob_size,
        _ => return Err(wrong("it is for another compression".to_owned())),
    };
    let headers = ztoc.header_ranges().map_err(|source| SociError::Ztoc { layer: blob, source })?;
    let mut cursor = Cursor::new();
    let mut entries = Vec::with_capacity(ztoc.entries.len());
    for (number, (entry, header)) in ztoc.entries.iter().zip(headers).enumerate() {
        if header.len() < TAR_BLOCK_BYTES || header.end % TAR_BLOCK_BYTES != 0 {
            return Err(wrong(format!("entry {number} has no room for a header")));
        }
        entries.push(convert(entry, blob, number, &mut cursor)?);
    }
    let data_size = cursor.aligned().ok_or_else(|| wrong("it is larger than a file can be".to_owned()))?;
    let mut imported = Imported {
        index: LayerIndex {
            blob,
            blob_size,
            stream_size,
            data_size,
            origin: Origin::Soci,
            entries,
            spans: Vec::with_capacity(ztoc.span_digests.len()),
            chunks: Vec::new(),
            prefetch: Vec::new(),
        },
        windows: Vec::new(),
    };
    imported.add_spans(ztoc).map_err(wrong)?;
    Ok(imported)
}

/// Puts an index into the store; none of its bytes is here then.
///
/// # Errors
/// What the disk says.
pub fn adopt(store: &Store, imported: Imported<'_>) -> Result<Arc<Layer>, SociError> {
    let Imported { mut index, windows } = imported;
    let mut builder = store.build(index.blob)?;
    let recipes = index.spans.iter_mut().filter_map(|span| match &mut span.recipe {
        Recipe::Deflate { window, .. } => Some(window),
        _ => None,
    });
    for (place, window) in recipes.zip(windows) {
        *place = builder.add_window(window)?;
    }
    Ok(store.adopt(builder, &index)?)
}

fn convert(entry: &ZtocEntry, layer: Digest, number: usize, cursor: &mut Cursor) -> Result<Entry, SociError> {
    let wrong = |reason: &dyn std::fmt::Display| SociError::Claim {
        layer,
        reason: format!("entry {number}: {reason}"),
    };
    if entry.pax.keys().any(|key| key.starts_with(SPARSE_PREFIX)) {
        let what = format!("the sparse file {:?}", String::from_utf8_lossy(&entry.name));
        return Err(SociError::Unsupported { layer, what });
    }
    let claimed = Claimed::of(entry.kind, &entry.name, &entry.link).map_err(|reason| wrong(&reason))?;
    let size = entry.payload_size();
    let mut extents = Vec::new();
    if size > 0 {
        let data = cursor.place(0, size).ok_or_else(|| wrong(&"it ends beyond the largest file"))?;
        extents.push(Extent { file: 0, stream: entry.offset, data, len: size });
    }
    let device = match claimed.kind {
        Kind::Char | Kind::Block => {
            let number = |value: i64| u32::try_from(value).map_err(|_| wrong(&"device number out of range"));
            (number(entry.dev_major)?, number(entry.dev_minor)?)
        }
        _ => (0, 0),
    };
    let xattr = |(key, value): (&Vec<u8>, &Vec<u8>)| {
        let name = key.strip_prefix(XATTR_PREFIX)?;
        (!name.is_empty()).then(|| (name.to_vec(), value.clone()))
    };
    Ok(Entry {
        path: claimed.path,
        kind: claimed.kind,
        link: claimed.link,
        mode: (entry.mode & 0o7777) as u32,
        uid: entry.uid,
        gid: entry.gid,
        mtime_s: entry.mtime.seconds,
        mtime_ns: entry.mtime.nanoseconds.min(999_999_999),
        device,
        size,
        xattrs: entry.pax.iter().filter_map(xattr).collect(),
        extents,
    })
}

impl<'a> Imported<'a> {
    fn add_spans(&mut self, ztoc: &'a Ztoc) -> Result<(), String> {
        let index = &mut self.index;
        let extents: Vec<Extent> = index.extents().copied().collect();
        let (mut stream_at, mut data_at) = (0, 0);
        for (number, span) in ztoc.spans().enumerate() {
            // The reference tool counts the stream to the end marker of the tar; spans may go on behind it.
            if stream_at >= index.stream_size {
                break;
            }
            let claimed = if span.checkpoint.is_some() { span.uncompressed } else { span.compressed };
            let stream = ByteRange::new(claimed.start, claimed.end.min(index.stream_size));
            let blob = span.compressed;
            if claimed.start != stream_at || blob.end > index.blob_size {
                return Err(format!("span {number} does not join the one before"));
            }
            if stream.len() > MAX_SPAN_BYTES {
                return Err(format!("span {number} is longer than {} MiB", MAX_SPAN_BYTES >> 20));
            }
            let recipe = match span.checkpoint {
                None if blob.len() != stream.len() => {
                    return Err(format!("span {number} does not fit its bytes"));
                }
                None => Recipe::Stored,
                Some(_) if blob.is_empty() || stream.len() / MAX_RATIO > blob.len() + RATIO_SLACK_BYTES => {
                    return Err(format!("span {number} cannot decode to {} bytes", stream.len()));
                }
                Some(checkpoint) if checkpoint.bits > 7 || checkpoint.window.len() > WINDOW_BYTES => {
                    return Err(format!("span {number} begins at an impossible checkpoint"));
                }
                Some(checkpoint) => {
                    self.windows.push(&checkpoint.window);
                    Recipe::Deflate { bits: checkpoint.bits, window: WindowRef { offset: 0, len: 0 } }
                }
            };
            let data_end = boundary(&extents, index.data_size, stream.end);
            let data = ByteRange::new(data_at, data_end);
            index.spans.push(Span { stream, blob, data, recipe, check: Check::Blob(span.digest) });
            (stream_at, data_at) = (stream.end, data_end);
        }
        if stream_at == index.stream_size {
            Ok(())
        } else {
            Err(format!("its spans end at {stream_at}, the layer at {}", index.stream_size))
        }
    }
}
