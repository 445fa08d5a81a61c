//! What can go wrong with a store, naming the file.

use std::io;
use std::path::{Path, PathBuf};

use glowplug_base::{Digest, Hint, Hinted};

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file operation failed.
    #[error("{action} {path}")]
    Io {
        /// What was tried: `open`, `write`, …
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// Another process uses the store.
    #[error("store {path} is in use by process {pid}")]
    InUse {
        /// The store.
        path: PathBuf,
        /// Its user, as written in the lock file.
        pid: String,
    },
    /// The directory is a store of another version, or something else entirely.
    #[error("{path} is not a store of this version of glowplug: {found:?}")]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// What its format file says.
        found: String,
    },
    /// Bytes do not match their digest.
    #[error("span {span} of layer {layer} does not match its digest")]
    Mismatch {
        /// The layer's blob.
        layer: Digest,
        /// The span's number.
        span: usize,
    },
    /// A layer index does not serialise or is damaged.
    #[error("layer {layer}")]
    Index {
        /// The layer's blob.
        layer: Digest,
        /// What is wrong with it.
        #[source]
        source: glowplug_layer::CodecError,
    },
    /// A span is not here.
    #[error("span {span} of layer {layer} is not here")]
    Absent {
        /// The layer's blob.
        layer: Digest,
        /// The span's number.
        span: usize,
    },
    /// The index that somebody published for the layer is wrong, so nothing that it says is believed.
    #[error("the index published for layer {layer} is wrong: {reason}")]
    Distrusted {
        /// The layer's blob.
        layer: Digest,
        /// Which of its claims, and what the layer says instead.
        reason: String,
    },
    /// The layer is open somewhere, so its data must stay.
    #[error("layer {0} is in use")]
    LayerInUse(Digest),
}

impl StoreError {
    /// An I/O error on `path`.
    pub(crate) fn io(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Io { action, path: path.to_owned(), source: source.into() }
    }

    /// The `errno` that a reader behind the kernel gets.
    pub fn errno(&self) -> i32 {
        let eio = rustix::io::Errno::IO.raw_os_error();
        match self {
            Self::Io { source, .. } => source.raw_os_error().unwrap_or(eio),
            _ => eio,
        }
    }
}

impl Hinted for StoreError {
    fn hint(&self) -> Option<Hint> {
        match self {
            Self::InUse { .. } => {
                Some(Hint::new("wait for it to end, or choose another directory with --store"))
            }
            Self::Distrusted { .. } => {
                Some(Hint::new("end what uses it and start again: the layer will stream by"))
            }
            Self::Foreign { .. } => Some(Hint::new("choose an empty directory with --store")),
            Self::Io { source, .. }
                if source.raw_os_error() == Some(rustix::io::Errno::NOSPC.raw_os_error()) =>
            {
                Some(Hint::new("free some space: `glowplug store gc` removes what no image needs"))
            }
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some(Hint::new("choose a directory that you may write to with --store"))
            }
            _ => None,
        }
    }
}
