//! Cuts a tar where its files begin, and lists them.
//!
//! A segment is headers, or a piece of a file. What follows a piece (padding, and the headers of the next entries)
//! goes into a segment of its own where the dialect says where pieces end, and into the piece's otherwise: readers
//! stop where the piece does, and a header alone compresses badly.
//!
//! For eStargz the tar changes: it gets a landmark, and what an earlier conversion put in, the end marker and whatever
//! follows that are left out; the table comes last, and is not made here.

use std::collections::{HashMap, VecDeque};

use glowplug_tarwalk::{Entry, Limits, TarError, Walker, normalise};
use glowplug_toc::zstd_chunked::{TarSplit, TarSplitSection};
use glowplug_toc::{Dialect, TocEntry, TocError};

use super::batches::{Batches, Gone};
use super::entry::{BLOCK_BYTES, is_estargz_own, landmark, listed};

/// Headers that stand in one segment at most, in bytes: behind a piece of a file whoever reads that fetches them,
/// too. Where they are cut depends on nothing but the tar.
const HEADERS_BYTES: usize = 256 << 10;
/// Bytes behind the end marker that a tar-split is kept for.
const REST_BYTES: u64 = 1 << 20;

/// Why cutting stopped.
#[derive(Debug)]
pub(super) enum Stop {
    /// Nobody wants more.
    Gone,
    /// It is no tar.
    Tar(TarError),
    /// An entry cannot be listed.
    Entry {
        /// Its path as written.
        path: Vec<u8>,
        /// What stands in the way.
        what: String,
    },
    /// No memory for a compressor.
    Toc(TocError),
}

impl From<Gone> for Stop {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

/// What is known of a tar that was cut.
pub(super) struct Listed {
    /// The entries, in order, without their chunks; nothing in place of one that a later entry replaces.
    pub(super) entries: Vec<Option<TocEntry>>,
    /// For containers/storage, unless there is something that it cannot say.
    pub(super) tar_split: Option<TarSplitSection>,
}

/// Cuts and lists.
pub(super) struct TableCutter {
    dialect: Dialect,
    chunk_bytes: usize,
    batches: Batches,
    walker: Walker,
    /// Offset in the tar of the next byte to be cut.
    at: u64,
    /// Bytes that were kept.
    kept: u64,
    /// What comes at which place, in order.
    coming: VecDeque<Coming>,
    entries: Vec<Option<TocEntry>>,
    /// Numbers of the entries by their normalised paths.
    by_path: HashMap<Vec<u8>, usize>,
    tar_split: Option<TarSplit>,
    /// Offset up to which the tar-split has all.
    split_at: u64,
}

/// What begins at an offset.
#[derive(Debug, Clone, Copy)]
struct Coming {
    start: u64,
    end: u64,
    what: What,
}

#[derive(Debug, Clone, Copy)]
enum What {
    /// What follows the headers of an entry: the payload, or nothing.
    Payload(usize),
    /// An entry, its padding included, that is left out.
    LeftOut,
}

impl TableCutter {
    pub(super) fn new(dialect: Dialect, chunk_bytes: u64, batches: Batches) -> Result<Self, Stop> {
        let is_storage = dialect == Dialect::Storage;
        let tar_split = is_storage.then(TarSplit::new).transpose().map_err(Stop::Toc)?;
        Ok(Self {
            dialect,
            chunk_bytes: usize::try_from(chunk_bytes).unwrap_or(usize::MAX),
            batches,
            walker: Walker::new(Limits::default()),
            at: 0,
            kept: 0,
            coming: VecDeque::new(),
            entries: Vec::new(),
            by_path: HashMap::new(),
            tar_split,
            split_at: 0,
        })
    }

    fn is_estargz(&self) -> bool {
        self.dialect == Dialect::Estargz
    }

