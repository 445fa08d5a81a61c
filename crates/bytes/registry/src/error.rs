//! What can go wrong between a reference and an image.

use std::path::PathBuf;

use glowplug_base::{Hint, Hinted};
use glowplug_oci::{ConfigError, DocumentError, LayerError, SelectError};
use glowplug_source::{Kind, SourceError};

/// Why an image or a part of it could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Bytes could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A manifest or index cannot be used.
    #[error("reading {name}")]
    Document {
        /// What was read.
        name: String,
        /// Why.
        source: DocumentError,
    },
    /// An image configuration cannot be used.
    #[error("reading the configuration of {name}")]
    Config {
        /// The image.
        name: String,
        /// Why.
        source: ConfigError,
    },
    /// A layer cannot be served.
    #[error("reading {name}")]
    Layer {
        /// The image.
        name: String,
        /// Why.
        source: LayerError,
    },
    /// No manifest of an index runs here.
    #[error("choosing from {name}")]
    Select {
        /// The index.
        name: String,
        /// Why.
        source: SelectError,
    },
    /// The image is for another platform.
    #[error("{name} is for {found}, not for {wanted}")]
    Platform {
        /// The image.
        name: String,
        /// What its configuration says.
        found: String,
        /// What was wanted.
        wanted: String,
    },
    /// Indexes in indexes in indexes.
    #[error("{0} leads through too many indexes")]
    TooDeep(String),
    /// Larger than allowed.
    #[error("{name} is larger than the allowed {limit} bytes")]
    TooBig {
        /// What was read.
        name: String,
        /// What is allowed, in bytes.
        limit: u64,
    },
    /// A local image is not what it should be.
    #[error("{path}: {what}")]
    Local {
        /// The directory or file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A local file cannot be read or written.
    #[error("{path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Several images, and nothing says which.
    #[error("{path} holds several images: {names}")]
    Several {
        /// The directory or file.
        path: PathBuf,
        /// Their names.
        names: String,
    },
    /// Archives are read, never written.
    #[error("{0} cannot be pushed to")]
    ReadOnly(String),
    /// A mirror or host in the options is malformed.
    #[error("malformed registry address {0:?}")]
    Address(String),
}

impl Error {
    /// Whether the same request may succeed later.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Source(error) => error.is_retryable(),
            _ => false,
        }
    }

    /// Whether the other side does not let us.
    pub const fn is_denied(&self) -> bool {
        matches!(self, Self::Source(SourceError { kind: Kind::Denied(_), .. }))
    }

    /// Whether the other side does not have it.
    pub const fn is_not_found(&self) -> bool {
        matches!(self, Self::Source(SourceError { kind: Kind::NotFound, .. }))
    }
}

impl Hinted for Error {
    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Source(SourceError { kind: Kind::Protocol(what), .. }) if what.contains("certificate") => {
                Some(Hint::new(
                    "trust the registry's authority with --ca-file, or install the system's ca-certificates",
                ))
            }
            Self::Source(error) => error.hint(),
            Self::Document { source, .. } => source.hint(),
            Self::Layer { source, .. } => source.hint(),
            Self::Select { source, .. } => source.hint(),
            Self::Config { source: ConfigError::NotAnImage(_), .. } => {
                Some(Hint::new("check that the reference names a container image, not another artifact"))
            }
            Self::Platform { .. } => Some(Hint::new("choose the image's platform with --platform")),
            Self::Several { .. } => Some(Hint::new("name one of them as oci:DIR:TAG")),
            Self::ReadOnly(_) => Some(Hint::new("push to a registry or a layout directory instead")),
            Self::Address(_) => Some(Hint::new("write HOST[:PORT] or http[s]://HOST[:PORT][/PATH]")),
            _ => None,
        }
    }
}
