//! Sparse files: GNU's old form in headers, and the pax forms 0.0, 0.1 (in records) and 1.0 (in the payload).

use crate::header::{BLOCK_BYTES, Block};
use crate::number;
use crate::pax::Records;
use crate::{Extent, TarError};

/// Which sparse form the pax records announce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PaxForm {
    /// None.
    No,
    /// The map is in the records.
    InRecords,
    /// The map is at the start of the payload.
    InPayload,
}

impl PaxForm {
    /// Versions nobody knows are taken as plain files, as Go does.
    pub(crate) fn of(records: &Records) -> Self {
        match (records.get("GNU.sparse.major"), records.get("GNU.sparse.minor")) {
            (Some(b"1"), Some(b"0")) => Self::InPayload,
            (Some(b"0"), Some(b"0" | b"1")) => Self::InRecords,
            // The first writers of 0.0 and 0.1 gave no version.
            (None, None) if !records.sparse_numbers().is_empty() => Self::InRecords,
            _ => Self::No,
        }
    }
}

/// Runs of data of a sparse file as they are read: offset and length in the file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Map {
    runs: Vec<(u64, u64)>,
}

impl Map {
    fn add(&mut self, offset: u64, len: u64, limit: usize, at: u64) -> Result<(), TarError> {
        if self.runs.len() >= limit {
            return Err(TarError::TooLarge { at, what: "sparse map", limit: limit as u64 });
        }
        self.runs.push((offset, len));
        Ok(())
    }

    /// Reads the map of pax records.
    pub(crate) fn from_records(records: &Records, limit: usize, at: u64) -> Result<Self, TarError> {
        let bad = |reason| TarError::Sparse { at, reason };
        let numbers = records.sparse_numbers();
        let count = records.get("GNU.sparse.numblocks").and_then(number::decimal_size);
        if count.and_then(|count| count.checked_mul(2)) != Some(numbers.len() as u64) {
            return Err(bad("wrong number of blocks"));
        }
        let mut map = Self::default();
        for pair in numbers.chunks_exact(2) {
            let read = |at: usize| number::decimal_size(pair[at]).ok_or(bad("no number"));
            map.add(read(0)?, read(1)?, limit, at)?;
        }
        Ok(map)
    }

    /// Reads the slots of a GNU header, of which four begin at byte 386, or of an extension block, with
    /// twenty-one from its start. Gives whether an extension block follows.
    pub(crate) fn read_slots(
        &mut self,
        block: &Block,
        extension: bool,
        limit: usize,
        at: u64,
    ) -> Result<bool, TarError> {
        let (slots, flag) =
            if extension { (&block[..504], block[504]) } else { (&block[386..482], block[482]) };
        for slot in slots.chunks_exact(24) {
            if slot[0] == 0 {
                break;
            }
            let read = |bytes| {
                let value = number::field(bytes).and_then(|value| u64::try_from(value).ok());
                value.ok_or(TarError::Sparse { at, reason: "no number" })
            };
            self.add(read(&slot[..12])?, read(&slot[12..])?, limit, at)?;
        }
        Ok(flag != 0)
    }

    /// Places the runs one after the other from `stream_offset` on, and holds them against the file's `size` and
    /// the `payload` bytes that are there.
    pub(crate) fn extents(
        self,
        size: u64,
        stream_offset: u64,
        payload: u64,
        at: u64,
    ) -> Result<Vec<Extent>, TarError> {
        let bad = |reason| TarError::Sparse { at, reason };
        let (mut extents, mut last_end, mut used) = (Vec::with_capacity(self.runs.len()), 0, 0_u64);
        for (offset, len) in self.runs {
            if offset < last_end {
                return Err(bad("runs overlap or are out of order"));
            }
            last_end = offset
                .checked_add(len)
                .filter(|&end| end <= size)
                .ok_or(bad("a run ends behind the file"))?;
            if len > 0 {
                extents.push(Extent { file_offset: offset, stream_offset: stream_offset + used, len });
            }
            used =
                used.checked_add(len).filter(|&used| used <= payload).ok_or(bad("more data than payload"))?;
        }
        if used != payload {
            return Err(bad("less data than payload"));
        }
        Ok(extents)
    }
}

/// Reads the map of form 1.0 from the blocks of the payload as they come: a count of runs, then offset and
/// length of each, all decimal and each ended by a newline; the rest of the last block is padding.
#[derive(Debug, Default)]
pub(crate) struct PayloadMap {
    map: Map,
    digits: Vec<u8>,
    count: Option<u64>,
    offset: Option<u64>,
    blocks: u64,
}

impl PayloadMap {
    /// Bytes of payload taken so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.blocks * BLOCK_BYTES as u64
    }

    /// Takes one block; gives the map when it is complete.
    pub(crate) fn push(&mut self, block: &Block, limit: usize, at: u64) -> Result<Option<Map>, TarError> {
        self.blocks += 1;
        for &byte in block {
            if byte != b'\n' {
                // No 64-bit number is longer than this.
                if self.digits.len() >= 20 {
                    return Err(TarError::Sparse { at, reason: "no number" });
                }
                self.digits.push(byte);
                continue;
            }
            let value =
                number::decimal_size(&self.digits).ok_or(TarError::Sparse { at, reason: "no number" })?;
            self.digits.clear();
            match (self.count, self.offset.take()) {
                (None, _) => self.count = Some(value),
                (Some(_), None) => self.offset = Some(value),
                (Some(_), Some(offset)) => self.map.add(offset, value, limit, at)?,
            }
            if self.count == Some(self.map.runs.len() as u64) && self.offset.is_none() {
                return Ok(Some(std::mem::take(&mut self.map)));
            }
        }
        Ok(None)
    }
}
