//! What can go wrong between a reader and the registry's bytes.

use std::path::PathBuf;
use std::sync::Arc;

use glowplug_base::{Digest, Hint, Hinted};
use glowplug_source::{Kind, SourceError};

/// Why something could not be had. Everybody who waits for the same piece gets the same error.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The registry does not give it.
    #[error(transparent)]
    Registry(Arc<glowplug_registry::Error>),
    /// The bytes that came are not the ones that the digest promises.
    #[error("the content of {0} does not match its digest")]
    Corrupt(Digest),
    /// A piece that the blob does not have.
    #[error("{blob} has no piece {number}")]
    NoSuchPiece {
        /// The blob.
        blob: Digest,
        /// The piece.
        number: u64,
    },
    /// Whoever fetched it came to an end before it was here.
    #[error("fetching was broken off")]
    BrokenOff,
}

impl From<glowplug_registry::Error> for Error {
    fn from(error: glowplug_registry::Error) -> Self {
        Self::Registry(Arc::new(error))
    }
}

impl From<SourceError> for Error {
    fn from(error: SourceError) -> Self {
        glowplug_registry::Error::from(error).into()
    }
}

impl Error {
    /// The HTTP status that says this to whoever asked: another mirror or the registry itself may do better.
    pub fn status(&self) -> u16 {
        match self {
            Self::Registry(error) => match &**error {
                glowplug_registry::Error::Source(SourceError { kind, .. }) => match kind {
                    Kind::NotFound => 404,
                    Kind::Denied(_) => 403,
                    Kind::Throttled { .. } => 429,
                    _ => 502,
                },
                _ => 502,
            },
            Self::NoSuchPiece { .. } => 416,
            Self::Corrupt(_) | Self::BrokenOff => 502,
        }
    }
}

/// Why a node cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file or directory cannot be read or written.
    #[error("{path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process has the cache.
    #[error("the cache in {0} is in use by another process")]
    InUse(PathBuf),
    /// A member's address is not one.
    #[error("{0:?} is not the address of a node")]
    Member(String),
    /// Certificates or keys that cannot be used.
    #[error("setting up TLS between nodes: {0}")]
    Tls(String),
}

impl Hinted for OpenError {
    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Member(_) => {
                Some(Hint::new("write http://HOST:PORT, or https://HOST:PORT with certificates"))
            }
            Self::InUse(_) => {
                Some(Hint::new("end the other process or choose another directory with --cache"))
            }
            Self::Tls(_) => Some(Hint::new("give certificate, key and authority as PEM files")),
            Self::File { .. } => None,
        }
    }
}
