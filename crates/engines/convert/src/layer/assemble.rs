//! Writes what was compressed, in order, and learns where each piece of a file is and what its digest is.

use std::sync::mpsc::Receiver;

use glowplug_base::{ByteRange, Digest, Hasher};
use glowplug_toc::{TocChunk, TocEntry};

use crate::spool::Spool;
use crate::workers::{Chunk, Coming, Compressed};

/// Why writing stopped.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The disk.
    Io(std::io::Error),
    /// The compressor.
    Compress(String),
}

/// The blob, growing.
pub(super) struct Assembler {
    /// The blob so far.
    pub(super) spool: Spool,
    /// The tar that the blob decodes to, if that is not the one that came in.
    pub(super) tar: Option<NewTar>,
    chunks: Vec<(usize, TocChunk)>,
    /// Digests of files of several pieces.
    files: Vec<(usize, Digest)>,
    /// The file whose pieces go by.
    open: Option<(usize, Hasher)>,
}

/// A tar that changes.
#[derive(Default)]
pub(super) struct NewTar {
    hasher: Hasher,
    /// Its length in bytes.
    pub(super) len: u64,
}

impl NewTar {
    /// Adds to it.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
    }

    /// Its digest.
    pub(super) fn finish(self) -> Digest {
        self.hasher.finish()
    }
}

impl Assembler {
    /// Writes into `spool`; `changes` says whether the tar is another than the one that came in.
    pub(super) fn new(spool: Spool, changes: bool) -> Self {
        let tar = changes.then(NewTar::default);
        Self { spool, tar, chunks: Vec::new(), files: Vec::new(), open: None }
    }

    /// Writes until the queue is over. Blocks.
    pub(super) fn run(mut self, queue: &Receiver<Coming>) -> Result<Self, Trouble> {
        for coming in queue {
            let died = || "a thread that compresses died".to_owned();
            let compressed =
                coming.recv().map_err(|_| died()).and_then(|done| done).map_err(Trouble::Compress)?;
            self.take(&compressed).map_err(Trouble::Io)?;
        }
        self.end_file();
        Ok(self)
    }

    fn take(&mut self, compressed: &Compressed) -> std::io::Result<()> {
        let (mut blob, mut from) = (self.spool.len(), 0);
        self.spool.append(&compressed.out)?;
        if let Some(tar) = &mut self.tar {
            tar.append(&compressed.batch.bytes);
        }
        let places = compressed.lens.iter().zip(&compressed.digests);
        for (segment, (len, digest)) in compressed.batch.segments.iter().zip(places) {
            let range = ByteRange::at(blob, *len as u64);
            if let Some(chunk) = segment.chunk {
                let bytes = &compressed.batch.bytes[from..from + chunk.len];
                self.chunk(chunk, bytes, range, *digest);
            }
            blob = range.end;
            from += segment.len;
        }
        Ok(())
    }

    fn chunk(&mut self, chunk: Chunk, bytes: &[u8], blob: ByteRange, digest: Option<Digest>) {
        if !chunk.whole {
            if chunk.file == 0 {
                self.end_file();
                self.open = Some((chunk.entry, Hasher::new()));
            }
            if let Some((_, hasher)) = &mut self.open {
                hasher.update(bytes);
            }
        }
        let size = chunk.len as u64;
        self.chunks
            .push((chunk.entry, TocChunk { file: chunk.file, size, blob, inner: 0, digest, zeros: false }));
    }

    fn end_file(&mut self) {
        self.files.extend(self.open.take().map(|(entry, hasher)| (entry, hasher.finish())));
    }

    /// Gives the entries their chunks and digests.
    pub(super) fn complete(&mut self, entries: &mut [Option<TocEntry>]) {
        for (number, chunk) in self.chunks.drain(..) {
            if let Some(entry) = &mut entries[number] {
                // Of a file of one piece this is the digest; of others the right one comes below.
                entry.digest = chunk.digest;
                entry.chunks.push(chunk);
            }
        }
        for (number, digest) in self.files.drain(..) {
            if let Some(entry) = &mut entries[number] {
                entry.digest = Some(digest);
            }
        }
    }
}
