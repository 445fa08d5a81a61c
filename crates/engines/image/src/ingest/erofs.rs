//! The write stage of a layer that is an EROFS image: keeps what comes until the image's own tables say what it holds, then
//! places files in the data file and closes spans, as [`super::writer`] does for archives.
//!
//! ```text
//! chunks, cuts --> scratch file --contents()--> entries, places --> span by span into the data file
//!                  (only until the metadata is here; tools write it before most of the data)
//! ```
//!
//! The image is the stream, so a span of a blob that is not compressed is a range of the image itself. Metadata is between
//! the files and takes no room in the data file. Nothing in the blob vouches for its pieces, so that the digests of spans are taken
//! here, from bytes that are readable only when the whole blob has matched its digest.

mod entries;
mod places;

use std::sync::mpsc::Receiver;

use glowplug_base::{ByteRange, Digest};
use glowplug_erofs::{ContentsError, Member, ReadLimits, Source, contents};
use glowplug_layer::{
    Check, Excess, Extent, LayerIndex, Limits, Origin, Recipe, Span, Tally, boundary, place,
};
use glowplug_store::{LayerBuilder, Scratch, StoreError};

use super::decoder::{CHUNK_BYTES, Piece, Way};
use super::writer::Written;
use crate::{ErofsError, ImageError};

/// As many files as an index may have; a gigabyte for their names and attributes; chunks of 4 KiB for 64 GiB.
const LIMITS: ReadLimits =
    ReadLimits { inodes: 4_000_000, entries: 8_000_000, chunks: 16 << 20, bytes: 1 << 30 };

pub(super) struct Writer {
    builder: LayerBuilder,
    index: LayerIndex,
    tally: Tally,
}

impl Writer {
    pub(super) fn new(builder: LayerBuilder, blob: Digest, blob_size: u64) -> Self {
        let index = LayerIndex {
            blob,
            blob_size,
            stream_size: 0,
            data_size: 0,
            origin: Origin::Erofs,
            entries: Vec::new(),
            spans: Vec::new(),
            chunks: Vec::new(),
            prefetch: Vec::new(),
        };
        Self { builder, index, tally: Tally::new(Limits::default()) }
    }

    /// Takes pieces until the end; nothing comes of a queue that closes without one, for the decoder failed then.
    pub(super) fn run(self, pieces: &Receiver<Piece>) -> Result<Option<Written>, ImageError> {
        let mut spool = Spool::new(self.builder.scratch()?);
        let mut ended = false;
        let mut members = None;
        while members.is_none() {
            match pieces.recv() {
                Ok(Piece::Bytes(bytes)) => {
                    spool.scratch.push(&bytes)?;
                    members = self.read(&mut spool, false)?;
                }
                Ok(Piece::Cut { blob, way }) => spool.cuts.push((spool.scratch.bytes(), blob, way)),
                Ok(Piece::End) => {
                    ended = true;
                    members = self.read(&mut spool, true)?;
                }
                Err(_) => return Ok(None),
            }
        }
        let mut placer = self.begin(members.unwrap_or_default())?;
        spool.replay(&mut placer)?;
        while !ended {
            match pieces.recv() {
                Ok(Piece::Bytes(bytes)) => placer.bytes(&bytes)?,
                Ok(Piece::Cut { blob, way }) => placer.cut(blob, way)?,
                Ok(Piece::End) => ended = true,
                Err(_) => return Ok(None),
            }
        }
        placer.finish().map(Some)
    }

    /// What the image holds, if what is here of it tells; when `all` is here, it has to.
    fn read(&self, spool: &mut Spool, all: bool) -> Result<Option<Vec<Member>>, ImageError> {
        if spool.scratch.bytes() < spool.wanted && !all {
            return Ok(None);
        }
        match (contents(spool, &LIMITS), spool.trouble.take()) {
            (_, Some(error)) => Err(error.into()),
            (Ok(members), None) => Ok(Some(members)),
            (Err(ContentsError::Absent { end }), None) if !all => {
                // However much is missing, reading again costs no more than reading did.
                let here = spool.scratch.bytes();
                spool.wanted = end.max(here + here / 2);
                Ok(None)
            }
            (Err(error), None) => Err(self.refused(error.into())),
        }
    }

    fn refused(&self, source: ErofsError) -> ImageError {
        ImageError::Erofs { layer: self.index.blob, source }
    }

