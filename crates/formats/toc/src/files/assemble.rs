//! Entries as the document has them, made into entries of the table one after the other.

use std::collections::BTreeMap;

use glowplug_base::{ByteRange, Digest};

use super::parse::Written;
use super::{Dialect, Toc, TocChunk, TocEntry, TocError, TocLimits, places};
use crate::base64;
use crate::timestamp::Timestamp;
use crate::ztoc::EntryKind;

/// Type of the entries that only say where the next piece of the file before them is.
const CHUNK: &str = "chunk";
/// What `chunkType` says of a piece of zeros.
const ZEROS: &str = "zeros";
/// Set-id, sticky and permission bits; some tars put the type of the file above them.
const MODE_BITS: u32 = 0o7777;

/// The table, growing.
pub(super) struct Assembler {
    dialect: Dialect,
    payload_end: u64,
    limits: TocLimits,
    entries: Vec<TocEntry>,
    /// Chunks of all files so far.
    chunks: usize,
    /// The pieces of the last entry, if it is a file whose pieces may go on.
    open: Option<Open>,
    users: Names,
    groups: Names,
}

/// A file whose pieces are being collected.
struct Open {
    pieces: Vec<Piece>,
    /// Where the last frame ends; 0 if nothing tells.
    end_offset: u64,
}

/// A piece as the document has it.
struct Piece {
    file: u64,
    /// 0: to the end of the file.
    size: u64,
    offset: u64,
    inner: u64,
    digest: Option<Digest>,
    zeros: bool,
}

/// Names that the document says once for each number, and how many bytes of them may still be copied: otherwise one
/// long name would be there as often as there are entries.
struct Names {
    known: BTreeMap<u32, Vec<u8>>,
    bytes_left: u64,
}

impl Assembler {
    pub(super) fn new(dialect: Dialect, payload_end: u64, limits: &TocLimits) -> Self {
        let names = || Names { known: BTreeMap::new(), bytes_left: limits.json_bytes / 2 };
        Self {
            dialect,
            payload_end,
            limits: *limits,
            entries: Vec::new(),
            chunks: 0,
            open: None,
            users: names(),
            groups: names(),
        }
    }

    /// How many entries there are.
    pub(super) fn entries(&self) -> usize {
        self.entries.len()
    }

    /// Takes the next entry of the document.
    pub(super) fn push(&mut self, written: &Written<'_>) -> Result<(), TocError> {
        if written.kind == CHUNK {
            return self.push_chunk(written);
        }
        self.close()?;
        if self.entries.len() >= self.limits.entries {
            return Err(TocError::Limit("entries"));
        }
        let index = self.entries.len();
        let refused = |what| TocError::entry(index, written.name.as_bytes(), what);
        let entry = entry(written, &mut self.users, &mut self.groups).map_err(refused)?;
        if entry.size > 0 {
            self.count_chunk()?;
            let pieces = vec![piece(written, self.dialect).map_err(refused)?];
            let end_offset = match self.dialect {
                Dialect::Storage => place(written.end_offset).map_err(refused)?,
                Dialect::Estargz | Dialect::Stargz => 0,
            };
            self.open = Some(Open { pieces, end_offset });
        }
        self.entries.push(entry);
        Ok(())
    }

    fn push_chunk(&mut self, written: &Written<'_>) -> Result<(), TocError> {
        self.count_chunk()?;
        let Some(open) = &mut self.open else {
            return Err(TocError::entry(self.entries.len(), written.name.as_bytes(), "chunk of no file"));
        };
        match piece(written, self.dialect) {
            Ok(piece) => open.pieces.push(piece),
            Err(what) => return Err(self.refused(what)),
        }
        Ok(())
    }

    fn count_chunk(&mut self) -> Result<(), TocError> {
        if self.chunks >= self.limits.chunks {
            return Err(TocError::Limit("chunks"));
        }
        self.chunks += 1;
        Ok(())
    }

    /// The document is over.
    pub(super) fn finish(mut self) -> Result<Toc, TocError> {
        self.close()?;
        places::settle(&mut self.entries, self.payload_end)?;
        Ok(Toc { entries: self.entries })
    }

    /// Gives the last entry the chunks that were collected for it.
    fn close(&mut self) -> Result<(), TocError> {
        let Some((open, entry)) = self.open.take().zip(self.entries.last_mut()) else { return Ok(()) };
        match chunks(&open, entry.size, self.dialect) {
            Ok(chunks) => entry.chunks = chunks,
            Err(what) => return Err(self.refused(what)),
        }
        if let [only] = &mut entry.chunks[..] {
            only.digest = only.digest.or(entry.digest);
        }
        Ok(())
    }

    /// An error of the last entry.
    fn refused(&self, what: &'static str) -> TocError {
        let name = self.entries.last().map_or(&[][..], |entry| &entry.name);
        TocError::entry(self.entries.len().saturating_sub(1), name, what)
    }
}

impl Names {
    /// The name of the owner `id`, which may be the one that it had before.
    fn name_of(&mut self, id: u32, written: &str) -> Result<Vec<u8>, &'static str> {
        if !written.is_empty() {
            let name = text(written)?;
            self.known.insert(id, name.clone());
            return Ok(name);
        }
        let Some(name) = self.known.get(&id) else { return Ok(Vec::new()) };
        let left = self.bytes_left.checked_sub(name.len() as u64);
        self.bytes_left = left.ok_or("more names of owners than allowed")?;
        Ok(name.clone())
    }
}

