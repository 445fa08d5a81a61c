//! Where in the blob the chunks of a whole table are: ends that nothing tells are where the next member begins, and all
//! of them must be in order.

use glowplug_base::ByteRange;

use super::{TocChunk, TocEntry, TocError};

/// Completes the ranges of all chunks, and checks them. A range whose end is not known is empty.
pub(super) fn settle(entries: &mut [TocEntry], payload_end: u64) -> Result<(), TocError> {
    let mut behind = Behind { start: payload_end, member: None };
    for (index, entry) in entries.iter_mut().enumerate().rev() {
        for chunk in entry.chunks.iter_mut().rev() {
            behind.place(chunk).map_err(|what| TocError::entry(index, &entry.name, what))?;
        }
    }
    let mut before = Inner::default();
    for (index, entry) in entries.iter().enumerate() {
        for chunk in entry.chunks.iter().filter(|chunk| !chunk.zeros) {
            before.follow(chunk).map_err(|what| TocError::entry(index, &entry.name, what))?;
        }
    }
    Ok(())
}

/// What lies behind a chunk in the blob.
struct Behind {
    /// Where it begins.
    start: u64,
    /// The member that begins there, unless that is a chunk of zeros or the end.
    member: Option<ByteRange>,
}

impl Behind {
    fn place(&mut self, chunk: &mut TocChunk) -> Result<(), &'static str> {
        let start = chunk.blob.start;
        if chunk.zeros {
            // Nobody reads it, so its place may be unknown.
            if start > 0 {
                self.check(start, start)?;
                *self = Self { start, member: None };
            }
            return Ok(());
        }
        let is_known = !chunk.blob.is_empty();
        if let Some(member) = self.member.filter(|member| member.start == start) {
            if is_known && chunk.blob != member {
                return Err("overlaps another member");
            }
            chunk.blob = member;
            return Ok(());
        }
        let end = if is_known { chunk.blob.end } else { self.start };
        self.check(start, end)?;
        if start >= end {
            return Err("place in the blob is out of range");
        }
        chunk.blob = ByteRange::new(start, end);
        *self = Self { start, member: Some(chunk.blob) };
        Ok(())
    }

    fn check(&self, start: u64, end: u64) -> Result<(), &'static str> {
        if start > self.start {
            return Err("place in the blob is out of order or range");
        }
        if end > self.start { Err("overlaps what comes next in the blob") } else { Ok(()) }
    }
}

/// The member before, and how much of it is taken once it is decoded.
#[derive(Default)]
struct Inner {
    member: ByteRange,
    taken: u64,
}

impl Inner {
    fn follow(&mut self, chunk: &TocChunk) -> Result<(), &'static str> {
        if chunk.blob == self.member && chunk.inner < self.taken {
            return Err("overlaps another chunk in its member");
        }
        let end = chunk.inner.checked_add(chunk.size).ok_or("place in its member is out of range")?;
        *self = Self { member: chunk.blob, taken: end };
        Ok(())
    }
}
