//! The presence journal: which spans of a layer are here, as an append-only file.
//!
//! ```text
//! 0   8  magic "GPPRESNT"
//! 8   4  version, little-endian
//! 12  4  CRC-32 of the index file that the span numbers belong to
//! 16  …  records of 40 bytes: span number (4), CRC-32 of number and digest (4), SHA-256 of the span's data (32)
//! ```
//!
//! A record is appended after the data it speaks of was synced. Later records of a span replace earlier ones; one with
//! an all-zero digest says that the span was found damaged and is gone. A torn tail fails its checksum and ends the reading. A
//! journal of another version or another index counts as empty: the spans are then fetched again.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use glowplug_base::Digest;

use crate::StoreError;

const MAGIC: &[u8; 8] = b"GPPRESNT";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 16;
const RECORD_BYTES: usize = 40;

/// The digest of a span that is gone.
const GONE: Digest = Digest::from_bytes([0; 32]);

/// A span that is here, or no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) span: u32,
    /// SHA-256 of the span's piece of the data file.
    pub(crate) data: Digest,
}

impl Record {
    /// The span was found damaged.
    pub(crate) const fn gone(span: u32) -> Self {
        Self { span, data: GONE }
    }

    /// The digest of the span's bytes; none when they are gone.
    pub(crate) fn digest(&self) -> Option<Digest> {
        (self.data != GONE).then_some(self.data)
    }

    fn encode(&self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        bytes[..4].copy_from_slice(&self.span.to_le_bytes());
        bytes[8..].copy_from_slice(self.data.as_bytes());
        let crc = Self::checksum(&bytes);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; RECORD_BYTES]) -> Option<Self> {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let mut digest = [0; 32];
        digest.copy_from_slice(&bytes[8..]);
        (word(4) == Self::checksum(bytes)).then(|| Self { span: word(0), data: Digest::from_bytes(digest) })
    }

    fn checksum(bytes: &[u8; RECORD_BYTES]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&bytes[..4]);
        hasher.update(&bytes[8..]);
        hasher.finalize()
    }
}

/// An open journal.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    header: [u8; HEADER_BYTES],
    /// Length up to which the file is known to be good.
    sound: u64,
}

impl Journal {
    /// Opens or begins the journal at `path` and returns the records it holds.
    pub(crate) fn open(path: &Path, index_crc: u32) -> Result<(Self, Vec<Record>), StoreError> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .map_err(|e| StoreError::io("open", path, e))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|e| StoreError::io("read", path, e))?;
        let mut journal = Self { path: path.to_owned(), file, header: header(index_crc), sound: 0 };
        if !bytes.starts_with(&journal.header) {
            journal.restart()?;
            return Ok((journal, Vec::new()));
        }
        let (chunks, _) = bytes[HEADER_BYTES..].as_chunks::<RECORD_BYTES>();
        let records: Vec<_> = chunks.iter().map_while(Record::decode).collect();
        journal.sound = (HEADER_BYTES + records.len() * RECORD_BYTES) as u64;
        if journal.sound != bytes.len() as u64 {
            journal.cut()?;
        }
        Ok((journal, records))
    }

    /// Appends records and syncs them. The data they speak of must be synced already.
    pub(crate) fn append(&mut self, records: &[Record]) -> Result<(), StoreError> {
        let mut bytes = if self.sound == 0 { self.header.to_vec() } else { Vec::new() };
        bytes.extend(records.iter().flat_map(Record::encode));
        let written = self.file.write_all(&bytes).map_err(|e| StoreError::io("append to", &self.path, e));
        let synced = written.and_then(|()| self.sync());
        match synced {
            Ok(()) => self.sound += bytes.len() as u64,
            // A half-written record would hide every later one.
            Err(_) => _ = self.cut(),
        }
        synced
    }

    /// Forgets every record, durably: to be called before the data goes. Needs no room on the disk unless the journal
    /// was of another index.
    pub(crate) fn restart(&mut self) -> Result<(), StoreError> {
        self.sound = self.sound.min(HEADER_BYTES as u64);
        self.cut()?;
        if self.sound == 0 { self.append(&[]) } else { self.sync() }
    }

    /// Notes on the file that the layer was used now, for eviction.
    pub(crate) fn touch(&self) {
        let _ = self.file.set_modified(SystemTime::now());
    }

    fn cut(&self) -> Result<(), StoreError> {
        self.file.set_len(self.sound).map_err(|e| StoreError::io("truncate", &self.path, e))
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(|e| StoreError::io("sync", &self.path, e))
    }
}

fn header(index_crc: u32) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..].copy_from_slice(&index_crc.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(count: u32) -> Vec<Record> {
        (0..count).map(|span| Record { span, data: Digest::of(&span.to_le_bytes()) }).collect()
    }

    #[test]
    fn a_torn_tail_is_cut_off_and_the_rest_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("presence");
        let (mut journal, empty) = Journal::open(&path, 7).unwrap();
        assert!(empty.is_empty());
        journal.append(&records(5)).unwrap();
        drop(journal);
        for cut in 1..RECORD_BYTES as u64 {
            let whole = (HEADER_BYTES + 5 * RECORD_BYTES) as u64;
            OpenOptions::new().write(true).open(&path).unwrap().set_len(whole - cut).unwrap();
            let (mut journal, kept) = Journal::open(&path, 7).unwrap();
            assert_eq!(kept, records(4));
            journal.append(&records(5)[4..]).unwrap();
        }
        assert_eq!(Journal::open(&path, 7).unwrap().1, records(5));
        assert!(Journal::open(&path, 8).unwrap().1.is_empty(), "another index's journal says nothing");
    }

    #[test]
    fn a_flipped_bit_ends_the_reading() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("presence");
        Journal::open(&path, 7).unwrap().0.append(&records(3)).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[HEADER_BYTES + RECORD_BYTES + 20] ^= 4;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(Journal::open(&path, 7).unwrap().1, records(1));
    }
}
