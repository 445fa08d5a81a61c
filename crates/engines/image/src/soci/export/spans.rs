//! Cuts a blob into spans as the reference tool does, and hashes each.

use glowplug_base::{Digest, Hasher};
use glowplug_gzindex::{Checkpoint, Indexer};
use glowplug_oci::Compression;
use glowplug_toc::ztoc::WINDOW_BYTES;
use glowplug_toc::{Checkpoint as ZtocCheckpoint, Compression as ZtocCompression};

use super::entries::Trouble;

/// Decoded bytes passed on at a time.
const CHUNK_BYTES: usize = 256 * 1024;
/// Blob bytes not hashed yet although they were taken: a checkpoint stands a few bytes before what the decoder took.
const LAG_BYTES: usize = 64;

/// Takes decoded bytes.
pub(super) type Sink<'a> = dyn FnMut(&[u8]) -> Result<(), Trouble> + 'a;

/// The spans of a blob that streams by.
pub(super) struct Spans {
    whole: Hasher,
    taken: u64,
    /// Of the open span.
    hasher: Hasher,
    digests: Vec<Digest>,
    /// Decoded bytes of a span: the least of a gzip layer's, and what others' have.
    span_bytes: u64,
    form: Form,
}

enum Form {
    Gzip(Box<Gzip>),
    /// Bytes of the open span.
    Plain(u64),
}

struct Gzip {
    indexer: Indexer,
    checkpoints: Vec<ZtocCheckpoint>,
    /// Blob bytes from `held_at` on that were not hashed.
    held: Vec<u8>,
    held_at: u64,
    /// The last decoded bytes. Unlike the decoder's own they go back beyond the start of a member, as SOCI's do.
    tail: Vec<u8>,
    given: u64,
}

/// All spans of a blob.
pub(super) struct Finished {
    /// Digest of the whole blob.
    pub(super) blob: Digest,
    pub(super) compression: ZtocCompression,
    pub(super) digests: Vec<Digest>,
}

impl Spans {
    /// Spans of `span_bytes` of a layer that is not zstd.
    pub(super) fn new(compression: Compression, span_bytes: u64) -> Self {
        let form = if compression == Compression::Gzip {
            Form::Gzip(Box::new(Gzip {
                // SOCI begins a span at the first block border *more* than the span size after the last one.
                indexer: Indexer::new(span_bytes + 1),
                checkpoints: Vec::new(),
                held: Vec::new(),
                held_at: 0,
                tail: Vec::new(),
                given: 0,
            }))
        } else {
            Form::Plain(0)
        };
        Self { whole: Hasher::new(), taken: 0, hasher: Hasher::new(), digests: Vec::new(), span_bytes, form }
    }

    /// Bytes of the blob so far.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Takes the next bytes of the blob, and passes on what they decode to.
    pub(super) fn push(&mut self, piece: &[u8], sink: &mut Sink<'_>) -> Result<(), Trouble> {
        self.whole.update(piece);
        self.taken += piece.len() as u64;
        match &mut self.form {
            Form::Gzip(gzip) => gzip.push(piece, &mut self.hasher, &mut self.digests, sink),
            Form::Plain(open) => {
                let mut rest = piece;
                while !rest.is_empty() {
                    let room = usize::try_from(self.span_bytes - *open).unwrap_or(usize::MAX);
                    let (now, later) = rest.split_at(room.min(rest.len()));
                    self.hasher.update(now);
                    *open += now.len() as u64;
                    if *open == self.span_bytes {
                        self.digests.push(std::mem::take(&mut self.hasher).finish());
                        *open = 0;
                    }
                    rest = later;
                }
                sink(piece)
            }
        }
    }

    /// The blob has ended.
    pub(super) fn finish(mut self) -> Result<Finished, String> {
        let compression = match self.form {
            Form::Gzip(gzip) => {
                self.hasher.update(&gzip.held);
                self.digests.push(self.hasher.finish());
                gzip.indexer.finish().map_err(|e| e.to_string())?;
                ZtocCompression::Gzip { span_size: self.span_bytes, checkpoints: gzip.checkpoints }
            }
            Form::Plain(open) => {
                if open > 0 {
                    self.digests.push(self.hasher.finish());
                }
                ZtocCompression::Uncompressed { span_size: self.span_bytes }
            }
        };
        Ok(Finished { blob: self.whole.finish(), compression, digests: self.digests })
    }
}

impl Gzip {
    fn push(
        &mut self,
        piece: &[u8],
        hasher: &mut Hasher,
        digests: &mut Vec<Digest>,
        sink: &mut Sink<'_>,
    ) -> Result<(), Trouble> {
        self.held.extend_from_slice(piece);
        let (mut input, mut out, mut new) = (piece, Vec::with_capacity(CHUNK_BYTES), Vec::new());
        loop {
            out.clear();
            let used = self.indexer.push(input, &mut out, CHUNK_BYTES, &mut new);
            input = &input[used.map_err(|e| Trouble::Broken(e.to_string()))?..];
            for checkpoint in new.drain(..) {
                self.cut(&checkpoint, &out, hasher, digests)?;
            }
            sink(&out)?;
            self.given += out.len() as u64;
            self.tail = last_bytes(&self.tail, &out);
            if input.is_empty() && out.len() < CHUNK_BYTES {
                break;
            }
        }
        let settled = self.held.len().saturating_sub(LAG_BYTES);
        // What comes before the first checkpoint, a gzip header of whatever length, belongs to no span.
        if !self.checkpoints.is_empty() {
            hasher.update(&self.held[..settled]);
        }
        self.drop_held(settled);
        Ok(())
    }

    /// Ends the open span, if there is one, and begins the next.
    fn cut(
        &mut self,
        checkpoint: &Checkpoint,
        out: &[u8],
        hasher: &mut Hasher,
        digests: &mut Vec<Digest>,
    ) -> Result<(), Trouble> {
        let astray = || Trouble::Broken("a checkpoint lies outside the bytes at hand".to_owned());
        let cut = checkpoint.compressed.checked_sub(self.held_at).and_then(|cut| usize::try_from(cut).ok());
        let cut = cut.filter(|cut| *cut <= self.held.len()).ok_or_else(astray)?;
        let decoded = usize::try_from(checkpoint.uncompressed - self.given).map_err(|_| astray())?;
        if !self.checkpoints.is_empty() {
            hasher.update(&self.held[..cut]);
            digests.push(std::mem::take(hasher).finish());
        }
        // A byte that both spans have bits of is hashed with both.
        self.drop_held(cut.checked_sub(usize::from(checkpoint.bits != 0)).ok_or_else(astray)?);
        self.checkpoints.push(ZtocCheckpoint {
            compressed: checkpoint.compressed,
            uncompressed: checkpoint.uncompressed,
            bits: checkpoint.bits,
            window: last_bytes(&self.tail, out.get(..decoded).ok_or_else(astray)?),
        });
        Ok(())
    }

    fn drop_held(&mut self, count: usize) {
        self.held.drain(..count);
        self.held_at += count as u64;
    }
}

/// The last bytes, as many as a window has, of `older` and `newer` together.
fn last_bytes(older: &[u8], newer: &[u8]) -> Vec<u8> {
    let from_newer = newer.len().min(WINDOW_BYTES);
    let from_older = older.len().min(WINDOW_BYTES - from_newer);
    [&older[older.len() - from_older..], &newer[newer.len() - from_newer..]].concat()
}
