//! The lore that was offered on this node, on its disk.
//!
//! ```text
//! glowplug-lore 1 <crc32 of what follows in the line> <path> <length> <digest of the bytes>\n
//! ```
//!
//! and then the bytes. Written beside and renamed. What does not agree with itself, with its name, or is of another
//! version is removed, with a word in the log, and reads as absent: it is offered again by the next start. Nothing is
//! synced. Least recently used lore makes room.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use glowplug_base::{Digest, Hasher};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{LoreHead, LoreId, OfferError};
use crate::shelf::Shelf;
use crate::{Error, OpenError};

const MAGIC: &str = "glowplug-lore 1";
/// Suffix of files that are not finished; removed when the directory is opened.
const UNFINISHED: &str = "new";
/// Longest first line, in bytes.
const LONGEST_LINE_BYTES: u64 = 1024;
/// File systems give out whole blocks.
const BLOCK_BYTES: u64 = 4096;
/// Bytes that are read at a time.
const READ_BYTES: usize = 128 * 1024;

/// A directory of lore.
#[derive(Debug)]
pub(crate) struct Kept {
    dir: PathBuf,
    quota_bytes: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    shelf: Shelf<LoreId>,
    /// Tells writers apart.
    written: u64,
}

impl Kept {
    /// Opens a directory, which is made if it is not there, and sees what is in it. Whoever opens it has the cache's lock.
    pub(crate) fn open(dir: &Path, quota_bytes: u64) -> Result<Self, OpenError> {
        let failed = |source| OpenError::File { path: dir.to_owned(), source };
        std::fs::create_dir_all(dir).map_err(failed)?;
        let mut found = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(failed)?.flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            match LoreId::of_file(&entry.file_name().to_string_lossy()) {
                Some(id) if meta.is_file() => found.push((meta.modified().ok(), id, disk_bytes(meta.len()))),
                _ => _ = std::fs::remove_file(entry.path()),
            }
        }
        found.sort_by_key(|(modified, ..)| *modified);
        let mut state = State::default();
        found.into_iter().for_each(|(_, id, bytes)| state.shelf.insert(id, bytes));
        let kept = Self { dir: dir.to_owned(), quota_bytes, state: Mutex::new(state) };
        kept.make_room();
        Ok(kept)
    }

    /// How long something is, and its digest, if it is here. Blocks on the disk.
    pub(crate) fn head(&self, id: &LoreId) -> Option<LoreHead> {
        self.find(id).map(|(head, _)| head)
    }

    /// The bytes of something, if it is here. Blocks on the disk.
    pub(crate) fn read(
        self: &Arc<Self>,
        id: &LoreId,
    ) -> Option<(LoreHead, BoxStream<'static, Result<Bytes, Error>>)> {
        let (head, file) = self.find(id)?;
        self.lock().shelf.touch(id);
        // For the order of use after a restart.
        let _ = File::options()
            .write(true)
            .open(self.path(id))
            .and_then(|file| file.set_modified(SystemTime::now()));
        let reading = Reading {
            kept: self.clone(),
            id: id.clone(),
            head,
            file: tokio::fs::File::from_std(file),
            hasher: Hasher::new(),
            left: head.length,
        };
        let bytes = futures::stream::unfold(Some(reading), |reading| async move {
            let mut reading = reading?;
            match reading.next().await {
                Ok(Some(bytes)) => Some((Ok(bytes), Some(reading))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        });
        Some((head, bytes.boxed()))
    }

    /// Keeps something, in the place of what is there under its name.
    ///
    /// # Errors
    /// See [`OfferError`]; then it is not kept, and what was there still is.
    pub(crate) async fn put<E: std::fmt::Display>(
        &self,
        id: &LoreId,
        head: &LoreHead,
        mut bytes: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<(), OfferError> {
        let line = line(id, head);
        let disk = disk_bytes(line.len() as u64 + head.length);
        if head.length > id.most_bytes() || disk > self.quota_bytes {
            return Err(OfferError::TooLong);
        }
        let number = {
            let mut state = self.lock();
            state.written += 1;
            state.written
        };
        let path = self.path(id);
        let beside = Beside(self.dir.join(format!("{number}.{UNFINISHED}")));
        let mut file = tokio::fs::File::create(&beside.0).await?;
        file.write_all(line.as_bytes()).await?;
        let (mut hasher, mut left) = (Hasher::new(), head.length);
        while let Some(piece) = bytes.next().await {
            let piece = piece.map_err(|error| OfferError::BrokenOff(error.to_string()))?;
            left = left.checked_sub(piece.len() as u64).ok_or(OfferError::Other)?;
            hasher.update(&piece);
            file.write_all(&piece).await?;
        }
        file.flush().await?;
        if left > 0 || hasher.finish() != head.digest {
            return Err(OfferError::Other);
        }
        tokio::fs::rename(&beside.0, &path).await?;
        self.lock().shelf.insert(id.clone(), disk);
        self.make_room();
        Ok(())
    }

    /// Removes something, if it is here.
    pub(crate) fn remove(&self, id: &LoreId) {
        self.lock().shelf.remove(id);
        let _ = std::fs::remove_file(self.path(id));
    }

    /// How much there is: things, and bytes on disk.
    pub(crate) fn usage(&self) -> (u64, u64) {
        let state = self.lock();
        (state.shelf.len() as u64, state.shelf.bytes())
    }

    /// The file of something, at its first byte.
    fn find(&self, id: &LoreId) -> Option<(LoreHead, File)> {
        if !self.lock().shelf.contains(id) {
            return None;
        }
        let found = open(&self.path(id), id);
        if found.is_none() {
            tracing::warn!(lore = id.path(), "what was kept of it is damaged or gone, it is dropped");
            self.remove(id);
        }
        found
    }

    fn make_room(&self) {
        let mut gone = Vec::new();
        {
            let mut state = self.lock();
            while state.shelf.bytes() > self.quota_bytes {
                let Some(oldest) = state.shelf.pop_oldest() else { break };
                gone.push(oldest);
            }
        }
        gone.iter().for_each(|id| _ = std::fs::remove_file(self.path(id)));
    }

    fn path(&self, id: &LoreId) -> PathBuf {
        self.dir.join(id.file_name())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes on disk of a file of `length` bytes.
const fn disk_bytes(length: u64) -> u64 {
    length.div_ceil(BLOCK_BYTES) * BLOCK_BYTES
}

/// The line before the bytes.
fn line(id: &LoreId, head: &LoreHead) -> String {
    let rest = format!("{} {} {}", id.path(), head.length, head.digest);
    format!("{MAGIC} {:08x} {rest}\n", crc32fast::hash(rest.as_bytes()))
}

/// Opens a file and holds its first line and its length against each other and against its name.
fn open(path: &Path, id: &LoreId) -> Option<(LoreHead, File)> {
    let mut file = File::open(path).ok()?;
    let mut first = String::new();
    BufReader::new(std::io::Read::take(&file, LONGEST_LINE_BYTES)).read_line(&mut first).ok()?;
    let mut words = first.trim_end().rsplit(' ');
    let digest: Digest = words.next()?.parse().ok()?;
    let length = words.next()?.parse().ok()?;
    let head = LoreHead { length, digest };
    let whole = file.metadata().ok()?.len() == first.len() as u64 + length;
    if first != line(id, &head) || !whole {
        return None;
    }
    file.seek(SeekFrom::Start(first.len() as u64)).ok()?;
    Some((head, file))
}

/// A file that is being written; removed unless it was given its name.
struct Beside(PathBuf);

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A file that is being read, and checked as it goes by.
struct Reading {
    kept: Arc<Kept>,
    id: LoreId,
    head: LoreHead,
    file: tokio::fs::File,
    hasher: Hasher,
    left: u64,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        let mut bytes = BytesMut::zeroed(READ_BYTES.min(usize::try_from(self.left).unwrap_or(READ_BYTES)));
        let read = self.file.read(&mut bytes).await.unwrap_or(0);
        bytes.truncate(read);
        self.hasher.update(&bytes);
        self.left -= read as u64;
        let wrong = self.left == 0 && std::mem::take(&mut self.hasher).finish() != self.head.digest;
        if read == 0 || wrong {
            tracing::warn!(lore = self.id.path(), "what was kept of it is damaged, it is dropped");
            self.kept.remove(&self.id);
            return Err(Error::BrokenOff);
        }
        Ok(Some(bytes.freeze()))
    }
}
