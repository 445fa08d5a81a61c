//! Cuts a tar into equal segments, whatever is in it.

use super::batches::{Batches, Gone};

/// Bytes of a segment: a reader can begin at each, and a decoder loses little by beginning anew.
const SEGMENT_BYTES: usize = 1 << 20;

/// Cuts without looking.
pub(super) struct PlainCutter {
    batches: Batches,
}

impl PlainCutter {
    pub(super) fn new(batches: Batches) -> Self {
        Self { batches }
    }

    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<(), Gone> {
        while !bytes.is_empty() {
            let room = SEGMENT_BYTES - self.batches.open().len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.batches.append(now);
            bytes = later;
            if self.batches.open().len() == SEGMENT_BYTES {
                self.batches.close()?;
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<(), Gone> {
        self.batches.finish()
    }
}
