//! Small files with a name: manifests, configurations, tags, profiles.
//!
//! Each is one line, `glowplug-document 1 <crc32> <length>`, and the body. Written beside and renamed, so that a reader
//! sees the old one or the new one; a damaged one or one of another version reads as absent.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use glowplug_base::Digest;

use crate::StoreError;
use crate::paths::{self, Paths};

const HEADER: &str = "glowplug-document 1";
/// Tells writers apart.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// The documents of a store.
#[derive(Debug, Clone)]
pub struct Documents {
    dir: PathBuf,
}

impl Documents {
    pub(crate) fn new(paths: &Paths) -> Self {
        Self { dir: paths.documents() }
    }

    /// Writes a document. Any text can be a name.
    ///
    /// # Errors
    /// What the disk says.
    pub fn put(&self, kind: &str, name: &str, body: &[u8]) -> Result<(), StoreError> {
        let path = self.path(kind, name);
        let parent = self.dir.join(kind);
        std::fs::create_dir_all(&parent).map_err(|e| StoreError::io("create", &parent, e))?;
        let mut bytes = format!("{HEADER} {:08x} {}\n", crc32fast::hash(body), body.len()).into_bytes();
        bytes.extend_from_slice(body);
        // Numbered, so that two writers of one document do not write into each other's file.
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let beside = path.with_extension(format!("{number}{}", paths::UNFINISHED));
        let written = std::fs::write(&beside, bytes).map_err(|e| StoreError::io("write", &beside, e));
        let outcome = written
            .and_then(|()| std::fs::rename(&beside, &path).map_err(|e| StoreError::io("rename", &beside, e)));
        if outcome.is_err() {
            let _ = std::fs::remove_file(&beside);
        }
        outcome
    }

    /// Reads a document; `None` when it is not there or not sound.
    pub fn get(&self, kind: &str, name: &str) -> Option<Vec<u8>> {
        parse(&std::fs::read(self.path(kind, name)).ok()?)
    }

    /// All sound documents of a kind.
    pub fn all(&self, kind: &str) -> Vec<Vec<u8>> {
        let Ok(files) = std::fs::read_dir(self.dir.join(kind)) else { return Vec::new() };
        let mut paths: Vec<_> = files.flatten().map(|file| file.path()).collect();
        // What was never renamed into its place was never written.
        paths.retain(|path| path.extension().is_none());
        paths.sort();
        paths.iter().filter_map(|path| parse(&std::fs::read(path).ok()?)).collect()
    }

    /// Removes a document, if it is there.
    ///
    /// # Errors
    /// What the disk says.
    pub fn remove(&self, kind: &str, name: &str) -> Result<(), StoreError> {
        let path = self.path(kind, name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StoreError::io("remove", &path, error))
            }
            _ => Ok(()),
        }
    }

    /// Names are hashed: they hold slashes and colons, and may be longer than a file name.
    fn path(&self, kind: &str, name: &str) -> PathBuf {
        self.dir.join(kind).join(Digest::of(name.as_bytes()).hex())
    }
}

fn parse(bytes: &[u8]) -> Option<Vec<u8>> {
    let line = bytes.iter().position(|byte| *byte == b'\n')?;
    let header = std::str::from_utf8(&bytes[..line]).ok()?.strip_prefix(HEADER)?;
    let body = &bytes[line + 1..];
    let mut words = header.split_whitespace();
    let crc = u32::from_str_radix(words.next()?, 16).ok()?;
    let length: usize = words.next()?.parse().ok()?;
    (length == body.len() && crc == crc32fast::hash(body)).then(|| body.to_vec())
}
