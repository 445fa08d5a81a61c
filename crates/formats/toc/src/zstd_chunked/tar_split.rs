//! tar-split: all bytes of a tar but the contents of its files, from which whoever has the files can put the tar
//! together again, byte for byte.
//!
//! containers/storage keeps it with a layer, and wants it in a zstd:chunked layer before it fetches one file by file.
//! It also holds it against the table: for every header it must read there what the table says, and a difference makes
//! it refuse the image, where a layer without a tar-split is only read as a whole. So [`TarSplit`] promises either a
//! tar-split that agrees with the table, or none: it reads each header as Go's `archive/tar` does and gives up on what
//! the table cannot repeat (other times than that of the last change, bits of the file type in the mode, global pax
//! headers, sparse files) and on what the format does not have (a path twice).
//!
//! The form is one JSON document a line, compressed with zstd: *segments* with raw bytes, of which each holds the
//! padding of the file before and all headers of one entry, and between them one *file* for each entry, with the CRC-64
//! of its contents.
//!
//! Source of the format: `tar/asm` and `tar/storage` of vbatts/tar-split; what is checked is in
//! `pkg/chunked/compression_linux.go` of containers/storage.

use std::collections::HashSet;
use std::fmt;
use std::io::Write as _;

use serde::Serialize;
use zstd::stream::write::Encoder;

use super::crc64::Crc64;
use super::{LEVEL, header};
use crate::base64;
use crate::files::{TocEntry, TocError, to_go_json};

/// Headers and payloads begin at multiples of this.
const BLOCK_BYTES: usize = 512;
/// Types of lines.
const FILE: u8 = 1;
const SEGMENT: u8 = 2;

/// A tar-split that is being made while the tar goes by.
///
/// In turn: [`Self::header`] for each entry, then [`Self::payload`] as often as needed, and at last [`Self::finish`].
/// Every byte of the tar is given to one of them.
pub struct TarSplit {
    encoder: Encoder<'static, Vec<u8>>,
    uncompressed: u64,
    lines: u64,
    entries: usize,
    /// Paths so far: the format has each once.
    paths: HashSet<Vec<u8>>,
    /// The entry whose payload goes by.
    open: Option<Open>,
    /// Why there will be none.
    flaw: Option<&'static str>,
}

struct Open {
    name: String,
    expected: u64,
    size: u64,
    crc: Crc64,
}

/// A tar-split, ready to be put into a layer by [`tail`](super::tail).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TarSplitSection {
    /// Entries of the tar.
    pub(super) entries: usize,
    /// The lines, compressed.
    pub(super) compressed: Vec<u8>,
    /// Length of the lines in bytes.
    pub(super) uncompressed: u64,
}

impl fmt::Debug for TarSplit {
    /// Without the encoder, which has nothing to tell.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TarSplit")
            .field("entries", &self.entries)
            .field("flaw", &self.flaw)
            .finish_non_exhaustive()
    }
}

/// One line.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: u8,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    size: u64,
    /// In base64. An empty file has no checksum.
    payload: Option<String>,
    position: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl TarSplit {
    /// A tar-split of which nothing is made yet.
    ///
    /// # Errors
    /// [`TocError::Zstd`] if there is no memory for a compressor.
    pub fn new() -> Result<Self, TocError> {
        Ok(Self {
            encoder: Encoder::new(Vec::new(), LEVEL).map_err(TocError::Zstd)?,
            uncompressed: 0,
            lines: 0,
            entries: 0,
            paths: HashSet::new(),
            open: None,
            flaw: None,
        })
    }

    /// Takes all bytes between the payload of the entry before (or the start of the tar) and the payload of this one:
    /// padding and headers. `entry` is what the table says of it; only what a header also says is looked at.
    pub fn header(&mut self, bytes: &[u8], entry: &TocEntry) {
        if let Err(flaw) = self.try_header(bytes, entry) {
            self.flaw.get_or_insert(flaw);
        }
    }

    fn try_header(&mut self, bytes: &[u8], entry: &TocEntry) -> Result<(), &'static str> {
        if self.flaw.is_some() {
            return Ok(());
        }
        let headers = self.close()?.strip_from(bytes)?;
        header::check(headers, entry)?;
        let path = glowplug_tarwalk::normalise(&entry.name).map_err(|_| "a path that climbs")?;
        if !self.paths.insert(path) {
            return Err("a path that is there twice");
        }
        self.segment(bytes)?;
        let name = String::from_utf8(entry.name.clone()).map_err(|_| "a name that is not UTF-8")?;
        self.open = Some(Open { name, expected: entry.size, size: 0, crc: Crc64::default() });
        self.entries += 1;
        Ok(())
    }

    /// Takes the next bytes of the payload of the last entry.
    pub fn payload(&mut self, bytes: &[u8]) {
        if let Some(open) = &mut self.open {
            open.size += bytes.len() as u64;
            open.crc.update(bytes);
        }
    }

    /// Takes what follows the last payload: padding, the end marker, and whatever is behind it.
    ///
    /// # Errors
    /// [`TocError::NoTarSplit`] if the tar has something that cannot be said; then the layer can do without.
    pub fn finish(mut self, rest: &[u8]) -> Result<TarSplitSection, TocError> {
        self.end(rest).map_err(TocError::NoTarSplit)?;
        let compressed = self.encoder.finish().map_err(TocError::Zstd)?;
        Ok(TarSplitSection { entries: self.entries, compressed, uncompressed: self.uncompressed })
    }

    fn end(&mut self, rest: &[u8]) -> Result<(), &'static str> {
        if let Some(flaw) = self.flaw {
            return Err(flaw);
        }
        let padding = self.close()?;
        if rest.is_empty() {
            return Ok(());
        }
        let marker = padding.strip_from(rest)?;
        // As Go ends: at the end of the data, there behind one block of zeros, or anywhere behind two.
        let read = &marker[..marker.len().min(2 * BLOCK_BYTES)];
        if !matches!(marker.len(), 0 | BLOCK_BYTES | 1024..) || read.iter().any(|&byte| byte != 0) {
            return Err("an end that is none");
        }
        self.segment(rest)
    }

    /// Writes the line of the entry whose payload went by, and gives the padding that follows.
    fn close(&mut self) -> Result<Padding, &'static str> {
        let Some(open) = self.open.take() else { return Ok(Padding(0)) };
        if open.size != open.expected {
            return Err("a file whose length is not that of its payload");
        }
        let checksum = (open.size > 0).then(|| base64::encode(&open.crc.bytes()));
        self.line(FILE, &open.name, open.size, checksum)?;
        Ok(Padding((open.size.next_multiple_of(BLOCK_BYTES as u64) - open.size) as usize))
    }

    fn segment(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        self.line(SEGMENT, "", 0, Some(base64::encode(bytes)))
    }

    fn line(&mut self, kind: u8, name: &str, size: u64, payload: Option<String>) -> Result<(), &'static str> {
        let mut line = to_go_json(&Line { kind, name, size, payload, position: self.lines }, false);
        line.push(b'\n');
        self.encoder.write_all(&line).map_err(|_| "the compressor failed")?;
        self.lines += 1;
        self.uncompressed += line.len() as u64;
        Ok(())
    }
}

/// How many bytes stand between a payload and the next header.
struct Padding(usize);

impl Padding {
    fn strip_from(self, bytes: &[u8]) -> Result<&[u8], &'static str> {
        bytes.get(self.0..).ok_or("a file without its padding")
    }
}
