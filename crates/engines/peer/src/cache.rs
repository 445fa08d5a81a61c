//! The node's disk: pieces that came, least recently used ones making room.
//!
//! Pieces that this node owns and guests, pieces that others own, are counted apart. A guest is read again soon or not at
//! all: by a neighbouring range, by a reader that found it wrong. Whoever reads through this node keeps what it read. An
//! owned piece is what the whole cluster asks for. So guests have a quarter of the quota and no more.
//!
//! Invariants: a file is written beside and renamed, and checked as a whole before a byte of it is handed out; a damaged
//! one reads as absent and is removed. Nothing is synced: the checksum answers for what a crash leaves. One process per
//! directory. The order of use survives a restart by the files' times.

mod file;

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use glowplug_base::Digest;

use crate::shelf::Shelf;
use crate::{OpenError, PieceId};
use file::Stored;

/// What part of the quota guests have at most: one in this many bytes.
const GUESTS_SHARE: u64 = 4;
/// Suffix of files that are not finished; removed when the cache is opened.
const UNFINISHED: &str = "new";

/// Who gave a piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The registry.
    Registry,
    /// The peer of this name.
    Peer(Arc<str>),
}

/// A piece and where it came from.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) bytes: Bytes,
    pub(crate) origin: Origin,
}

/// Why a piece is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Rank {
    /// This node owns it, or one of its copies.
    Owned,
    /// Somebody here read it.
    Guest,
}

impl Rank {
    const ALL: [Self; 2] = [Self::Owned, Self::Guest];

    const fn dir(self) -> &'static str {
        match self {
            Self::Owned => "owned",
            Self::Guest => "guests",
        }
    }
}

/// What was found when a piece was looked for.
#[derive(Debug)]
pub(crate) enum Found {
    /// It is here.
    Sound(Piece),
    /// It was here, and its file was damaged.
    Damaged,
    /// It is not here.
    Absent,
}

/// A directory of pieces.
#[derive(Debug)]
pub(crate) struct Cache {
    dir: PathBuf,
    quota_bytes: u64,
    shelves: Mutex<Shelves>,
    /// Held for as long as the cache is open.
    _lock: File,
}

#[derive(Debug, Default)]
struct Shelves {
    of: HashMap<Rank, Shelf<PieceId>>,
    /// Tells writers of one piece apart.
    written: u64,
}

impl Shelves {
    fn bytes(&self, rank: Rank) -> u64 {
        self.of.get(&rank).map_or(0, Shelf::bytes)
    }

    fn total(&self) -> u64 {
        Rank::ALL.into_iter().map(|rank| self.bytes(rank)).sum()
    }

    /// Where a piece is.
    fn rank_of(&self, piece: &PieceId) -> Option<Rank> {
        Rank::ALL.into_iter().find(|rank| self.of.get(rank).is_some_and(|shelf| shelf.contains(piece)))
    }

    /// What has to go so that the quota holds.
    fn overflow(&mut self, quota_bytes: u64) -> Vec<(Rank, PieceId)> {
        let mut gone = Vec::new();
        for (rank, limit) in [(Rank::Guest, quota_bytes / GUESTS_SHARE), (Rank::Owned, quota_bytes)] {
            let others = self.total() - self.bytes(rank);
            let Some(shelf) = self.of.get_mut(&rank) else { continue };
            while shelf.bytes() > 0 && (shelf.bytes() > limit || others + shelf.bytes() > quota_bytes) {
                let Some(piece) = shelf.pop_oldest() else { break };
                gone.push((rank, piece));
            }
        }
        gone
    }
}

