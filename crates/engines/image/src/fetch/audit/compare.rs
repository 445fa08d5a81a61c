//! The archive as it goes by, against the entries of an index, and its files against what the index says of their bytes.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use glowplug_base::{ByteRange, Digest};
use glowplug_layer::{Chunk, Entry, Extent, LayerIndex, Origin};
use glowplug_store::{Claim, Layer};
use glowplug_tarwalk::{Limits, Walker, normalise};

use super::{Contradiction, Trouble};
use crate::claim::{difference, owner};
use crate::error::chain;
use crate::toc::is_hidden;

/// What is said of a file whose bytes are not those that the index leads to.
const OTHER_BYTES: &str = "its bytes are others";

/// The comparison of one layer.
pub(super) struct Comparison {
    layer: Arc<Layer>,
    /// Whether the bytes of files are compared as well: they do not come out of the store.
    contents: bool,
    walker: Walker,
    /// The last entry of each path, which is the one that is seen.
    by_path: HashMap<Vec<u8>, usize>,
    /// Entries of the index that the archive has, too.
    met: Vec<bool>,
    /// The entry that comes next if both are in the same order.
    next: usize,
    /// What of the files that began is still to come, in the order of the archive.
    coming: VecDeque<Expected>,
    /// Bytes so far of the first of them.
    held: Vec<u8>,
    /// Offset in the archive.
    at: u64,
    entries: usize,
    first: Option<String>,
    /// Whether every file shows bytes that are its own.
    is_readable: bool,
}

/// A piece of a file that is expected in the archive.
#[derive(Clone, Copy)]
struct Expected {
    entry: usize,
    archive: ByteRange,
    content: Content,
}

#[derive(Clone, Copy)]
enum Content {
    /// A chunk with this digest, and the span that is nothing but this chunk.
    Chunk(Digest, Option<usize>),
    /// The table says that there is nothing but zeros.
    Zeros,
    /// What the data file has from this offset on.
    Stored(u64),
}

impl Comparison {
    /// With an archive that was fetched.
    pub(super) fn of_stream(layer: Arc<Layer>) -> Self {
        Self::new(layer, true)
    }

    /// With an archive that is put together from the store.
    pub(super) fn of_archive(layer: Arc<Layer>) -> Self {
        Self::new(layer, false)
    }

    fn new(layer: Arc<Layer>, contents: bool) -> Self {
        let entries = &layer.index().entries;
        Self {
            walker: Walker::new(Limits::default()),
            by_path: entries.iter().enumerate().map(|(number, entry)| (entry.path.clone(), number)).collect(),
            met: vec![false; entries.len()],
            next: 0,
            coming: VecDeque::new(),
            held: Vec::new(),
            at: 0,
            entries: 0,
            first: None,
            is_readable: true,
            contents,
            layer,
        }
    }

