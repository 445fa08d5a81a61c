//! The tar on its way to be cut: as it comes out of the blob, or put together from one that lies on the disk.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::mpsc::SyncSender;

use glowplug_base::ByteRange;

use crate::arrange::Piece;
use crate::spool::SpooledTar;

/// Bytes that are read and passed on at once.
const PASS_BYTES: usize = 256 << 10;
/// What a tar ends with.
const END_MARKER: [u8; 1024] = [0; 1024];

/// What goes to be cut.
#[derive(Debug)]
pub(super) enum Fed {
    /// The next bytes of the tar.
    Bytes(Vec<u8>),
    /// All before this is to be fetched first.
    Landmark,
    /// The tar is complete.
    End,
}

/// Sends what `piece` says of `tar`, or all of it as it is. Whoever cuts and wants no more knows why. Blocks.
pub(super) fn feed(tar: &SpooledTar, piece: Option<&Piece>, cutter: &SyncSender<Fed>) -> io::Result<()> {
    let mut feeder = Feeder { file: File::open(tar.path())?, len: tar.len(), cutter, bytes: Vec::new() };
    match feeder.run(piece) {
        Ok(()) | Err(Stop::Gone) => Ok(()),
        Err(Stop::Io(error)) => Err(error),
    }
}

enum Stop {
    /// Nobody wants more.
    Gone,
    Io(io::Error),
}

/// Collects bytes, so that small files do not cost a turn of the queue each.
struct Feeder<'a> {
    file: File,
    len: u64,
    cutter: &'a SyncSender<Fed>,
    bytes: Vec<u8>,
}

impl Feeder<'_> {
    fn run(&mut self, piece: Option<&Piece>) -> Result<(), Stop> {
        let Some(Piece { ranges, ordered }) = piece else {
            self.range(ByteRange::new(0, self.len))?;
            return self.send(Fed::End);
        };
        let (first, rest) = ranges.split_at(ordered.unwrap_or(0));
        first.iter().try_for_each(|range| self.range(*range))?;
        if ordered.is_some() {
            self.send(Fed::Landmark)?;
        }
        rest.iter().try_for_each(|range| self.range(*range))?;
        self.bytes.extend_from_slice(&END_MARKER);
        self.send(Fed::End)
    }

    fn range(&mut self, range: ByteRange) -> Result<(), Stop> {
        let mut at = range.start;
        while at < range.end {
            let from = self.bytes.len();
            let len = (range.end - at).min((PASS_BYTES - from) as u64);
            self.bytes.resize(from + len as usize, 0);
            // Padding that the tar lacks at its end is there as the zeros that it stands for.
            let there = self.len.saturating_sub(at).min(len) as usize;
            self.file.read_exact_at(&mut self.bytes[from..from + there], at).map_err(Stop::Io)?;
            at += len;
            if self.bytes.len() == PASS_BYTES {
                self.pass()?;
            }
        }
        Ok(())
    }

    /// Sends something behind the bytes that were collected.
    fn send(&mut self, what: Fed) -> Result<(), Stop> {
        self.pass()?;
        self.cutter.send(what).map_err(|_| Stop::Gone)
    }

    fn pass(&mut self) -> Result<(), Stop> {
        let bytes = std::mem::replace(&mut self.bytes, Vec::with_capacity(PASS_BYTES));
        self.cutter.send(Fed::Bytes(bytes)).map_err(|_| Stop::Gone)
    }
}
