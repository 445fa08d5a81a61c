//! What must be kept on disk while a layer is made, and by nobody afterwards.
//!
//! The file has no name: whatever happens, it leaves nothing behind.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use crate::StoreError;

/// A file that is written from its beginning and read anywhere.
#[derive(Debug)]
pub struct Scratch {
    file: File,
    /// Where it was made, for messages.
    path: PathBuf,
    bytes: u64,
}

impl Scratch {
    /// An empty one; `path` is free, and is so again.
    pub(crate) fn new(path: PathBuf) -> Result<Self, StoreError> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
        let file = file.map_err(|e| StoreError::io("create", &path, e))?;
        std::fs::remove_file(&path).map_err(|e| StoreError::io("remove", &path, e))?;
        Ok(Self { file, path, bytes: 0 })
    }

    /// Its length in bytes.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes further bytes.
    ///
    /// # Errors
    /// What the disk says, a full one included.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let written = self.file.write_all_at(bytes, self.bytes);
        written.map_err(|e| StoreError::io("write", &self.path, e))?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Reads bytes that are here.
    ///
    /// # Errors
    /// What the disk says, or that the bytes are not here.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), StoreError> {
        self.file.read_exact_at(buffer, offset).map_err(|e| StoreError::io("read", &self.path, e))
    }
}