    /// Takes the next bytes of the archive.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        let mut found = Vec::new();
        let walked = self.walker.push(bytes, &mut |entry| found.push(entry));
        walked.map_err(|error| Trouble::Broken(error.to_string()))?;
        found.iter().for_each(|entry| self.entry(entry));
        let here = ByteRange::at(self.at, bytes.len() as u64);
        while let Some(expected) = self.coming.front().copied() {
            let part = expected.archive.intersect(&here);
            if part.is_empty() {
                break;
            }
            let piece = &bytes[(part.start - here.start) as usize..(part.end - here.start) as usize];
            let wrong = match expected.content {
                Content::Zeros => piece.iter().any(|byte| *byte != 0).then_some("there are no zeros"),
                Content::Stored(data) => {
                    let same = self.is_stored(data + (part.start - expected.archive.start), piece)?;
                    self.is_readable &= same;
                    (!same).then_some(OTHER_BYTES)
                }
                Content::Chunk(..) => {
                    self.held.extend_from_slice(piece);
                    None
                }
            };
            if let Some(what) = wrong {
                self.differs(expected.entry, what);
                self.coming.pop_front();
                continue;
            }
            if part.end < expected.archive.end {
                break;
            }
            self.coming.pop_front();
            self.chunk(&expected);
        }
        self.at = here.end;
        Ok(())
    }

    /// The archive is over.
    pub(super) fn finish(mut self) -> Result<Option<Contradiction>, Trouble> {
        let layer = self.layer.clone();
        for (number, entry) in layer.index().entries.iter().enumerate() {
            if !self.met[number] && self.by_path.get(&entry.path) == Some(&number) {
                self.is_readable &= self.is_table() || entry.extents.is_empty();
                self.note(format!("it shows {}, which the layer does not have", name(&entry.path)));
            }
        }
        let Self { walker, entries, first, is_readable, .. } = self;
        walker.finish().map_err(|error| Trouble::Broken(error.to_string()))?;
        Ok(first.map(|first| Contradiction { layer: layer.index().blob, entries, first, is_readable }))
    }

    /// Whether the index is a table that the layer carries: it says nothing of places in the archive, and its chunks have digests that
    /// the manifest vouches for.
    fn is_table(&self) -> bool {
        self.layer.index().origin == Origin::Toc
    }

    fn is_stored(&self, data: u64, piece: &[u8]) -> Result<bool, Trouble> {
        let mut stored = vec![0; piece.len()];
        self.layer.read_at(&mut stored, data).map_err(|error| Trouble::Unable(chain(&error)))?;
        Ok(stored == piece)
    }

    fn note(&mut self, reason: String) {
        self.entries += 1;
        self.first.get_or_insert(reason);
    }

    fn differs(&mut self, entry: usize, what: &str) {
        let layer = self.layer.clone();
        let path = name(&layer.index().entries[entry].path);
        self.note(format!("it is wrong about {path}: {what}"));
    }

    fn entry(&mut self, found: &glowplug_tarwalk::Entry) {
        // A name that no path can be made of is in no index either.
        let Ok(path) = normalise(&found.path) else {
            return self.note(format!("it hides {}", name(&found.path)));
        };
        if self.is_table() && is_hidden(&path) {
            return;
        }
        let layer = self.layer.clone();
        let entries = &layer.index().entries;
        let in_order = entries.get(self.next).is_some_and(|entry| entry.path == path);
        let Some(number) = in_order.then_some(self.next).or_else(|| self.by_path.get(&path).copied()) else {
            return self.note(format!("it hides {}", name(&path)));
        };
        (self.next, self.met[number]) = (number + 1, true);
        let entry = &entries[number];
        let misplaced = !self.is_table() && !is_in_place(found, entry);
        self.is_readable &= !misplaced;
        let what = difference(found, entry).or_else(|| owner_or_time(found, entry));
        if let Some(what) = what.or(misplaced.then_some("place in the archive")) {
            return self.differs(number, &format!("another {what}"));
        }
        if !self.contents {
            return;
        }
        if !self.is_table() {
            let stored = |extent: &Extent| Expected {
                entry: number,
                archive: ByteRange::at(extent.stream, extent.len),
                content: Content::Stored(extent.data),
            };
            self.coming.extend(entry.extents.iter().map(stored));
        } else if let [whole] = found.extents[..]
            && (whole.file_offset, whole.len) == (0, entry.size)
        {
            self.chunks(layer.index(), number, whole.stream_offset);
        }
    }

    /// Expects the chunks of a file whose first byte is at `start` in the archive.
    fn chunks(&mut self, index: &LayerIndex, number: usize, start: u64) {
        let entry = &index.entries[number];
        let mut end = 0;
        let zeros = |from: u64, to: u64, coming: &mut VecDeque<Expected>| {
            if from < to {
                let archive = ByteRange::new(start + from, start + to);
                coming.push_back(Expected { entry: number, archive, content: Content::Zeros });
            }
        };
        for extent in &entry.extents {
            zeros(end, extent.file, &mut self.coming);
            end = extent.file + extent.len;
            for chunk in chunks_in(index, extent) {
                let file = extent.file + (chunk.stream.start - extent.stream);
                let archive = ByteRange::at(start + file, chunk.stream.len());
                let content = Content::Chunk(chunk.digest, span_of(index, chunk));
                self.coming.push_back(Expected { entry: number, archive, content });
            }
        }
        zeros(end, entry.size, &mut self.coming);
    }

    /// A piece is complete.
    fn chunk(&mut self, complete: &Expected) {
        let Content::Chunk(digest, span) = complete.content else { return };
        let held = std::mem::take(&mut self.held);
        if Digest::of(&held) != digest {
            return self.differs(complete.entry, OTHER_BYTES);
        }
        if let Some(span) = span
            && !self.layer.is_present(span)
            && let Claim::Mine(ticket) = self.layer.claim(span)
            && let Err((Some(ticket), error)) = ticket.commit(&held)
        {
            // A full disk is no contradiction; whoever waits is told.
            let message = chain(&error);
            ticket.fail(glowplug_store::FlightError { message, errno: error.errno() });
        }
        // The buffer is used again.
        self.held = held;
        self.held.clear();
    }
}

/// Whether an index says of a file's bytes where the archive has them.
fn is_in_place(found: &glowplug_tarwalk::Entry, expected: &Entry) -> bool {
    let same = |(found, expected): (&glowplug_tarwalk::Extent, &Extent)| {
        (found.file_offset, found.stream_offset, found.len) == (expected.file, expected.stream, expected.len)
    };
    let (found, expected) = (&found.extents, &expected.extents);
    found.len() == expected.len() && found.iter().zip(expected).all(same)
}

/// The chunks that make up an extent.
fn chunks_in<'a>(index: &'a LayerIndex, extent: &Extent) -> &'a [Chunk] {
    let first = index.chunks.partition_point(|chunk| chunk.stream.start < extent.stream);
    let last = index.chunks.partition_point(|chunk| chunk.stream.start < extent.stream + extent.len);
    &index.chunks[first..last]
}

/// The span that is nothing but this chunk.
fn span_of(index: &LayerIndex, chunk: &Chunk) -> Option<usize> {
    let span = index.spans.partition_point(|span| span.stream.end <= chunk.stream.start);
    (index.spans.get(span)?.stream == chunk.stream).then_some(span)
}

/// What an audit can say of owners and times, with every header at hand.
fn owner_or_time(found: &glowplug_tarwalk::Entry, expected: &Entry) -> Option<&'static str> {
    if (owner(found.uid), owner(found.gid)) != (expected.uid, expected.gid) {
        Some("owner")
    } else if found.mtime_s != expected.mtime_s {
        // Tools that write tables cut the nanoseconds off, or do not.
        Some("time")
    } else {
        None
    }
}

fn name(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path))
}