    fn too_large(&self, excess: Excess) -> ImageError {
        ImageError::TooLarge { layer: self.index.blob, excess }
    }

    /// Gives files their places: from here on bytes can go there.
    fn begin(mut self, members: Vec<Member>) -> Result<Placer, ImageError> {
        let entries = entries::entries(members).map_err(|error| self.refused(error))?;
        for entry in &entries {
            self.tally.entry(entry).map_err(|excess| self.too_large(excess))?;
        }
        self.index.entries = entries;
        let pieces = places::give(&mut self.index).map_err(|error| self.refused(error))?;
        self.tally.data_file(self.index.data_size).map_err(|excess| self.too_large(excess))?;
        Ok(Placer { writer: self, pieces, held: Vec::new() })
    }
}

/// What came before it was known what the image holds.
struct Spool {
    scratch: Scratch,
    /// Where spans end in the stream, and how they are had.
    cuts: Vec<(u64, ByteRange, Way)>,
    /// How many bytes there must be before it is worth reading again.
    wanted: u64,
    /// Why bytes that are here could not be read.
    trouble: Option<StoreError>,
}

impl Source for Spool {
    fn read(&mut self, offset: u64, into: &mut [u8]) -> bool {
        let is_here = offset.checked_add(into.len() as u64).is_some_and(|end| end <= self.scratch.bytes());
        is_here && {
            let read = self.scratch.read_at(into, offset);
            read.map_err(|error| self.trouble = Some(error)).is_ok()
        }
    }
}

impl Spool {
    const fn new(scratch: Scratch) -> Self {
        Self { scratch, cuts: Vec::new(), wanted: 0, trouble: None }
    }

    /// Passes on what was kept, as it came.
    fn replay(self, placer: &mut Placer) -> Result<(), ImageError> {
        let mut cuts = self.cuts.into_iter().peekable();
        let mut at = 0;
        loop {
            while let Some((_, blob, way)) = cuts.next_if(|(end, ..)| *end <= at) {
                placer.cut(blob, way)?;
            }
            let end = cuts.peek().map_or(self.scratch.bytes(), |(end, ..)| *end);
            if at == end {
                return Ok(());
            }
            let mut bytes = vec![0; (end - at).min(CHUNK_BYTES as u64) as usize];
            self.scratch.read_at(&mut bytes, at)?;
            placer.bytes(&bytes)?;
            at += bytes.len() as u64;
        }
    }
}

/// Puts bytes where they belong.
struct Placer {
    writer: Writer,
    /// What of the stream goes to the data file, in order.
    pieces: Vec<Extent>,
    /// Bytes of the span that is open.
    held: Vec<u8>,
}

impl Placer {
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        self.held.extend_from_slice(bytes);
        let checked = self.writer.tally.open_span(self.held.len() as u64, 0);
        checked.map_err(|excess| self.writer.too_large(excess))
    }

    fn cut(&mut self, blob: ByteRange, way: Way) -> Result<(), ImageError> {
        let recipe = match way {
            Way::Plain(recipe) => recipe,
            Way::Deflate { bits, window } => {
                Recipe::Deflate { bits, window: self.writer.builder.add_window(&window)? }
            }
        };
        let index = &mut self.writer.index;
        let stream = ByteRange::at(index.stream_size, self.held.len() as u64);
        let data_start = index.spans.last().map_or(0, |span| span.data.end);
        let data = ByteRange::new(data_start, boundary(&self.pieces, index.data_size, stream.end));
        index.stream_size = stream.end;
        let mut span = Span { stream, blob, data, recipe, check: Check::Data(Digest::of(&[])) };
        // Before memory is taken for it.
        let counted = self.writer.tally.span(&span);
        counted.map_err(|excess| self.writer.too_large(excess))?;
        let index = &mut self.writer.index;
        let number = index.spans.len();
        index.spans.push(span.clone());
        let image = place(index, &self.pieces, number, &self.held);
        span.check = Check::Data(Digest::of(&image));
        self.writer.builder.write_at(&image, data.start)?;
        drop(image);
        self.writer.index.spans[number] = span;
        self.held.clear();
        Ok(())
    }

    fn finish(self) -> Result<Written, ImageError> {
        let Writer { builder, index, .. } = self.writer;
        if self.pieces.last().is_some_and(|last| last.stream + last.len > index.stream_size) {
            return Err(ImageError::Erofs { layer: index.blob, source: ErofsError::Short });
        }
        Ok(Written { builder, index })
    }
}
