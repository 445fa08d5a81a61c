//! The file in which a blob is made, before its length and digest are known, or in which a tar waits. It is gone when it
//! was not taken.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use glowplug_base::{Digest, Hasher};
use glowplug_registry::BlobFile;

/// Files that were made in this process: each has a name of its own.
static MADE: AtomicU64 = AtomicU64::new(0);

/// A blob that is being written.
#[derive(Debug)]
pub(crate) struct Spool {
    file: File,
    path: SpoolPath,
    hasher: Hasher,
    len: u64,
}

/// A tar that waits to be packed. The file goes with it.
#[derive(Debug)]
pub(crate) struct SpooledTar {
    path: SpoolPath,
    len: u64,
}

impl SpooledTar {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path.0
    }

    /// Its length in bytes.
    pub(crate) const fn len(&self) -> u64 {
        self.len
    }
}

/// The path of a spooled file, which goes with it.
#[derive(Debug)]
pub(crate) struct SpoolPath(PathBuf);

impl Spool {
    /// An empty file in `dir`, or where temporary files go. Blocks.
    pub(crate) fn create(dir: Option<&Path>) -> Result<Self, (PathBuf, io::Error)> {
        // What lies in a place for everybody is not for everybody.
        let (dir, mode) = dir.map_or_else(|| (std::env::temp_dir(), 0o600), |dir| (dir.to_owned(), 0o666));
        loop {
            let number = MADE.fetch_add(1, Ordering::Relaxed);
            let path = dir.join(format!(".glowplug-{}-{number}", std::process::id()));
            match OpenOptions::new().write(true).create_new(true).mode(mode).open(&path) {
                Ok(file) => return Ok(Self { file, path: SpoolPath(path), hasher: Hasher::new(), len: 0 }),
                // Left behind by a process of the same number.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err((path, error)),
            }
        }
    }

    /// Bytes so far.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path.0
    }

    /// Appends bytes. Blocks.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    /// The blob, complete. It lasts as long as its path.
    pub(crate) fn finish(self) -> (BlobFile, SpoolPath) {
        let digest: Digest = self.hasher.finish();
        (BlobFile { path: self.path.0.clone(), digest, size: self.len }, self.path)
    }

    /// The tar, complete, and its digest.
    pub(crate) fn finish_tar(self) -> (SpooledTar, Digest) {
        (SpooledTar { path: self.path, len: self.len }, self.hasher.finish())
    }
}

impl Drop for SpoolPath {
    fn drop(&mut self) {
        // Whoever took the file has taken its name, too.
        let _ = std::fs::remove_file(&self.0);
    }
}
