//! Gathers the entries of a tar as the reference tool has them: with the raw mode and all PAX records, which the tar
//! walker does not pass on, so the headers' bytes are kept until their entry is known.

use std::collections::BTreeMap;

use glowplug_tarwalk::{Entry, Kind, Limits, Walker};
use glowplug_toc::{EntryKind, Timestamp, ZtocEntry};

/// Length of a tar block in bytes.
const BLOCK_BYTES: usize = 512;
/// Most header bytes kept for one entry; the walker takes PAX headers of 1 MiB.
const MAX_HEADER_BYTES: usize = 4 * 1024 * 1024;

/// Why a layer has no zTOC.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It is not what it should be.
    Broken(String),
    /// It has a sparse file, of this description.
    Sparse(String),
}

/// The headers of a tar that streams by.
pub(super) struct Headers {
    walker: Walker,
    entries: Vec<ZtocEntry>,
    /// Bytes from `kept_at` on that are not payload.
    kept: Vec<u8>,
    kept_at: u64,
    /// Stream offset reached.
    at: u64,
    /// Where the payload of the last entry ends, padding included.
    payload_end: u64,
}

impl Headers {
    pub(super) fn new() -> Self {
        Self {
            walker: Walker::new(Limits::default()),
            entries: Vec::new(),
            kept: Vec::new(),
            kept_at: 0,
            at: 0,
            payload_end: 0,
        }
    }

    /// Takes the next bytes of the tar.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        let start = self.at;
        let mut found = Vec::new();
        let walked = self.walker.push(bytes, &mut |entry| found.push(entry));
        walked.map_err(|e| Trouble::Broken(e.to_string()))?;
        for entry in found {
            self.keep(start, bytes, entry.payload_offset);
            let made = self.entry(entry)?;
            self.payload_end = (made.offset + made.payload_size()).next_multiple_of(BLOCK_BYTES as u64);
            self.entries.push(made);
            self.kept.clear();
        }
        self.keep(start, bytes, start + bytes.len() as u64);
        Ok(())
    }

    /// The entries, and how long the tar is up to the end of its end marker.
    pub(super) fn finish(self) -> Result<(Vec<ZtocEntry>, u64), String> {
        let total = self.walker.finish().map_err(|e| e.to_string())?;
        let zero: Vec<_> =
            self.kept.chunks_exact(BLOCK_BYTES).map(|block| block.iter().all(|byte| *byte == 0)).collect();
        let marker = zero.windows(2).position(|pair| pair == [true, true]);
        let end = marker.map_or(total, |blocks| self.kept_at + ((blocks + 2) * BLOCK_BYTES) as u64);
        Ok((self.entries, end))
    }

    /// Keeps what is not payload of the stream up to `to`; `bytes` begin at `start`.
    fn keep(&mut self, start: u64, bytes: &[u8], to: u64) {
        let from = self.at.max(self.payload_end);
        if from < to {
            if self.kept.is_empty() {
                self.kept_at = from;
            }
            let new = &bytes[(from - start) as usize..(to - start) as usize];
            let room = MAX_HEADER_BYTES - self.kept.len();
            self.kept.extend_from_slice(&new[..new.len().min(room)]);
        }
        self.at = self.at.max(to);
    }

    fn entry(&self, entry: Entry) -> Result<ZtocEntry, Trouble> {
        let name = || format!("{:?}", String::from_utf8_lossy(&entry.path));
        let own = entry.header_offset.checked_sub(self.kept_at).and_then(|from| {
            let to = entry.payload_offset.checked_sub(self.kept_at)?;
            self.kept.get(usize::try_from(from).ok()?..usize::try_from(to).ok()?)
        });
        let raw = own
            .and_then(Raw::read)
            .ok_or_else(|| Trouble::Broken(format!("entry {}: headers too long", name())))?;
        let in_one_piece = entry.extents.iter().map(|extent| extent.len).sum::<u64>() == entry.size;
        let sparse = raw.sparse || raw.pax.keys().any(|key| key.starts_with(b"GNU.sparse."));
        if sparse || entry.extents.len() > 1 || !in_one_piece {
            return Err(Trouble::Sparse(format!("the sparse file {}", name())));
        }
        Ok(ZtocEntry {
            name: entry.path,
            kind: match entry.kind {
                Kind::File => EntryKind::Regular,
                Kind::Directory => EntryKind::Directory,
                Kind::Symlink => EntryKind::Symlink,
                Kind::Hardlink => EntryKind::Hardlink,
                Kind::Char => EntryKind::Character,
                Kind::Block => EntryKind::Block,
                Kind::Fifo => EntryKind::Fifo,
            },
            offset: entry.payload_offset,
            size: entry.size,
            link: entry.link,
            mode: raw.mode.unwrap_or_else(|| i64::from(entry.mode)),
            // Go keeps the low 32 bits as well.
            uid: entry.uid as u32,
            gid: entry.gid as u32,
            uname: entry.uname,
            gname: entry.gname,
            mtime: Timestamp { seconds: entry.mtime_s, nanoseconds: entry.mtime_ns },
            dev_major: i64::from(entry.dev_major),
            dev_minor: i64::from(entry.dev_minor),
            pax: raw.pax,
        })
    }
}

/// What the walker does not pass on.
struct Raw {
    pax: BTreeMap<Vec<u8>, Vec<u8>>,
    mode: Option<i64>,
    /// Whether the entry is of GNU's own type for sparse files.
    sparse: bool,
}

impl Raw {
    /// Reads the headers of one entry, which the walker has found sound.
    fn read(mut headers: &[u8]) -> Option<Self> {
        let mut pax = BTreeMap::new();
        loop {
            let (block, rest) = headers.split_first_chunk::<BLOCK_BYTES>()?;
            if !matches!(block[156], b'x' | b'g' | b'L' | b'K') {
                let mode = octal(&block[100..108]).and_then(|mode| i64::try_from(mode).ok());
                return Some(Self { pax, mode, sparse: block[156] == b'S' });
            }
            let size = usize::try_from(octal(&block[124..136])?).ok()?;
            if block[156] == b'x' {
                pax = records(rest.get(..size)?)?;
            }
            headers = rest.get(size.checked_next_multiple_of(BLOCK_BYTES)?..)?;
        }
    }
}

/// A number in a header: octal digits among blanks and NULs.
fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok() }
}

/// PAX records, `LENGTH KEY=VALUE\n` each, where the length counts all of it.
fn records(mut bytes: &[u8]) -> Option<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut records = BTreeMap::new();
    while !bytes.is_empty() {
        let space = bytes.iter().position(|byte| *byte == b' ')?;
        let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
        let (record, rest) = bytes.split_at_checked(length)?;
        let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        records.insert(record[..equals].to_vec(), record[equals + 1..].to_vec());
        bytes = rest;
    }
    Some(records)
}
