//! Marks in a layer's directory: files whose being there says something. And how a layer is discarded beside them.

use std::fs::File;
use std::path::Path;

use glowplug_base::Digest;

use crate::{StoreError, paths};

/// What was found out by somebody else.
pub(crate) fn earlier(layer: Digest) -> StoreError {
    StoreError::Distrusted { layer, reason: "that showed when the layer was read earlier".to_owned() }
}

pub(crate) fn is_distrusted(dir: &Path) -> bool {
    dir.join(paths::DISTRUSTED).exists()
}

/// Leaves word that the journal in `dir` must not be believed before its spans were checked.
pub(crate) fn suspect(dir: &Path) -> Result<(), StoreError> {
    leave(&dir.join(paths::SUSPECT))
}

/// Leaves word, durably, that no published index of the layer in `dir` is to be believed.
pub(crate) fn distrust(dir: &Path) -> Result<(), StoreError> {
    leave(&dir.join(paths::DISTRUSTED))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|e| StoreError::io("sync", dir, e))
}

pub(crate) fn is_confirmed(dir: &Path) -> bool {
    dir.join(paths::CONFIRMED).exists()
}

/// Whether the published index of the layer in `dir` is right by the layer's own digest, or by `archive`.
pub(crate) fn is_confirmed_for(dir: &Path, archive: Option<&Digest>) -> bool {
    std::fs::read_to_string(dir.join(paths::CONFIRMED))
        .is_ok_and(|by| by.is_empty() || archive.is_some_and(|archive| by == archive.to_string()))
}

/// Leaves word that the published index of the layer in `dir` is right: by the layer's own digest, or by the digest of an
/// `archive`. Not durable: at worst it is found out again.
pub(crate) fn confirm(dir: &Path, archive: Option<&Digest>) -> Result<(), StoreError> {
    let path = dir.join(paths::CONFIRMED);
    let by = archive.map(Digest::to_string).unwrap_or_default();
    std::fs::write(&path, by).map_err(|e| StoreError::io("write", &path, e))
}

fn leave(path: &Path) -> Result<(), StoreError> {
    File::create(path).map(drop).map_err(|e| StoreError::io("create", path, e))
}

/// Removes the layer in `dir`, but neither the mark nor what somebody builds there.
pub(crate) fn discard(dir: &Path) -> Result<(), StoreError> {
    // The index first: without it the rest is nothing.
    for name in [paths::INDEX, paths::CONFIRMED, paths::PRESENCE, paths::DATA, paths::WINDOWS, paths::SUSPECT]
    {
        let path = dir.join(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::io("remove", &path, error));
            }
            _ => {}
        }
    }
    Ok(())
}
