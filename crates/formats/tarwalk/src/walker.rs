//! The push parser: takes the stream in pieces, keeps one block and what belongs to the entry at hand.

use std::collections::BTreeMap;
use std::mem;

use crate::header::{BLOCK_BYTES, Block, Header, Role, text};
use crate::number;
use crate::pax::Records;
use crate::sparse::{Map, PaxForm, PayloadMap};
use crate::{Entry, Extent, Kind, TarError};

/// How much of anything an archive may hold before it is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Entries in the archive. The default of 4,000,000 is several times the largest images known.
    pub entries: u64,
    /// Length in bytes of one path, link, or user or group name; by default 4096, the kernel's `PATH_MAX`.
    pub name_bytes: usize,
    /// Length in bytes of one pax header; by default 1 MiB, as in Go.
    pub pax_bytes: u64,
    /// Extended attributes of one entry; by default 1024.
    pub xattrs: usize,
    /// Runs of data in one sparse file; by default 2^20, which is 24 MiB of extents.
    pub sparse_runs: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 4_000_000, name_bytes: 4096, pax_bytes: 1 << 20, xattrs: 1024, sparse_runs: 1 << 20 }
    }
}

/// Walks a tar stream that is pushed into it.
#[derive(Debug)]
pub struct Walker {
    limits: Limits,
    offset: u64,
    entries: u64,
    state: State,
    /// The first `filled` bytes of a block of which the rest is still to come.
    block: Block,
    filled: usize,
    pending: Pending,
    globals: Records,
    /// Where the end-of-archive marker begins; 0 until it was there.
    marker: u64,
}

#[derive(Debug)]
enum State {
    /// Before a header block.
    Header,
    /// Behind a block of zeros that was not preceded by one.
    ZeroBlock,
    /// Behind the end-of-archive marker: whatever follows is nobody's.
    Done,
    /// In payload nobody looks at, and its padding.
    Skip { payload: u64, padding: u64 },
    /// In the payload of a header that describes the next entry.
    Collect { role: Role, at: u64, left: u64, padding: u64, bytes: Vec<u8> },
    /// Before an extension block of GNU's sparse map.
    SparseHeader { started: Box<Started>, size: u64, map: Map },
    /// Before a block of payload that belongs to the sparse map.
    SparsePayload { started: Box<Started>, size: u64, map: PayloadMap },
}

/// What headers said about an entry whose own header is still to come.
#[derive(Debug, Default)]
struct Pending {
    header_offset: Option<u64>,
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    records: Records,
}