impl Cache {
    /// Opens a directory, which is made if it is not there, and sees what is in it.
    pub(crate) fn open(dir: &Path, quota_bytes: u64) -> Result<Self, OpenError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::File { path, source }
        };
        std::fs::create_dir_all(dir).map_err(failed(dir))?;
        let path = dir.join("lock");
        let lock = File::options().write(true).create(true).truncate(false).open(&path);
        let lock = lock.map_err(failed(&path))?;
        lock.try_lock().map_err(|error| match error {
            std::fs::TryLockError::WouldBlock => OpenError::InUse(dir.to_owned()),
            std::fs::TryLockError::Error(source) => failed(&path)(source),
        })?;
        let mut shelves = Shelves::default();
        for rank in Rank::ALL {
            let place = dir.join(rank.dir());
            std::fs::create_dir_all(&place).map_err(failed(&place))?;
            shelves.of.insert(rank, look_through(&place).map_err(failed(&place))?);
        }
        let cache = Self { dir: dir.to_owned(), quota_bytes, shelves: Mutex::new(shelves), _lock: lock };
        let gone = cache.lock().overflow(quota_bytes);
        cache.remove(&gone);
        Ok(cache)
    }

    /// Looks for a piece. Blocks on the disk.
    pub(crate) fn get(&self, piece: &PieceId) -> Found {
        let rank = {
            let mut shelves = self.lock();
            let Some(rank) = shelves.rank_of(piece) else { return Found::Absent };
            if let Some(shelf) = shelves.of.get_mut(&rank) {
                shelf.touch(piece);
            }
            rank
        };
        let path = self.path(rank, piece);
        match file::read(&path, piece) {
            Stored::Sound(found) => Found::Sound(found),
            // Removed since we looked.
            Stored::Absent => Found::Absent,
            Stored::Damaged => {
                self.forget(piece);
                Found::Damaged
            }
        }
    }

    /// Whether a piece is here, as far as is known without the disk.
    pub(crate) fn contains(&self, piece: &PieceId) -> bool {
        self.lock().rank_of(piece).is_some()
    }

    /// Keeps a piece, in the place of what is there under its name. Blocks on the disk.
    ///
    /// # Errors
    /// What the disk says; then the piece is not kept.
    pub(crate) fn put(&self, id: &PieceId, piece: &Piece, rank: Rank) -> std::io::Result<()> {
        let record = file::encode(id, piece);
        let bytes = file::disk_bytes(record.len() as u64 + piece.bytes.len() as u64);
        if bytes > self.quota_bytes {
            return Ok(());
        }
        let number = {
            let mut shelves = self.lock();
            shelves.written += 1;
            shelves.written
        };
        self.forget(id);
        let path = self.path(rank, id);
        let beside = path.with_extension(format!("{number}.{UNFINISHED}"));
        if let Err(error) = file::write(&beside, &path, &record, &piece.bytes) {
            let _ = std::fs::remove_file(&beside);
            return Err(error);
        }
        let gone = {
            let mut shelves = self.lock();
            shelves.of.entry(rank).or_default().insert(*id, bytes);
            shelves.overflow(self.quota_bytes)
        };
        self.remove(&gone);
        Ok(())
    }

    /// Pieces, and bytes on disk.
    pub(crate) fn usage(&self) -> (u64, u64) {
        let shelves = self.lock();
        (shelves.of.values().map(|shelf| shelf.len() as u64).sum(), shelves.total())
    }

    fn forget(&self, piece: &PieceId) {
        let found = {
            let mut shelves = self.lock();
            let rank = shelves.rank_of(piece);
            rank.inspect(|rank| {
                if let Some(shelf) = shelves.of.get_mut(rank) {
                    shelf.remove(piece);
                }
            })
        };
        self.remove(&found.map(|rank| (rank, *piece)).into_iter().collect::<Vec<_>>());
    }

    fn remove(&self, gone: &[(Rank, PieceId)]) {
        for (rank, piece) in gone {
            let _ = std::fs::remove_file(self.path(*rank, piece));
        }
    }

    fn path(&self, rank: Rank, piece: &PieceId) -> PathBuf {
        let hex = piece.blob.hex();
        self.dir.join(rank.dir()).join(&hex[..2]).join(format!("{hex}-{}", piece.number))
    }

    fn lock(&self) -> MutexGuard<'_, Shelves> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What lies in a directory, oldest first. What was never finished, and what is none of ours by its name, is removed.
fn look_through(place: &Path) -> std::io::Result<Shelf<PieceId>> {
    let mut found = Vec::new();
    for dir in std::fs::read_dir(place)?.flatten() {
        for entry in std::fs::read_dir(dir.path()).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            match named(&entry.file_name().to_string_lossy()) {
                Some(piece) if meta.is_file() => {
                    found.push((meta.modified().ok(), piece, file::disk_bytes(meta.len())));
                }
                _ => _ = std::fs::remove_file(entry.path()),
            }
        }
    }
    found.sort_by_key(|(modified, piece, _)| (*modified, piece.number));
    let mut shelf = Shelf::default();
    found.into_iter().for_each(|(_, piece, bytes)| shelf.insert(piece, bytes));
    Ok(shelf)
}

/// The piece that a file of this name holds.
fn named(name: &str) -> Option<PieceId> {
    let (hex, number) = name.split_once('-')?;
    let blob: Digest = format!("sha256:{hex}").parse().ok()?;
    Some(PieceId { blob, number: number.parse().ok()? })
}
