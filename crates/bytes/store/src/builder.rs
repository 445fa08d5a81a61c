//! Writes a layer whose index is being made: data first, the index when the whole blob is known to be right.
//!
//! Nothing of it is readable before [`LayerBuilder::finish`]; a builder that is dropped leaves nothing behind.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use glowplug_base::Digest;
use glowplug_layer::{Check, LayerIndex, Limits, WindowRef};

use crate::{Layer, Scratch, Store, StoreError, mark, paths};

/// A layer under construction.
#[derive(Debug)]
pub struct LayerBuilder {
    dir: PathBuf,
    blob: Digest,
    number: u64,
    data: File,
    windows: BufWriter<File>,
    windows_bytes: u64,
    finished: bool,
}

/// Tells the builders of one layer apart: two images that share it may begin at the same time.
static NUMBER: AtomicU64 = AtomicU64::new(0);

impl Store {
    /// Begins a new layer.
    ///
    /// # Errors
    /// [`StoreError::Distrusted`] when somebody still holds the layer with a wrong index, or what the disk says.
    pub fn build(&self, blob: Digest) -> Result<LayerBuilder, StoreError> {
        if let Some(error) = self.held_in_distrust(&blob) {
            return Err(error);
        }
        LayerBuilder::new(self.paths().layer(&blob), blob)
    }

    /// Takes an index that came from elsewhere; `windows` are given as the index's window references expect them.
    ///
    /// # Errors
    /// [`StoreError::Distrusted`] when another one was wrong; beyond that as [`LayerBuilder::finish`].
    pub fn adopt(&self, builder: LayerBuilder, index: &LayerIndex) -> Result<Arc<Layer>, StoreError> {
        builder.finish(self, index, false)
    }
}

fn unfinished(dir: &Path, name: &str, number: u64) -> PathBuf {
    dir.join(format!("{name}.{number}{}", paths::UNFINISHED))
}

impl LayerBuilder {
    pub(crate) fn new(dir: PathBuf, blob: Digest) -> Result<Self, StoreError> {
        std::fs::create_dir_all(&dir).map_err(|e| StoreError::io("create", &dir, e))?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let open = |name: &str| {
            let path = unfinished(&dir, name, number);
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .open(&path)
                .map_err(|e| StoreError::io("create", &path, e))
        };
        let (data, windows) = (open(paths::DATA)?, open(paths::WINDOWS)?);
        Ok(Self {
            dir,
            blob,
            number,
            data,
            windows: BufWriter::new(windows),
            windows_bytes: 0,
            finished: false,
        })
    }

    /// Writes bytes of the data file.
    ///
    /// # Errors
    /// What the disk says, a full one included.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), StoreError> {
        self.data
            .write_all_at(bytes, offset)
            .map_err(|e| StoreError::io("write", &self.unfinished(paths::DATA), e))
    }

    /// Room for what must be kept while the layer is made.
    ///
    /// # Errors
    /// What the disk says.
    pub fn scratch(&self) -> Result<Scratch, StoreError> {
        Scratch::new(self.unfinished(paths::SCRATCH))
    }

    /// Adds a deflate window.
    ///
    /// # Errors
    /// What the disk says.
    pub fn add_window(&mut self, window: &[u8]) -> Result<WindowRef, StoreError> {
        let path = self.unfinished(paths::WINDOWS);
        // Level 1: windows are written at line rate and read rarely.
        let packed = zstd::bulk::compress(window, 1).map_err(|e| StoreError::io("compress", &path, e))?;
        self.windows.write_all(&packed).map_err(|e| StoreError::io("write", &path, e))?;
        let offset = self.windows_bytes;
        self.windows_bytes += packed.len() as u64;
        Ok(WindowRef { offset, len: packed.len() as u32 })
    }

    /// Takes all windows over as another node's store had them, instead of adding them one by one.
    ///
    /// # Errors
    /// What the disk says.
    pub fn put_packed_windows(&mut self, packed: &[u8]) -> Result<(), StoreError> {
        let written = self.windows.write_all(packed);
        written.map_err(|e| StoreError::io("write", &self.unfinished(paths::WINDOWS), e))?;
        self.windows_bytes += packed.len() as u64;
        Ok(())
    }

    /// Publishes the layer: from here on it is in the store, with every span present whose check is of the data.
    ///
    /// Whoever calls this has checked the whole blob against its digest. For an index that came without data, no span
    /// is present yet. When somebody has the layer open meanwhile, theirs stays and is returned, and this one goes.
    ///
    /// # Errors
    /// [`StoreError::Index`] for an index that no reader would take, [`StoreError::Distrusted`] when the layer is held with
    /// a wrong index or this one was published and another such was wrong, or what the disk says; nothing is published then.
    pub fn finish(
        mut self,
        store: &Store,
        index: &LayerIndex,
        with_data: bool,
    ) -> Result<Arc<Layer>, StoreError> {
        let encoded = glowplug_layer::encode_within(index, &Limits::default())
            .map_err(|source| StoreError::Index { layer: self.blob, source })?;
        self.windows.flush().map_err(|e| StoreError::io("write", &self.unfinished(paths::WINDOWS), e))?;
        let path = self.unfinished(paths::INDEX);
        std::fs::write(&path, encoded).map_err(|e| StoreError::io("write", &path, e))?;
        let Some(hold) = store.alone(&self.blob) else { return store.opened(&self.blob) };
        if index.origin.is_published() && mark::is_distrusted(&self.dir) {
            return Err(mark::earlier(self.blob));
        }
        // The index of an earlier layer goes first and the new one comes last: nothing in between is a layer.
        for name in [paths::INDEX, paths::CONFIRMED, paths::PRESENCE, paths::SUSPECT] {
            let _ = std::fs::remove_file(self.dir.join(name));
        }
        for name in [paths::DATA, paths::WINDOWS, paths::INDEX] {
            let (from, to) = (self.unfinished(name), self.dir.join(name));
            std::fs::rename(&from, &to).map_err(|e| StoreError::io("rename", &from, e))?;
        }
        self.finished = true;
        let layer = store.open_held(&self.blob, hold)?;
        if with_data {
            for (number, span) in index.spans.iter().enumerate() {
                if let Check::Data(digest) = span.check {
                    layer.mark(number, digest);
                }
            }
        }
        Ok(layer)
    }

    fn unfinished(&self, name: &str) -> PathBuf {
        unfinished(&self.dir, name, self.number)
    }
}

impl Drop for LayerBuilder {
    fn drop(&mut self) {
        if !self.finished {
            for name in [paths::DATA, paths::WINDOWS, paths::INDEX] {
                let _ = std::fs::remove_file(self.unfinished(name));
            }
            // Only succeeds when no earlier layer lives there.
            let _ = std::fs::remove_dir(&self.dir);
        }
    }
}
