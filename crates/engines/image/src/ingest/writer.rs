//! The write stage: walks the tar, places file bytes in the data file, and closes spans. What the index could not hold in
//! the end is refused as soon as it comes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use glowplug_base::{ByteRange, Digest, Hasher};
use glowplug_layer::{Check, Cursor, Entry, Excess, Extent, Kind, LayerIndex, Origin, Recipe, Span, Tally};
use glowplug_store::{Layer, LayerBuilder, Store};
use glowplug_tarwalk::{Limits, TarError, Walker, normalise};

use super::decoder::{Piece, Way};
use crate::ImageError;
use crate::claim::{kind, owner};

/// The image of a span is written in pieces of this size at most, so that a long span needs no long buffer.
const WRITE_BYTES: usize = 1024 * 1024;

pub(super) struct Writer {
    blob: Digest,
    blob_size: u64,
    builder: LayerBuilder,
    walker: Walker,
    cursor: Cursor,
    tally: Tally,
    entries: Vec<Entry>,
    spans: Vec<Span>,
    /// Extents whose bytes are still to come, in stream order.
    coming: VecDeque<Extent>,
    /// Stream offset reached.
    at: u64,
    span: OpenSpan,
}

/// The span that is being filled.
#[derive(Default)]
struct OpenSpan {
    stream_start: u64,
    data_start: u64,
    hasher: Hasher,
    /// Data-file bytes not yet written, and where they go.
    image: Vec<u8>,
    image_at: u64,
}

impl Writer {
    pub(super) fn new(builder: LayerBuilder, blob: Digest, blob_size: u64) -> Self {
        Self {
            blob,
            blob_size,
            builder,
            walker: Walker::new(Limits::default()),
            cursor: Cursor::new(),
            tally: Tally::new(glowplug_layer::Limits::default()),
            entries: Vec::new(),
            spans: Vec::new(),
            coming: VecDeque::new(),
            at: 0,
            span: OpenSpan::default(),
        }
    }

    /// Takes pieces until the end; nothing comes of a queue that closes without one, for the decoder failed then.
    pub(super) fn run(mut self, pieces: &Receiver<Piece>) -> Result<Option<Written>, ImageError> {
        for piece in pieces {
            match piece {
                Piece::Bytes(bytes) => self.bytes(&bytes)?,
                Piece::Cut { blob, way } => self.cut(blob, way)?,
                Piece::End => return self.finish().map(Some),
            }
        }
        Ok(None)
    }

    fn too_large(&self, excess: Excess) -> ImageError {
        ImageError::TooLarge { layer: self.blob, excess }
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        let mut found = Vec::new();
        self.walker.push(bytes, &mut |entry| found.push(entry)).map_err(|error| match error {
            TarError::TooManyEntries { limit } => self.too_large(Excess { what: "entries", limit }),
            other => ImageError::layer(self.blob, other),
        })?;
        for entry in found {
            self.entry(entry)?;
        }
        let here = ByteRange::at(self.at, bytes.len() as u64);
        while let Some(extent) = self.coming.front().copied() {
            let part = ByteRange::at(extent.stream, extent.len).intersect(&here);
            if part.is_empty() {
                break;
            }
            self.pad_to(extent.data + (part.start - extent.stream))?;
            let from = (part.start - here.start) as usize;
            self.append(&bytes[from..from + part.len() as usize])?;
            if part.end < extent.stream + extent.len {
                break;
            }
            self.coming.pop_front();
        }
        self.at = here.end;
        Ok(())
    }

