//! Table of contents to layer index.
//!
//! Each member or frame with bytes of files is a span: the unit that can be decoded alone. What it decodes to behind the last
//! chunk in it, headers of the next entries mostly, is left out of the stream.

use glowplug_base::{ByteRange, Digest};
use glowplug_layer::{
    Check, Chunk, Cursor, Entry, Extent, Kind, LayerIndex, Limits, Origin, Recipe, Span, Tally, boundary,
};
use glowplug_oci::Compression;
use glowplug_toc::estargz::{NO_PREFETCH_LANDMARK, PREFETCH_LANDMARK, TOC_NAME};
use glowplug_toc::files::{Toc, TocChunk, TocEntry};

use crate::claim::{Claimed, MAX_SPAN_BYTES};

/// Whether a path is one of those that tables of contents bring along, and that no reader of one shows.
pub fn is_hidden(path: &[u8]) -> bool {
    [TOC_NAME, PREFETCH_LANDMARK, NO_PREFETCH_LANDMARK].iter().any(|name| name.as_bytes() == path)
}

/// Makes a layer index of the table of the layer `blob` of `blob_size` bytes.
///
/// # Errors
/// What in the table makes no sense, in words.
pub fn to_index(
    toc: &Toc,
    blob: Digest,
    blob_size: u64,
    compression: Compression,
) -> Result<LayerIndex, String> {
    let recipe = match compression {
        Compression::Gzip => Recipe::GzipMember,
        Compression::Zstd => Recipe::ZstdFrame,
        Compression::None => return Err("a table of an uncompressed layer".to_owned()),
    };
    let mut builder = Builder::new(recipe);
    let mut landmark = None;
    for (number, entry) in toc.entries.iter().enumerate() {
        let named =
            |reason: String| format!("entry {number} ({:?}): {reason}", String::from_utf8_lossy(&entry.name));
        let claimed = Claimed::of(entry.kind, &entry.name, &entry.link).map_err(named)?;
        if claimed.path == PREFETCH_LANDMARK.as_bytes() {
            landmark = entry.chunks.first().map(|chunk| chunk.blob.start);
        }
        if !is_hidden(&claimed.path) {
            builder.entry(claimed, entry).map_err(named)?;
        }
    }
    builder.finish(blob, blob_size, landmark)
}

struct Builder {
    recipe: Recipe,
    cursor: Cursor,
    tally: Tally,
    entries: Vec<Entry>,
    /// Their pieces of the data file are not known yet.
    spans: Vec<Span>,
    chunks: Vec<Chunk>,
}

impl Builder {
    fn new(recipe: Recipe) -> Self {
        Self {
            recipe,
            cursor: Cursor::new(),
            tally: Tally::new(Limits::default()),
            entries: Vec::new(),
            spans: Vec::new(),
            chunks: Vec::new(),
        }
    }

    fn entry(&mut self, claimed: Claimed, entry: &TocEntry) -> Result<(), String> {
        let mut extents: Vec<Extent> = Vec::new();
        for chunk in entry.chunks.iter().filter(|chunk| !chunk.zeros && chunk.size > 0) {
            let stream = self.stream(chunk)?;
            let data = match extents.last() {
                None => self.cursor.place(chunk.file, chunk.size),
                Some(before) => self.cursor.place_behind(before.file + before.len, chunk.file, chunk.size),
            };
            let data = data.ok_or("it ends beyond the largest file")?;
            match extents.last_mut() {
                Some(before) if continues(before, chunk.file, stream, data) => before.len += chunk.size,
                _ => extents.push(Extent { file: chunk.file, stream, data, len: chunk.size }),
            }
        }
        let entry = Entry {
            path: claimed.path,
            kind: claimed.kind,
            link: claimed.link,
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            mtime_s: entry.mtime.seconds,
            mtime_ns: entry.mtime.nanoseconds.min(999_999_999),
            device: match claimed.kind {
                Kind::Char | Kind::Block => (entry.dev_major, entry.dev_minor),
                _ => (0, 0),
            },
            size: entry.size,
            xattrs: entry.xattrs.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            extents,
        };
        let end = self.cursor.aligned().unwrap_or(u64::MAX);
        self.tally
            .data_file(end)
            .and_then(|()| self.tally.entry(&entry))
            .map_err(|excess| excess.to_string())?;
        self.entries.push(entry);
        Ok(())
    }

    /// Takes a chunk in and gives its place in the stream.
    fn stream(&mut self, chunk: &TocChunk) -> Result<u64, String> {
        let digest = chunk.digest.ok_or_else(|| format!("the chunk at {} has no digest", chunk.file))?;
        if self.spans.last().is_none_or(|span| span.blob != chunk.blob) {
            let start = self.spans.last().map_or(0, |span| span.stream.end);
            let nothing = ByteRange::new(start, start);
            let (blob, recipe, check) = (chunk.blob, self.recipe, Check::Chunks);
            self.spans.push(Span { stream: nothing, blob, data: ByteRange::new(0, 0), recipe, check });
        }
        let Some(span) = self.spans.last_mut() else { return Err("no member".to_owned()) };
        let start = span.stream.start.checked_add(chunk.inner).ok_or("its chunk lies beyond any member")?;
        let end = start.checked_add(chunk.size).ok_or("its chunk lies beyond any member")?;
        if start < span.stream.end {
            return Err("its chunk overlaps the one before".to_owned());
        }
        if end - span.stream.start > MAX_SPAN_BYTES {
            return Err(format!("a chunk of more than {} MiB", MAX_SPAN_BYTES >> 20));
        }
        span.stream.end = end;
        self.chunks.push(Chunk { stream: ByteRange::new(start, end), digest });
        Ok(start)
    }

    fn finish(mut self, blob: Digest, blob_size: u64, landmark: Option<u64>) -> Result<LayerIndex, String> {
        let data_size = self.cursor.aligned().ok_or("it is larger than a file can be")?;
        let extents: Vec<Extent> = self.entries.iter().flat_map(|entry| &entry.extents).copied().collect();
        let mut data_at = 0;
        for span in &mut self.spans {
            span.data = ByteRange::new(data_at, boundary(&extents, data_size, span.stream.end));
            data_at = span.data.end;
            self.tally.span(span).map_err(|excess| excess.to_string())?;
        }
        // Spans are in the order of the blob; what its maker wants first stands before the landmark.
        let first = self.spans.partition_point(|span| landmark.is_some_and(|at| span.blob.end <= at));
        let wanted = 0..first as u32;
        let prefetch = Some(wanted).filter(|wanted| !wanted.is_empty()).into_iter().collect();
        Ok(LayerIndex {
            blob,
            blob_size,
            stream_size: self.spans.last().map_or(0, |span| span.stream.end),
            data_size,
            origin: Origin::Toc,
            entries: self.entries,
            spans: self.spans,
            chunks: self.chunks,
            prefetch,
        })
    }
}

/// Whether bytes of a file go on where an extent of it ends, everywhere.
const fn continues(before: &Extent, file: u64, stream: u64, data: u64) -> bool {
    before.file + before.len == file
        && before.stream + before.len == stream
        && before.data + before.len == data
}