/// An entry but for its chunks.
fn entry(written: &Written<'_>, users: &mut Names, groups: &mut Names) -> Result<TocEntry, &'static str> {
    let kind = EntryKind::from_word(written.kind.as_bytes()).ok_or("unknown type")?;
    let size = unsigned(written.size).ok_or("size out of range")?;
    let (uid, gid) = (number(written.uid)?, number(written.gid)?);
    let attributes = written.xattrs.iter().map(|(key, value)| attribute(key, value.as_deref()));
    Ok(TocEntry {
        name: text(&written.name)?,
        kind,
        size: if kind == EntryKind::Regular { size } else { 0 },
        link: text(&written.link_name)?,
        mode: number(written.mode)? & MODE_BITS,
        uid,
        gid,
        uname: users.name_of(uid, &written.user_name)?,
        gname: groups.name_of(gid, &written.group_name)?,
        mtime: time(&written.modified)?,
        dev_major: number(written.dev_major)?,
        dev_minor: number(written.dev_minor)?,
        xattrs: attributes.collect::<Result<_, _>>()?,
        digest: digest(&written.digest)?,
        chunks: Vec::new(),
    })
}

fn piece(written: &Written<'_>, dialect: Dialect) -> Result<Piece, &'static str> {
    let (inner, zeros) = match (dialect, &*written.chunk_type) {
        (Dialect::Estargz | Dialect::Stargz, _) => (place(written.inner_offset)?, false),
        (Dialect::Storage, "") => (0, false),
        (Dialect::Storage, ZEROS) => (0, true),
        (Dialect::Storage, _) => return Err("unknown type of chunk"),
    };
    Ok(Piece {
        file: place(written.chunk_offset)?,
        size: unsigned(written.chunk_size).ok_or("size out of range")?,
        offset: place(written.offset)?,
        inner,
        digest: digest(&written.chunk_digest)?,
        zeros,
    })
}

/// The chunks of a file of `size` bytes. The range of one whose end nothing tells is still empty.
fn chunks(open: &Open, size: u64, dialect: Dialect) -> Result<Vec<TocChunk>, &'static str> {
    let mut chunks = Vec::with_capacity(open.pieces.len());
    let mut at = 0;
    for (index, piece) in open.pieces.iter().enumerate() {
        if piece.file != at {
            return Err("chunks do not follow each other");
        }
        let left = size - at;
        let length = if piece.size == 0 { left } else { piece.size };
        if length == 0 || length > left {
            return Err("chunks go beyond the file");
        }
        at += length;
        if !piece.zeros && piece.offset == 0 && piece.inner == 0 {
            // There stands the header of the first entry.
            return Err("no offset");
        }
        let end = match dialect {
            Dialect::Storage if !piece.zeros => end(piece, &open.pieces[index + 1..], open.end_offset)?,
            Dialect::Storage | Dialect::Estargz | Dialect::Stargz => piece.offset,
        };
        chunks.push(TocChunk {
            file: piece.file,
            size: length,
            blob: ByteRange::new(piece.offset, end),
            inner: piece.inner,
            digest: piece.digest,
            zeros: piece.zeros,
        });
    }
    if at < size {
        return Err("chunks end before the file");
    }
    Ok(chunks)
}

/// Where the frame of `piece` ends: where that of the next piece of the file begins, or where the file does end. Its
/// own offset if neither tells.
fn end(piece: &Piece, behind: &[Piece], end_offset: u64) -> Result<u64, &'static str> {
    let next = behind.iter().map(|piece| piece.offset).find(|&offset| offset > 0);
    match next.unwrap_or(end_offset) {
        0 => Ok(piece.offset),
        end if end <= piece.offset => Err("frame ends before it begins"),
        end => Ok(end),
    }
}

fn unsigned(number: i64) -> Option<u64> {
    u64::try_from(number).ok()
}

fn place(number: i64) -> Result<u64, &'static str> {
    unsigned(number).ok_or("offset out of range")
}

fn number(number: i64) -> Result<u32, &'static str> {
    u32::try_from(number).map_err(|_| "mode, owner or device out of range")
}

fn text(text: &str) -> Result<Vec<u8>, &'static str> {
    if text.contains('\0') { Err("NUL in a name") } else { Ok(text.as_bytes().to_vec()) }
}

/// Go leaves out a time that it does not know.
fn time(text: &str) -> Result<Timestamp, &'static str> {
    if text.is_empty() { Ok(Timestamp::default()) } else { text.parse().map_err(|_| "malformed time") }
}

fn digest(text: &str) -> Result<Option<Digest>, &'static str> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|_| "unusable digest") }
}

fn attribute(key: &str, value: Option<&str>) -> Result<(Vec<u8>, Vec<u8>), &'static str> {
    let value = base64::decode(value.unwrap_or_default()).ok_or("malformed extended attribute")?;
    if key.is_empty() { Err("extended attribute without a name") } else { Ok((text(key)?, value)) }
}