    fn entry(&mut self, entry: glowplug_tarwalk::Entry) -> Result<(), ImageError> {
        let named = |reason: &dyn std::fmt::Display| {
            ImageError::layer(
                self.blob,
                format!("entry {:?}: {reason}", String::from_utf8_lossy(&entry.path)),
            )
        };
        let path = normalise(&entry.path).map_err(|e| named(&e))?;
        let kind = kind(entry.kind);
        let link =
            if kind == Kind::Hardlink { normalise(&entry.link).map_err(|e| named(&e))? } else { entry.link };
        let mut extents: Vec<Extent> = Vec::with_capacity(entry.extents.len());
        for extent in entry.extents.iter().filter(|extent| extent.len > 0) {
            let place = match extents.last() {
                None => self.cursor.place(extent.file_offset, extent.len),
                Some(before) => {
                    self.cursor.place_behind(before.file + before.len, extent.file_offset, extent.len)
                }
            };
            let data = place
                .ok_or_else(|| ImageError::layer(self.blob, "the layer is larger than a file can be"))?;
            let placed =
                Extent { file: extent.file_offset, stream: extent.stream_offset, data, len: extent.len };
            extents.push(placed);
            self.coming.push_back(placed);
        }
        // Said before the first of its bytes comes.
        self.tally
            .data_file(self.cursor.aligned().unwrap_or(u64::MAX))
            .map_err(|excess| self.too_large(excess))?;
        let entry = Entry {
            path,
            kind,
            link,
            mode: entry.mode,
            uid: owner(entry.uid),
            gid: owner(entry.gid),
            mtime_s: entry.mtime_s,
            mtime_ns: entry.mtime_ns,
            device: (entry.dev_major, entry.dev_minor),
            size: entry.size,
            xattrs: entry.xattrs,
            extents,
        };
        self.tally.entry(&entry).map_err(|excess| self.too_large(excess))?;
        self.entries.push(entry);
        Ok(())
    }

    /// Fills the gap up to `data` with zeros: between two files less than a block, in a sparse file a short hole.
    fn pad_to(&mut self, data: u64) -> Result<(), ImageError> {
        let here = self.span.image_at + self.span.image.len() as u64;
        let gap = data.saturating_sub(here) as usize;
        self.span.image.resize(self.span.image.len() + gap, 0);
        self.write_when_full()
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        self.span.image.extend_from_slice(bytes);
        self.write_when_full()
    }

    fn write_when_full(&mut self) -> Result<(), ImageError> {
        if self.span.image.len() >= WRITE_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), ImageError> {
        self.span.hasher.update(&self.span.image);
        self.builder.write_at(&self.span.image, self.span.image_at)?;
        self.span.image_at += self.span.image.len() as u64;
        self.span.image.clear();
        self.tally
            .open_span(self.at - self.span.stream_start, self.span.image_at - self.span.data_start)
            .map_err(|excess| self.too_large(excess))
    }

    fn cut(&mut self, blob: ByteRange, way: Way) -> Result<(), ImageError> {
        let inside = self.coming.front().is_some_and(|extent| extent.stream < self.at);
        if !inside {
            // Between two files: the span owns the gap up to where the next file will begin.
            let before_next =
                self.coming.front().map(|extent| extent.data - extent.data % glowplug_layer::BLOCK_BYTES);
            let aligned = before_next.or_else(|| self.cursor.aligned()).unwrap_or(self.span.image_at);
            self.pad_to(aligned)?;
        }
        self.write()?;
        let recipe = match way {
            Way::Plain(recipe) => recipe,
            Way::Deflate { bits, window } => {
                Recipe::Deflate { bits, window: self.builder.add_window(&window)? }
            }
        };
        let data_end = self.span.image_at;
        let digest = std::mem::take(&mut self.span.hasher).finish();
        let span = Span {
            stream: ByteRange::new(self.span.stream_start, self.at),
            blob,
            data: ByteRange::new(self.span.data_start, data_end),
            recipe,
            check: Check::Data(digest),
        };
        self.tally.span(&span).map_err(|excess| self.too_large(excess))?;
        self.spans.push(span);
        self.span.stream_start = self.at;
        self.span.data_start = data_end;
        Ok(())
    }

    fn finish(self) -> Result<Written, ImageError> {
        let stream_size = self.walker.finish().map_err(|e| ImageError::layer(self.blob, e))?;
        let data_size = self.span.data_start;
        if !self.coming.is_empty() || stream_size != self.span.stream_start {
            return Err(ImageError::layer(self.blob, "the archive ends inside a file"));
        }
        let index = LayerIndex {
            blob: self.blob,
            blob_size: self.blob_size,
            stream_size,
            data_size,
            origin: Origin::Streamed,
            entries: self.entries,
            spans: self.spans,
            chunks: Vec::new(),
            prefetch: Vec::new(),
        };
        Ok(Written { builder: self.builder, index })
    }
}

/// A layer whose bytes are all written and whose blob matched.
pub(super) struct Written {
    pub(super) builder: LayerBuilder,
    pub(super) index: LayerIndex,
}

impl Written {
    pub(super) fn publish(self, store: &Store) -> Result<Arc<Layer>, ImageError> {
        Ok(self.builder.finish(store, &self.index, true)?)
    }
}
