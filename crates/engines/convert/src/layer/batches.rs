//! Collects segments into batches and sends them to be compressed, while whoever writes waits for them in order.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use crate::workers::{Batch, Chunk, Coming, Segment, Workers};

/// Bytes of a batch that are worth a turn of the queue.
const BATCH_BYTES: usize = 1 << 20;

/// Nobody wants the segments any more; whoever wrote them says why.
#[derive(Debug)]
pub(super) struct Gone;

/// Segments on their way.
pub(super) struct Batches {
    workers: Arc<Workers>,
    queue: SyncSender<Coming>,
    batch: Batch,
    /// Where in the batch the open segment begins.
    open_from: usize,
    /// The piece of a file with which it begins.
    chunk: Option<Chunk>,
    /// Whether there was a segment.
    any: bool,
}

impl Batches {
    /// None yet; compressed ones come out of `queue`.
    pub(super) fn new(workers: Arc<Workers>, queue: SyncSender<Coming>) -> Self {
        Self { workers, queue, batch: Batch::default(), open_from: 0, chunk: None, any: false }
    }

    /// The bytes of the open segment.
    pub(super) fn open(&self) -> &[u8] {
        &self.batch.bytes[self.open_from..]
    }

    /// Adds to the open segment.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.batch.bytes.extend_from_slice(bytes);
    }

    /// Takes the last bytes of the open segment back, so that `len` are left.
    pub(super) fn truncate(&mut self, len: usize) {
        self.batch.bytes.truncate(self.open_from + len);
    }

    /// Says that the open segment, in which there is nothing yet, begins with a piece of a file.
    pub(super) fn begin_chunk(&mut self, entry: usize, file: u64) {
        self.chunk = Some(Chunk { entry, file, len: 0, whole: false });
    }

    /// The piece of a file that is being collected: its length so far.
    pub(super) fn chunk_len(&self) -> usize {
        self.chunk.map_or(0, |chunk| chunk.len)
    }

    /// Adds to the piece of a file.
    pub(super) fn append_chunk(&mut self, bytes: &[u8]) {
        self.append(bytes);
        if let Some(chunk) = &mut self.chunk {
            chunk.len += bytes.len();
        }
    }

    /// Says that the file ends with the piece.
    pub(super) fn end_file(&mut self) {
        if let Some(chunk) = &mut self.chunk {
            chunk.whole = chunk.file == 0;
        }
    }

    /// Ends the open segment; there is none if it is empty.
    pub(super) fn close(&mut self) -> Result<(), Gone> {
        self.close_at(self.open().len())
    }

    /// Ends the open segment after `len` bytes; those behind begin the next.
    pub(super) fn close_at(&mut self, len: usize) -> Result<(), Gone> {
        if len == 0 {
            return Ok(());
        }
        self.batch.segments.push(Segment { len, chunk: self.chunk.take() });
        self.any = true;
        self.open_from += len;
        if self.open_from < BATCH_BYTES {
            return Ok(());
        }
        let behind = self.batch.bytes.split_off(self.open_from);
        self.send()?;
        self.batch.bytes = behind;
        Ok(())
    }

    /// Ends the last segment and sends what is left.
    pub(super) fn finish(mut self) -> Result<(), Gone> {
        self.close()?;
        if !self.any {
            // No bytes are no gzip stream, but an empty member is.
            self.batch.segments.push(Segment { len: 0, chunk: None });
        }
        if self.batch.segments.is_empty() { Ok(()) } else { self.send() }
    }

    fn send(&mut self) -> Result<(), Gone> {
        self.open_from = 0;
        let batch = std::mem::take(&mut self.batch);
        // The queue is as long as there may be batches in memory: this is where a quick reader waits.
        self.queue.send(self.workers.submit(batch)).map_err(|_| Gone)
    }
}
