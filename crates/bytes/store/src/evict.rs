//! What the store holds, and how it is made smaller.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt as _;
use std::time::SystemTime;

use glowplug_base::Digest;

use crate::{Layer, Store, StoreError, paths};

/// One layer's use of the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// The layer's blob.
    pub blob: Digest,
    /// Bytes of data on disk.
    pub data_bytes: u64,
    /// Bytes of index, windows and journal.
    pub index_bytes: u64,
    /// When it was last opened.
    pub used: SystemTime,
    /// Whether somebody holds it now.
    pub open: bool,
}

/// What a clean-up freed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Freed {
    /// Layers whose data went.
    pub layers: usize,
    /// Bytes of data.
    pub bytes: u64,
}

/// `st_blocks` counts in units of 512 bytes whatever the file system's block size.
const STAT_BLOCK_BYTES: u64 = 512;

impl Store {
    /// Every layer's use of the disk, least recently used first.
    ///
    /// # Errors
    /// What the disk says.
    pub fn usage(&self) -> Result<Vec<Usage>, StoreError> {
        let root = self.paths().layers();
        let mut usage = Vec::new();
        for dir in std::fs::read_dir(&root).map_err(|e| StoreError::io("list", &root, e))?.flatten() {
            let Ok(blob) = format!("sha256:{}", dir.file_name().to_string_lossy()).parse::<Digest>() else {
                continue;
            };
            let on_disk = |name: &str| std::fs::metadata(dir.path().join(name)).ok();
            let bytes = |name: &str| on_disk(name).map_or(0, |meta| meta.blocks() * STAT_BLOCK_BYTES);
            usage.push(Usage {
                blob,
                data_bytes: bytes(paths::DATA),
                index_bytes: [paths::INDEX, paths::WINDOWS, paths::PRESENCE].into_iter().map(bytes).sum(),
                used: on_disk(paths::PRESENCE)
                    .and_then(|meta| meta.modified().ok())
                    .unwrap_or(SystemTime::UNIX_EPOCH),
                open: self.is_open(&blob),
            });
        }
        usage.sort_by(|a, b| a.used.cmp(&b.used).then(a.blob.cmp(&b.blob)));
        Ok(usage)
    }

    /// Evicts data, least recently used first, until it fits the quota. Open layers stay.
    ///
    /// # Errors
    /// What the disk says.
    pub fn enforce_quota(&self) -> Result<Freed, StoreError> {
        let Some(quota) = self.quota_bytes() else { return Ok(Freed::default()) };
        let usage = self.usage()?;
        let mut total: u64 = usage.iter().map(|layer| layer.data_bytes).sum();
        let mut freed = Freed::default();
        for layer in usage.iter().filter(|layer| !layer.open && layer.data_bytes > 0) {
            if total <= quota {
                break;
            }
            match self.drop_data(&layer.blob) {
                // Opened since we looked.
                Err(StoreError::LayerInUse(_)) => continue,
                outcome => outcome?,
            }
            total -= layer.data_bytes;
            freed.layers += 1;
            freed.bytes += layer.data_bytes;
        }
        Ok(freed)
    }

    /// Gives a layer's data back to the disk and keeps its index, so that it is lazily readable again.
    ///
    /// # Errors
    /// [`StoreError::LayerInUse`], or what the disk says.
    pub fn drop_data(&self, blob: &Digest) -> Result<(), StoreError> {
        let hold = self.alone(blob).ok_or(StoreError::LayerInUse(*blob))?;
        let dir = self.paths().layer(blob);
        if !dir.join(paths::INDEX).exists() {
            return Ok(());
        }
        match Layer::open(&dir, blob, hold) {
            Ok(layer) => layer.drop_data().map(drop),
            // Data that no index describes is of no use to anybody.
            Err(StoreError::Index { .. }) => self.remove(blob),
            // It went as the layer was looked at.
            Err(StoreError::Distrusted { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes a layer altogether, its index included.
    ///
    /// # Errors
    /// [`StoreError::LayerInUse`], or what the disk says.
    pub fn remove(&self, blob: &Digest) -> Result<(), StoreError> {
        let _hold = self.alone(blob).ok_or(StoreError::LayerInUse(*blob))?;
        let dir = self.paths().layer(blob);
        // The index first: without it the rest is nothing.
        let _ = std::fs::remove_file(dir.join(paths::INDEX));
        match std::fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StoreError::io("remove", &dir, error))
            }
            _ => Ok(()),
        }
    }

    /// Removes every layer that is not in `keep`.
    ///
    /// # Errors
    /// What the disk says. Open layers are kept silently.
    pub fn collect_garbage(&self, keep: &HashSet<Digest>) -> Result<Freed, StoreError> {
        let mut freed = Freed::default();
        for layer in self.usage()?.iter().filter(|layer| !layer.open && !keep.contains(&layer.blob)) {
            match self.remove(&layer.blob) {
                Err(StoreError::LayerInUse(_)) => continue,
                outcome => outcome?,
            }
            freed.layers += 1;
            freed.bytes += layer.data_bytes + layer.index_bytes;
        }
        Ok(freed)
    }
}
