//! One layer of the store: its index, its data file, and which spans are here.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use glowplug_base::{ByteRange, Digest};
use glowplug_layer::{Check, Chunk, Extent, LayerIndex, Recipe};

use crate::flight::Flights;
use crate::holders::Hold;
use crate::journal::{Journal, Record};
use crate::{StoreError, mark, paths};

/// What is known about a span.
const ABSENT: u8 = 0;
/// The journal says it is here, but the last user ended badly: check before use.
const SUSPECT: u8 = 1;
const PRESENT: u8 = 2;

/// An open layer. As long as somebody holds one, the layer is never evicted.
#[derive(Debug)]
pub struct Layer {
    dir: PathBuf,
    index: LayerIndex,
    extents: Vec<Extent>,
    data: File,
    windows: File,
    states: Vec<AtomicU8>,
    present_spans: AtomicU64,
    ledger: Mutex<Ledger>,
    journal: Mutex<Journal>,
    flights: Flights,
    /// What the index was found to be wrong about.
    pub(crate) lie: OnceLock<String>,
    /// Last, so that it goes last: until then nobody else opens the layer.
    hold: Hold<Self>,
}

/// What the journal says and what it is to say next. Its lock is held while a span changes its state.
#[derive(Debug)]
struct Ledger {
    digests: Vec<Option<Digest>>,
    pending: Vec<Record>,
}

