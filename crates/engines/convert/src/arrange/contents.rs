//! What a tar holds, listed while it goes by.

use glowplug_base::ByteRange;
use glowplug_tarwalk::{self as tarwalk, Whiteout, normalise, whiteout};

use super::{Entry, Kind, movable};

/// Bytes of a block of a tar.
const BLOCK_BYTES: u64 = 512;

/// What a tar holds.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(super) entries: Vec<Entry>,
    fixed: Option<&'static str>,
}

impl Contents {
    /// Whether these entries are to come first, or the tar is longer than it may be.
    pub(crate) fn has_to_change(&self, first: &[usize], most_bytes: Option<u64>) -> bool {
        let bytes: u64 = self.entries.iter().map(|entry| entry.bytes.len()).sum();
        !first.is_empty() || most_bytes.is_some_and(|most| bytes > most)
    }

    /// Why the tar has to stay as it is, if it has to. The lowest layer of an image has nothing below it, so what hides
    /// there takes from what the layer itself has brought so far.
    pub(crate) fn fixed(&self, lowest: bool) -> Option<&'static str> {
        let hides = |entry: &Entry| matches!(entry.kind, Kind::Hides(_));
        let whiteouts = "the lowest layer has whiteouts";
        self.fixed.or_else(|| (lowest && self.entries.iter().any(hides)).then_some(whiteouts))
    }
}

/// Lists entries.
#[derive(Debug)]
pub(crate) struct Lister {
    /// Says of a normalised path that the entry is to be left out.
    leave_out: fn(&[u8]) -> bool,
    contents: Contents,
    /// Where the last entry ends.
    end: u64,
}

impl Lister {
    /// Nothing yet.
    pub(crate) fn new(leave_out: fn(&[u8]) -> bool) -> Self {
        Self { leave_out, contents: Contents::default(), end: 0 }
    }

    /// Takes the next entry.
    pub(crate) fn take(&mut self, entry: &tarwalk::Entry) {
        self.reach(entry.header_offset);
        let payload_end =
            entry.extents.last().map_or(entry.payload_offset, |last| last.stream_offset + last.len);
        self.end = payload_end.next_multiple_of(BLOCK_BYTES);
        let Ok(path) = normalise(&entry.path) else { return self.fix("a path in it climbs") };
        if (self.leave_out)(&path) {
            return;
        }
        let kind = match (whiteout(&path), entry.kind) {
            (Whiteout::None, tarwalk::Kind::Directory) => Kind::Directory,
            (Whiteout::None, tarwalk::Kind::Hardlink) => match normalise(&entry.link) {
                Ok(target) => Kind::Link(target),
                Err(_) => return self.fix("a hard link in it climbs"),
            },
            (Whiteout::None, _) => Kind::File,
            (hides, _) => Kind::Hides(hides),
        };
        self.contents.entries.push(Entry {
            path,
            kind,
            bytes: ByteRange::new(entry.header_offset, self.end),
        });
    }

    /// Says that what follows cannot be read.
    pub(crate) fn give_up(&mut self) {
        self.fix("it is no tar to its end");
    }

    /// The tar is complete; its end marker, or its end, is at `end`.
    pub(crate) fn finish(mut self, end: u64) -> Contents {
        // The last padding may be missing.
        self.reach(end.max(self.end));
        if self.contents.fixed.is_none() {
            self.contents.fixed = movable::flaw(&self.contents.entries);
        }
        self.contents
    }

    /// Something begins at `start`: what is before it and belongs to no entry might speak of all that follow.
    fn reach(&mut self, start: u64) {
        if start != self.end {
            self.fix("it has headers that belong to no entry");
        }
    }

    fn fix(&mut self, why: &'static str) {
        self.contents.fixed.get_or_insert(why);
    }
}