/// An entry but for its contents.
#[derive(Debug)]
struct Started {
    /// Offset of the entry's own header block.
    at: u64,
    header_offset: u64,
    /// Its `size` is that of the payload, as stored.
    header: Header,
    kind: Kind,
    mtime_ns: u32,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Walker {
    /// A walker at the start of a stream.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            offset: 0,
            entries: 0,
            state: State::Header,
            block: [0; BLOCK_BYTES],
            filled: 0,
            pending: Pending::default(),
            globals: Records::default(),
            marker: 0,
        }
    }

    /// Bytes of the stream taken so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether the end-of-archive marker went by: whatever follows is nobody's.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Stream offset before which all is settled: neither an entry that is still to come nor the end-of-archive marker
    /// begins before it. Once all entries went by, it is where the marker begins, and stays there.
    pub fn settled(&self) -> u64 {
        let block = self.offset - self.filled as u64;
        match &self.state {
            State::Done => self.marker,
            State::ZeroBlock => block - BLOCK_BYTES as u64,
            State::SparseHeader { started, .. } | State::SparsePayload { started, .. } => {
                started.header_offset
            }
            State::Header | State::Skip { .. } | State::Collect { .. } => {
                self.pending.header_offset.unwrap_or(block)
            }
        }
    }

    /// Takes the next bytes of the stream, and calls `sink` for every entry whose headers are complete with
    /// them, in the order of the stream.
    ///
    /// # Errors
    /// Any [`TarError`]. The walker is of no further use then.
    pub fn push(&mut self, mut bytes: &[u8], sink: &mut impl FnMut(Entry)) -> Result<(), TarError> {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Done => {
                    self.offset += bytes.len() as u64;
                    return Ok(());
                }
                State::Skip { payload, padding } => {
                    let count = (bytes.len() as u64).min(*payload + *padding);
                    let of_payload = count.min(*payload);
                    *payload -= of_payload;
                    *padding -= count - of_payload;
                    let done = *payload + *padding == 0;
                    self.offset += count;
                    bytes = &bytes[count as usize..];
                    if done {
                        self.state = State::Header;
                    }
                }
                State::Collect { left, padding, bytes: collected, .. } => {
                    let count = (bytes.len() as u64).min(*left + *padding);
                    let of_payload = count.min(*left);
                    collected.extend_from_slice(&bytes[..of_payload as usize]);
                    *left -= of_payload;
                    *padding -= count - of_payload;
                    let done = *left + *padding == 0;
                    self.offset += count;
                    bytes = &bytes[count as usize..];
                    if done {
                        self.collected()?;
                    }
                }
                _ => {
                    let count = bytes.len().min(BLOCK_BYTES - self.filled);
                    self.block[self.filled..self.filled + count].copy_from_slice(&bytes[..count]);
                    self.filled += count;
                    self.offset += count as u64;
                    bytes = &bytes[count..];
                    if self.filled == BLOCK_BYTES {
                        self.filled = 0;
                        self.block_complete(sink)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Ends the stream, and gives its length in bytes. The end-of-archive marker and the padding of the last
    /// payload may be missing, as GNU tar and Go accept it.
    ///
    /// # Errors
    /// [`TarError::Truncated`] when the stream ended inside an entry.
    pub fn finish(self) -> Result<u64, TarError> {
        let whole = match self.state {
            State::Done | State::Skip { payload: 0, .. } => true,
            State::Header | State::ZeroBlock => self.filled == 0,
            _ => false,
        };
        if whole && self.pending.header_offset.is_none() {
            Ok(self.offset)
        } else {
            Err(TarError::Truncated { at: self.offset })
        }
    }

    fn block_complete(&mut self, sink: &mut impl FnMut(Entry)) -> Result<(), TarError> {
        let at = self.offset - BLOCK_BYTES as u64;
        let limit = self.limits.sparse_runs;
        match mem::replace(&mut self.state, State::Header) {
            State::SparseHeader { started, size, mut map } => {
                if map.read_slots(&self.block, true, limit, started.at)? {
                    self.state = State::SparseHeader { started, size, map };
                    return Ok(());
                }
                let payload = started.header.size;
                self.sparse(*started, size, map, payload, sink)
            }
            State::SparsePayload { started, size, mut map } => {
                let payload = started.header.size.checked_sub(map.bytes() + BLOCK_BYTES as u64);
                let reason = "longer than the payload";
                let payload = payload.ok_or(TarError::Sparse { at: started.at, reason })?;
                match map.push(&self.block, limit, started.at)? {
                    Some(map) => self.sparse(*started, size, map, payload, sink),
                    None => {
                        self.state = State::SparsePayload { started, size, map };
                        Ok(())
                    }
                }
            }
            before => {
                let after_zeros = matches!(before, State::ZeroBlock);
                if self.block == [0; BLOCK_BYTES] {
                    self.state = if after_zeros { State::Done } else { State::ZeroBlock };
                    self.marker = if after_zeros { at - BLOCK_BYTES as u64 } else { 0 };
                    Ok(())
                } else if after_zeros {
                    Err(TarError::LoneZeroBlock { at })
                } else {
                    self.header(at, sink)
                }
            }
        }
    }

    fn header(&mut self, at: u64, sink: &mut impl FnMut(Entry)) -> Result<(), TarError> {
        let mut header = Header::read(&self.block, at)?;
        match header.role {
            Role::PaxLocal | Role::PaxGlobal => {
                self.collect(&header, at, "pax header", self.limits.pax_bytes)
            }
            // A NUL ends the name.
            Role::LongPath | Role::LongLink => {
                self.collect(&header, at, "name", self.limits.name_bytes as u64 + 1)
            }
            Role::Foreign => {
                mem::take(&mut self.pending).records.apply(&mut header, at)?;
                self.skip(header.size, at)
            }
            Role::Entry(_) | Role::OldFile | Role::OldSparse => {
                let pending = mem::take(&mut self.pending);
                let form = PaxForm::of(&pending.records);
                let started = self.start(header, &pending, form, at)?;
                self.contents(started, &pending.records, form, sink)
            }
        }
    }

    /// Begins to gather the payload of a header that describes entries to come.
    fn collect(&mut self, header: &Header, at: u64, what: &'static str, limit: u64) -> Result<(), TarError> {
        if header.size > limit {
            return Err(TarError::TooLarge { at, what, limit });
        }
        if header.role != Role::PaxGlobal {
            self.pending.header_offset.get_or_insert(at);
        }
        let (left, padding) = (header.size, padding(header.size));
        self.state = State::Collect { role: header.role, at, left, padding, bytes: Vec::new() };
        if left == 0 { self.collected() } else { Ok(()) }
    }

    fn collected(&mut self) -> Result<(), TarError> {
        let State::Collect { role, at, bytes, .. } = mem::replace(&mut self.state, State::Header) else {
            return Ok(());
        };
        match role {
            Role::PaxLocal => self.pending.records = Records::read(&bytes, at)?,
            Role::PaxGlobal => self.globals.merge_global(Records::read(&bytes, at)?),
            Role::LongPath => self.pending.path = Some(text(&bytes).to_vec()),
            _ => self.pending.link = Some(text(&bytes).to_vec()),
        }
        Ok(())
    }

    /// Puts together what the headers say of an entry.
    fn start(
        &mut self,
        mut header: Header,
        pending: &Pending,
        form: PaxForm,
        at: u64,
    ) -> Result<Started, TarError> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(TarError::TooManyEntries { limit: self.limits.entries });
        }
        let global_ns = self.globals.apply_except(&pending.records, &mut header, at)?;
        let local_ns = pending.records.apply(&mut header, at)?;
        for (name, long) in [(&mut header.path, &pending.path), (&mut header.link, &pending.link)] {
            if let Some(long) = long.as_ref().filter(|long| !long.is_empty()) {
                name.clone_from(long);
            }
        }
        if let Some(name) = pending.records.get("GNU.sparse.name").filter(|_| form != PaxForm::No) {
            header.path = name.to_vec();
        }
        let kind = match header.role {
            Role::Entry(kind) => kind,
            Role::OldFile if header.path.ends_with(b"/") => Kind::Directory,
            _ => Kind::File,
        };
        let limit = self.limits.name_bytes;
        for (name, what) in [
            (&header.path, "path"),
            (&header.link, "link"),
            (&header.uname, "user name"),
            (&header.gname, "group name"),
        ] {
            if name.len() > limit {
                return Err(TarError::TooLarge { at, what, limit: limit as u64 });
            }
        }
        Ok(Started {
            at,
            header_offset: pending.header_offset.unwrap_or(at),
            header,
            kind,
            mtime_ns: local_ns.or(global_ns).unwrap_or(0),
            xattrs: pending.records.xattrs(self.limits.xattrs, at)?,
        })
    }

    /// Finds out where the contents of an entry lie, which for some sparse files takes more blocks.
    fn contents(
        &mut self,
        started: Started,
        records: &Records,
        form: PaxForm,
        sink: &mut impl FnMut(Entry),
    ) -> Result<(), TarError> {
        let (at, limit) = (started.at, self.limits.sparse_runs);
        let old_sparse = started.header.role == Role::OldSparse;
        if !old_sparse && form == PaxForm::No {
            let payload = if started.kind == Kind::File { started.header.size } else { 0 };
            let extent = Extent { file_offset: 0, stream_offset: self.offset, len: payload };
            let extents = if payload > 0 { vec![extent] } else { Vec::new() };
            return self.emit(started, payload, extents, payload, sink);
        }
        if started.kind != Kind::File {
            return Err(TarError::Sparse { at, reason: "not a file" });
        }
        if old_sparse {
            let size = started.header.old_sparse_size(&self.block, at)?;
            let mut map = Map::default();
            if map.read_slots(&self.block, false, limit, at)? {
                self.state = State::SparseHeader { started: Box::new(started), size, map };
                return Ok(());
            }
            let payload = started.header.size;
            return self.sparse(started, size, map, payload, sink);
        }
        let size = match records.get("GNU.sparse.size").or_else(|| records.get("GNU.sparse.realsize")) {
            Some(size) => {
                number::decimal_size(size).ok_or(TarError::Field { at, field: "GNU.sparse.realsize" })?
            }
            None => started.header.size,
        };
        if form == PaxForm::InPayload {
            self.state =
                State::SparsePayload { started: Box::new(started), size, map: PayloadMap::default() };
            return Ok(());
        }
        let map = Map::from_records(records, limit, at)?;
        let payload = started.header.size;
        self.sparse(started, size, map, payload, sink)
    }

    /// Hands out a sparse file of `size` bytes, of which `payload` bytes follow.
    fn sparse(
        &mut self,
        started: Started,
        size: u64,
        map: Map,
        payload: u64,
        sink: &mut impl FnMut(Entry),
    ) -> Result<(), TarError> {
        let at = started.at;
        self.offset.checked_add(payload).ok_or(TarError::Overflow { at })?;
        let extents = map.extents(size, self.offset, payload, at)?;
        self.emit(started, size, extents, payload, sink)
    }

    fn emit(
        &mut self,
        started: Started,
        size: u64,
        extents: Vec<Extent>,
        payload: u64,
        sink: &mut impl FnMut(Entry),
    ) -> Result<(), TarError> {
        self.skip(payload, started.at)?;
        let Started { header_offset, header, kind, mtime_ns, xattrs, .. } = started;
        sink(Entry {
            header_offset,
            payload_offset: self.offset,
            path: header.path,
            kind,
            link: header.link,
            mode: header.mode,
            uid: header.uid,
            gid: header.gid,
            uname: header.uname,
            gname: header.gname,
            mtime_s: header.mtime_s,
            mtime_ns,
            dev_major: header.dev_major,
            dev_minor: header.dev_minor,
            size,
            extents,
            xattrs: xattrs.into_iter().collect(),
        });
        Ok(())
    }

    /// Passes over `payload` bytes and their padding.
    fn skip(&mut self, payload: u64, at: u64) -> Result<(), TarError> {
        let padding = padding(payload);
        let len = payload.checked_add(padding).ok_or(TarError::Overflow { at })?;
        self.offset.checked_add(len).ok_or(TarError::Overflow { at })?;
        self.state = if len == 0 { State::Header } else { State::Skip { payload, padding } };
        Ok(())
    }
}

/// Bytes from the end of a payload to the next block.
fn padding(payload: u64) -> u64 {
    payload.wrapping_neg() % BLOCK_BYTES as u64
}
