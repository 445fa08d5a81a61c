//! One process per store.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;

use rustix::fs::FlockOperation;

use crate::StoreError;
use crate::paths::Paths;

/// Held as long as the store is open; the kernel frees it when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Lock {
    pub(crate) fn take(paths: &Paths) -> Result<Self, StoreError> {
        let path = paths.lock();
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|e| StoreError::io("open", &path, e))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut pid = String::new();
                let _ = file.read_to_string(&mut pid);
                return Err(StoreError::InUse { path: paths.root().to_owned(), pid: pid.trim().to_owned() });
            }
            Err(error) => return Err(StoreError::io("lock", &path, error)),
        }
        // In place and of one width, so that a full disk has room for it; and only for people, so that it may fail: a
        // store on a full disk must open, or nothing could be removed from it.
        let _ = file.write_all_at(format!("{:<10}\n", std::process::id()).as_bytes(), 0);
        Ok(Self(file))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a child that was just forked and has not yet become another program has the file too.
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}