/// What a verification found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verdict {
    /// Spans whose bytes match their digests.
    pub sound: usize,
    /// Spans whose bytes did not; they are absent now and will be fetched again.
    pub damaged: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Every critical section leaves its list whole at each step, so a poisoned lock is still good.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Layer {
    /// Opens the layer in `dir`, whose index file is there. Where the mark of suspicion lies, spans are suspect.
    pub(crate) fn open(dir: &Path, blob: &Digest, hold: Hold<Self>) -> Result<Self, StoreError> {
        let path = dir.join(paths::INDEX);
        let bytes = std::fs::read(&path).map_err(|e| StoreError::io("read", &path, e))?;
        let index = glowplug_layer::decode(&bytes, &glowplug_layer::Limits::default())
            .map_err(|source| StoreError::Index { layer: *blob, source })?;
        if index.origin.is_published() && mark::is_distrusted(dir) {
            mark::discard(dir)?;
            return Err(mark::earlier(*blob));
        }
        let open = |name: &str| {
            let path = dir.join(name);
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(|e| StoreError::io("open", &path, e))
        };
        let (data, windows) = (open(paths::DATA)?, open(paths::WINDOWS)?);
        let data_path = dir.join(paths::DATA);
        let length = data.metadata().map_err(|e| StoreError::io("stat", &data_path, e))?.len();
        if length != index.data_size {
            // Somebody cut it, or its making was interrupted; what is missing must not read as zeros.
            mark::suspect(dir)?;
            data.set_len(index.data_size).map_err(|e| StoreError::io("extend", &data_path, e))?;
        }
        let suspect = hold.holders().all_suspect() || dir.join(paths::SUSPECT).exists();
        let (journal, records) = Journal::open(&dir.join(paths::PRESENCE), crc32fast::hash(&bytes))?;
        journal.touch();
        let layer = Self {
            dir: dir.to_owned(),
            extents: index.pieces(),
            states: index.spans.iter().map(|_| AtomicU8::new(ABSENT)).collect(),
            ledger: Mutex::new(Ledger { digests: vec![None; index.spans.len()], pending: Vec::new() }),
            index,
            data,
            windows,
            present_spans: AtomicU64::new(0),
            journal: Mutex::new(journal),
            flights: Flights::default(),
            lie: OnceLock::new(),
            hold,
        };
        let mut ledger = lock(&layer.ledger);
        for record in records {
            if let Some(digest) = ledger.digests.get_mut(record.span as usize) {
                *digest = record.digest();
            }
        }
        for (state, _) in layer.states.iter().zip(&ledger.digests).filter(|(_, digest)| digest.is_some()) {
            state.store(if suspect { SUSPECT } else { PRESENT }, Ordering::Release);
            layer.present_spans.fetch_add(u64::from(!suspect), Ordering::AcqRel);
        }
        drop(ledger);
        Ok(layer)
    }

    /// The layer's index.
    pub const fn index(&self) -> &LayerIndex {
        &self.index
    }

    /// All extents of the index, in the order of the stream, what files share once.
    pub fn extents(&self) -> &[Extent] {
        &self.extents
    }

    /// Its place in the store.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The data file, for doors that read it without this process.
    pub fn data_path(&self) -> PathBuf {
        self.dir.join(paths::DATA)
    }

    /// Whether span number `span` is here and known to be sound.
    pub fn is_present(&self, span: usize) -> bool {
        match self.states[span].load(Ordering::Acquire) {
            PRESENT => true,
            SUSPECT => self.examine(span, SUSPECT),
            _ => false,
        }
    }

    /// Whether every span is here.
    pub fn is_complete(&self) -> bool {
        let all = self.states.len() as u64;
        self.present_spans.load(Ordering::Acquire) == all
            || (0..self.states.len()).all(|span| self.is_present(span))
    }

    /// Bytes of the data file that are here (suspect ones included).
    pub fn present_bytes(&self) -> u64 {
        let here = self.states.iter().map(|state| state.load(Ordering::Acquire) != ABSENT);
        self.index.spans.iter().zip(here).filter(|(_, here)| *here).map(|(span, _)| span.data.len()).sum()
    }

    /// Bytes of the blob whose spans are here (suspect ones included).
    pub fn present_blob_bytes(&self) -> u64 {
        let here = self.states.iter().map(|state| state.load(Ordering::Acquire) != ABSENT);
        self.index.spans.iter().zip(here).filter(|(_, here)| *here).map(|(span, _)| span.blob.len()).sum()
    }

    /// Whether somebody fetches the span now.
    pub fn in_flight(&self, span: usize) -> bool {
        self.flights.in_flight(span)
    }

    pub(crate) const fn flights(&self) -> &Flights {
        &self.flights
    }

    /// The 32 KiB of stream before a span, or nothing where the recipe needs none.
    ///
    /// # Errors
    /// The windows file cannot be read or is damaged.
    pub fn window(&self, span: usize) -> Result<Vec<u8>, StoreError> {
        let Recipe::Deflate { window, .. } = self.index.spans[span].recipe else { return Ok(Vec::new()) };
        let path = self.dir.join(paths::WINDOWS);
        let mut packed = vec![0; window.len as usize];
        self.windows
            .read_exact_at(&mut packed, window.offset)
            .map_err(|e| StoreError::io("read", &path, e))?;
        zstd::bulk::decompress(&packed, 32 * 1024).map_err(|e| StoreError::io("decompress", &path, e))
    }

    /// All windows as they are kept, which is as the index's references have them: for another node that takes the index over.
    ///
    /// # Errors
    /// What the disk says.
    pub fn packed_windows(&self) -> Result<Vec<u8>, StoreError> {
        let path = self.dir.join(paths::WINDOWS);
        std::fs::read(&path).map_err(|e| StoreError::io("read", &path, e))
    }

    /// Reads bytes of the data file. The spans must be present.
    ///
    /// # Errors
    /// [`StoreError::Absent`] when one is not, [`StoreError::Distrusted`], or what the disk says.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), StoreError> {
        self.believe()?;
        for span in self.index.spans_for_data(ByteRange::at(offset, buffer.len() as u64)) {
            if self.states[span].load(Ordering::Acquire) != PRESENT {
                return Err(StoreError::Absent { layer: self.index.blob, span });
            }
        }
        self.data.read_exact_at(buffer, offset).map_err(|e| StoreError::io("read", &self.data_path(), e))
    }

    /// Checks the decoded bytes of a span, writes them to their place and marks the span present.
    ///
    /// For a span whose check is of the blob the caller has checked the blob's bytes.
    ///
    /// # Errors
    /// [`StoreError::Mismatch`] when the bytes are not the span's, [`StoreError::Distrusted`]; or what the disk says, a
    /// full one included. The span stays absent then.
    pub fn commit(&self, span: usize, stream: &[u8]) -> Result<(), StoreError> {
        self.believe()?;
        let mismatch = || StoreError::Mismatch { layer: self.index.blob, span };
        let expected = &self.index.spans[span];
        if stream.len() as u64 != expected.stream.len() {
            return Err(mismatch());
        }
        if expected.check == Check::Chunks {
            let bytes = |chunk: &Chunk| {
                let start = (chunk.stream.start - expected.stream.start) as usize;
                &stream[start..start + chunk.stream.len() as usize]
            };
            if self.index.chunks_of(span).iter().any(|chunk| Digest::of(bytes(chunk)) != chunk.digest) {
                return Err(mismatch());
            }
        }
        let image = glowplug_layer::place(&self.index, &self.extents, span, stream);
        let data = Digest::of(&image);
        if matches!(expected.check, Check::Data(digest) if digest != data) {
            return Err(mismatch());
        }
        self.data
            .write_all_at(&image, expected.data.start)
            .map_err(|e| StoreError::io("write", &self.data_path(), e))?;
        self.mark(span, data);
        Ok(())
    }

    /// Marks a span present whose bytes are in place and checked.
    pub(crate) fn mark(&self, span: usize, data: Digest) {
        let mut ledger = lock(&self.ledger);
        ledger.digests[span] = Some(data);
        ledger.pending.push(Record { span: span as u32, data });
        if self.states[span].swap(PRESENT, Ordering::AcqRel) != PRESENT {
            self.present_spans.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Makes presence durable: syncs the data, then appends what is new to the journal.
    ///
    /// # Errors
    /// What the disk says; the records stay pending.
    pub fn flush(&self) -> Result<(), StoreError> {
        // The journal's lock is held throughout, so that two flushes cannot append out of order.
        let mut journal = lock(&self.journal);
        let records = std::mem::take(&mut lock(&self.ledger).pending);
        if records.is_empty() {
            return Ok(());
        }
        let synced = self.data.sync_data().map_err(|e| StoreError::io("sync", &self.data_path(), e));
        let result = synced.and_then(|()| journal.append(&records));
        if result.is_err() {
            // In front of what came meanwhile: the last record of a span counts.
            lock(&self.ledger).pending.splice(..0, records);
        }
        result
    }

    /// Checks every span that is said to be here against its digest.
    pub fn verify(&self) -> Verdict {
        let mut verdict = Verdict::default();
        for span in 0..self.states.len() {
            let seen = self.states[span].load(Ordering::Acquire);
            if seen != ABSENT {
                if self.examine(span, seen) {
                    verdict.sound += 1;
                } else {
                    verdict.damaged += 1;
                }
            }
        }
        verdict
    }

    /// Reads a span back and compares it with the digest in the journal and, where it has one, in the index. A span that
    /// is damaged is absent from now on, for the next user as well.
    fn examine(&self, span: usize, seen: u8) -> bool {
        let expected = &self.index.spans[span];
        let noted = lock(&self.ledger).digests[span];
        let mut image = vec![0; usize::try_from(expected.data.len()).unwrap_or(0)];
        let read = self.data.read_exact_at(&mut image, expected.data.start);
        let actual = Digest::of(&image);
        let sound = read.is_ok()
            && noted == Some(actual)
            && !matches!(expected.check, Check::Data(digest) if digest != actual);
        let state = if sound { PRESENT } else { ABSENT };
        let mut ledger = lock(&self.ledger);
        if let Err(now) = self.states[span].compare_exchange(seen, state, Ordering::AcqRel, Ordering::Acquire)
        {
            // Somebody else has looked, or has fetched it again, while we read.
            return now == PRESENT;
        }
        match (seen == PRESENT, sound) {
            (false, true) => _ = self.present_spans.fetch_add(1, Ordering::AcqRel),
            (true, false) => _ = self.present_spans.fetch_sub(1, Ordering::AcqRel),
            _ => {}
        }
        if !sound {
            tracing::warn!(layer = %self.index.blob, span, "damaged on disk, it will be fetched again");
            ledger.digests[span] = None;
            ledger.pending.push(Record::gone(span as u32));
        }
        sound
    }

    /// Gives the data back to the disk; index and windows stay. Only for a layer that nobody else holds.
    pub(crate) fn drop_data(&self) -> Result<u64, StoreError> {
        let freed = self.present_bytes();
        // First the promise, then the bytes. A flush that runs now must not repeat the promise.
        let mut journal = lock(&self.journal);
        lock(&self.ledger).pending.clear();
        journal.restart()?;
        self.states.iter().for_each(|state| state.store(ABSENT, Ordering::Release));
        self.present_spans.store(0, Ordering::Release);
        let path = self.data_path();
        self.data.set_len(0).map_err(|e| StoreError::io("truncate", &path, e))?;
        self.data.set_len(self.index.data_size).map_err(|e| StoreError::io("extend", &path, e))?;
        Ok(freed)
    }
}

impl Drop for Layer {
    fn drop(&mut self) {
        lock(&self.journal).touch();
        match self.flush() {
            // Checked or refetched, every span of it.
            Ok(()) if self.states.iter().all(|state| state.load(Ordering::Acquire) != SUSPECT) => {
                let _ = std::fs::remove_file(self.dir.join(paths::SUSPECT));
            }
            Ok(()) => {}
            Err(error) => self.hold.holders().distrust(&error),
        }
    }
}
