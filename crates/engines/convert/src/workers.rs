//! The threads that compress, for all layers at work: batches in, the same batches compressed out, in whatever order; who wants
//! an order waits for one batch after the other.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use glowplug_base::Digest;

use crate::compress::Compressor;
use crate::settings::Settings;

/// Segments that travel together, so that small files do not cost a turn of the queue each.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// The bytes of all segments, one behind the other.
    pub(crate) bytes: Vec<u8>,
    /// The segments.
    pub(crate) segments: Vec<Segment>,
}

/// Bytes that are compressed by themselves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment {
    /// How many there are.
    pub(crate) len: usize,
    /// The piece of a file with which they begin, if they do.
    pub(crate) chunk: Option<Chunk>,
}

/// A piece of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chunk {
    /// Number of the entry in the table.
    pub(crate) entry: usize,
    /// Offset in the file, in bytes.
    pub(crate) file: u64,
    /// Length in bytes.
    pub(crate) len: usize,
    /// Whether it is the whole file.
    pub(crate) whole: bool,
}

/// A batch that was compressed.
#[derive(Debug)]
pub(crate) struct Compressed {
    /// The batch.
    pub(crate) batch: Batch,
    /// The segments, compressed, one behind the other.
    pub(crate) out: Vec<u8>,
    /// Length of each in `out`.
    pub(crate) lens: Vec<usize>,
    /// Digest of the chunk of each.
    pub(crate) digests: Vec<Option<Digest>>,
}

/// Where a compressed batch comes out.
pub(crate) type Coming = Receiver<Result<Compressed, String>>;

struct Job {
    batch: Batch,
    done: SyncSender<Result<Compressed, String>>,
}

/// The threads. They end when this is dropped.
pub(crate) struct Workers {
    jobs: Option<SyncSender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// `count` threads for `settings`.
    ///
    /// # Errors
    /// There is no such level.
    pub(crate) fn start(count: usize, settings: &Settings) -> Result<Self, String> {
        // A batch waits for its turn in its layer's queue; here it only changes hands.
        let (jobs, waiting) = sync_channel::<Job>(count);
        let waiting = Arc::new(Mutex::new(waiting));
        let mut threads = Vec::new();
        for _ in 0..count {
            let mut compressor = Compressor::new(settings)?;
            let waiting = waiting.clone();
            threads.push(std::thread::spawn(move || {
                loop {
                    let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(Job { batch, done }) = job else { break };
                    // Nobody waits for a layer that failed.
                    let _ = done.send(compress(batch, &mut compressor));
                }
            }));
        }
        Ok(Self { jobs: Some(jobs), threads })
    }

    /// How many threads there are.
    pub(crate) fn count(&self) -> usize {
        self.threads.len()
    }

    /// Hands a batch over. Blocks while all threads are busy.
    pub(crate) fn submit(&self, batch: Batch) -> Coming {
        let (done, coming) = sync_channel(1);
        if let Some(jobs) = &self.jobs {
            // Without threads nothing comes out, which whoever waits will see.
            let _ = jobs.send(Job { batch, done });
        }
        coming
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A panic was told to whoever waited for the batch.
            let _ = thread.join();
        }
    }
}

fn compress(batch: Batch, compressor: &mut Compressor) -> Result<Compressed, String> {
    let mut out = Vec::with_capacity(batch.bytes.len() / 2);
    let mut lens = Vec::with_capacity(batch.segments.len());
    let mut digests = Vec::with_capacity(batch.segments.len());
    let mut rest = &batch.bytes[..];
    for segment in &batch.segments {
        let (bytes, behind) = rest.split_at(segment.len);
        rest = behind;
        let begin = out.len();
        compressor.append(bytes, &mut out)?;
        lens.push(out.len() - begin);
        digests.push(segment.chunk.map(|chunk| Digest::of(&bytes[..chunk.len])));
    }
    Ok(Compressed { batch, out, lens, digests })
}
