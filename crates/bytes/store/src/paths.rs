//! Where things lie in the store's directory.

use std::path::{Path, PathBuf};

use glowplug_base::Digest;

/// The paths of one store.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    root: PathBuf,
}

impl Paths {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn format(&self) -> PathBuf {
        self.root.join("format")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub(crate) fn clean(&self) -> PathBuf {
        self.root.join("clean")
    }

    pub(crate) fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    pub(crate) fn layer(&self, blob: &Digest) -> PathBuf {
        self.layers().join(blob.hex())
    }

    pub(crate) fn documents(&self) -> PathBuf {
        self.root.join("documents")
    }
}

/// Name of the index within a layer's directory.
pub(crate) const INDEX: &str = "index";
/// Name of the windows file.
pub(crate) const WINDOWS: &str = "windows";
/// Name of the data file.
pub(crate) const DATA: &str = "data";
/// Name that a file without one has while it is made.
pub(crate) const SCRATCH: &str = "scratch";
/// Name of the presence journal.
pub(crate) const PRESENCE: &str = "presence";
/// Mark of a layer whose journal must not be believed before its spans were checked.
pub(crate) const SUSPECT: &str = "suspect";
/// Mark of a layer whose published index was found to be wrong.
pub(crate) const DISTRUSTED: &str = "distrusted";
/// Mark of a layer whose published index was held against the whole layer and found right. Empty where the layer's own digest told;
/// otherwise it holds the digest of the archive that did. Whatever else is in it confirms nothing.
pub(crate) const CONFIRMED: &str = "confirmed";
/// Suffix of files that are not finished; removed when the store is opened.
pub(crate) const UNFINISHED: &str = ".new";