    /// Puts the landmark of that name, of eStargz, behind what has come, which ends with an entry.
    pub(super) fn landmark(&mut self, name: &str) -> Result<(), Gone> {
        let (header, content, entry) = landmark(name);
        let number = self.entries.len();
        self.batches.append(&header);
        self.cut_headers(0)?;
        self.batches.close()?;
        self.batches.begin_chunk(number, 0);
        self.batches.append_chunk(&content);
        self.batches.end_file();
        self.batches.append(&[0; BLOCK_BYTES as usize - 1]);
        self.by_path.insert(entry.name.clone(), number);
        self.entries.push(Some(entry));
        Ok(())
    }

    /// Takes the next bytes of the tar.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        if self.is_estargz() && self.walker.is_over() {
            return Ok(());
        }
        let mut found = Vec::new();
        self.walker.push(bytes, &mut |entry| found.push(entry)).map_err(Stop::Tar)?;
        for entry in found {
            self.entry(&entry).map_err(|what| Stop::Entry { path: entry.path, what })?;
        }
        let mut rest = bytes;
        // An entry may be without contents at the very end of the piece.
        while !rest.is_empty() || self.coming.front().is_some_and(|coming| coming.end <= self.at) {
            rest = match self.coming.front().copied() {
                Some(coming) if coming.start <= self.at => self.take(coming, rest)?,
                next => {
                    let (headers, rest) = split(rest, next.map_or(u64::MAX, |next| next.start - self.at));
                    self.batches.append(headers);
                    self.at += headers.len() as u64;
                    self.kept += headers.len() as u64;
                    rest
                }
            };
        }
        self.relieve()?;
        Ok(())
    }

    /// Learns of an entry whose headers are complete; the bytes before `self.at` are cut already.
    fn entry(&mut self, entry: &Entry) -> Result<(), String> {
        let path = normalise(&entry.path).map_err(|error| error.to_string())?;
        let payload_end =
            entry.extents.last().map_or(entry.payload_offset, |last| last.stream_offset + last.len);
        if self.is_estargz() && is_estargz_own(&path) {
            let start = entry.header_offset.max(self.at);
            self.take_back(start - entry.header_offset);
            let end = payload_end.next_multiple_of(BLOCK_BYTES);
            self.coming.push_back(Coming { start, end, what: What::LeftOut });
            return Ok(());
        }
        let listed = listed(entry)?;
        let number = self.entries.len();
        // A later entry of the same path is the one that counts, as when it is unpacked.
        if let Some(earlier) = self.by_path.insert(path, number) {
            self.entries[earlier] = None;
        }
        self.entries.push(Some(listed));
        let what = What::Payload(number);
        self.coming.push_back(Coming { start: entry.payload_offset, end: payload_end, what });
        Ok(())
    }

    /// Takes the last bytes back that were kept. They are in the open segment: see [`Self::relieve`].
    fn take_back(&mut self, bytes: u64) {
        self.kept -= bytes;
        self.batches.truncate(self.batches.open().len() - bytes as usize);
    }

    /// Takes of `rest` what belongs to `coming`, which has begun, and gives what is behind it.
    fn take<'a>(&mut self, coming: Coming, rest: &'a [u8]) -> Result<&'a [u8], Gone> {
        let begins = coming.start == self.at;
        let (mut part, rest) = split(rest, coming.end - self.at);
        match coming.what {
            What::LeftOut => self.at += part.len() as u64,
            What::Payload(number) => {
                if begins {
                    self.begin(coming, number)?;
                }
                self.kept += part.len() as u64;
                while !part.is_empty() {
                    let room = self.chunk_bytes - self.batches.chunk_len();
                    let (piece, later) = part.split_at(room.min(part.len()));
                    self.batches.append_chunk(piece);
                    if let Some(tar_split) = &mut self.tar_split {
                        tar_split.payload(piece);
                    }
                    self.at += piece.len() as u64;
                    part = later;
                    if self.batches.chunk_len() == self.chunk_bytes && self.at < coming.end {
                        self.batches.close()?;
                        self.batches.begin_chunk(number, self.at - coming.start);
                    }
                }
                if self.at == coming.end && coming.end > coming.start {
                    self.batches.end_file();
                    // This dialect says where the frame of a piece ends.
                    if self.dialect == Dialect::Storage {
                        self.batches.close()?;
                    }
                }
            }
        }
        if self.at == coming.end {
            self.coming.pop_front();
        }
        Ok(rest)
    }

    /// The headers of entry `number` are complete, its contents begin.
    fn begin(&mut self, coming: Coming, number: usize) -> Result<(), Gone> {
        let headers = self.since_split();
        self.tar_split = match (self.tar_split.take(), headers, &self.entries[number]) {
            (Some(mut tar_split), Some(headers), Some(entry)) => {
                tar_split.header(&self.batches.open()[headers..], entry);
                Some(tar_split)
            }
            _ => None,
        };
        self.split_at = coming.end;
        self.cut_headers(0)?;
        if coming.end > coming.start {
            self.batches.close()?;
            self.batches.begin_chunk(number, 0);
        }
        Ok(())
    }

    /// Where in the open segment the bytes begin that the tar-split does not have yet; nothing if some of them are
    /// gone.
    fn since_split(&self) -> Option<usize> {
        self.batches.open().len().checked_sub(usize::try_from(self.at.checked_sub(self.split_at)?).ok()?)
    }

    /// Cuts off headers that have come, so that many of them do not fill the memory. What may yet turn out to be the
    /// beginning of an entry or of the end marker stays: both may be left out. So does what the tar-split wants.
    fn relieve(&mut self) -> Result<(), Gone> {
        let settled = self.walker.settled().min(self.at);
        if self.is_estargz() {
            if self.walker.is_over() {
                self.take_back(self.at - settled);
                return Ok(());
            }
            return self.cut_headers(self.at - settled);
        }
        if self.tar_split.is_some() {
            // Bytes of no entry, and of no end, cannot be said.
            let stray = self.coming.is_empty() && settled.saturating_sub(self.split_at) >= BLOCK_BYTES;
            let rest = self.at.saturating_sub(self.split_at);
            if stray || (self.walker.is_over() && rest > REST_BYTES) {
                self.tar_split = None;
            } else {
                return self.cut_headers(rest);
            }
        }
        self.cut_headers(0)
    }

    /// Ends segments of headers that are as long as they may be, but for the last `held` bytes.
    fn cut_headers(&mut self, held: u64) -> Result<(), Gone> {
        loop {
            let full = self.batches.chunk_len() + HEADERS_BYTES;
            let beyond = self.batches.open().len().saturating_sub(full) as u64;
            if beyond == 0 || beyond < held {
                return Ok(());
            }
            self.batches.close_at(full)?;
        }
    }

    /// The tar is complete.
    pub(super) fn finish(mut self) -> Result<Listed, Stop> {
        let settled = self.walker.settled().min(self.at);
        if self.is_estargz() {
            if !self.walker.is_over() {
                self.take_back(self.at - settled);
            }
            let padding = self.kept.next_multiple_of(BLOCK_BYTES) - self.kept;
            self.batches.append(&[0; BLOCK_BYTES as usize][..padding as usize]);
        }
        let rest = self.since_split().filter(|_| settled.saturating_sub(self.split_at) < BLOCK_BYTES);
        let tar_split = match (self.tar_split.take(), rest) {
            (Some(tar_split), Some(rest)) => tar_split.finish(&self.batches.open()[rest..]).ok(),
            _ => None,
        };
        self.cut_headers(0)?;
        self.walker.finish().map_err(Stop::Tar)?;
        self.batches.finish()?;
        Ok(Listed { entries: self.entries, tar_split })
    }
}

/// The first `most` bytes, and the others.
fn split(bytes: &[u8], most: u64) -> (&[u8], &[u8]) {
    bytes.split_at(usize::try_from(most).unwrap_or(usize::MAX).min(bytes.len()))
}
