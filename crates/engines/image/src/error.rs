//! What keeps an image from being opened or read.

mod erofs;

use glowplug_base::{Digest, Hint, Hinted};
use glowplug_layer::Excess;
use glowplug_source::SourceError;
use glowplug_store::{FlightError, StoreError};

pub use erofs::ErofsError;

use crate::TreeError;

/// Why an image cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Bytes could not be had.
    #[error("layer {layer}")]
    Source {
        /// The layer's blob.
        layer: Digest,
        /// Why.
        #[source]
        source: SourceError,
    },
    /// The store cannot keep it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A layer is not what it should be.
    #[error("layer {layer}: {reason}")]
    Layer {
        /// The layer's blob.
        layer: Digest,
        /// What is wrong.
        reason: String,
    },
    /// A layer holds more than its index can say.
    #[error("layer {layer} holds {excess}")]
    TooLarge {
        /// The layer's blob.
        layer: Digest,
        /// More of what than which limit.
        excess: Excess,
    },
    /// A layer is an EROFS image that cannot be served.
    #[error("layer {layer}, an EROFS image")]
    Erofs {
        /// The layer's blob.
        layer: Digest,
        /// Why.
        #[source]
        source: ErofsError,
    },
    /// The layers do not form a tree.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

impl ImageError {
    pub(crate) fn layer(layer: Digest, reason: impl std::fmt::Display) -> Self {
        Self::Layer { layer, reason: reason.to_string() }
    }
}

impl Hinted for ImageError {
    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Source { source, .. } => source.hint(),
            Self::Store(source) => source.hint(),
            Self::Erofs { source, .. } => source.hint(),
            Self::Layer { .. } => {
                Some(Hint::new("the image is damaged or hostile; push it again from a good copy"))
            }
            Self::TooLarge { .. } => Some(Hint::new(
                "build the image again with this layer split into several, or with its small files packed into few",
            )),
            Self::Tree(_) => {
                Some(Hint::new("no container runtime can unpack these layers; build the image again"))
            }
        }
    }
}

/// Why a path of an image leads nowhere, in names that are safe to show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It is not there, or the links lead to something that is not there.
    #[error("{path}: no such file or directory{}", elsewhere(path, missing))]
    Missing {
        /// As it was asked for.
        path: String,
        /// What is missing, links followed.
        missing: String,
        /// Names that may have been meant.
        near: Vec<String>,
    },
    /// Something on the way has nothing below it.
    #[error("{path}: {file} is not a directory")]
    NotDirectory {
        /// As it was asked for.
        path: String,
        /// What is on the way.
        file: String,
    },
    /// Symbolic links lead in a circle, or there are too many of them.
    #[error("{path}: too many symbolic links")]
    Circle {
        /// As it was asked for.
        path: String,
    },
    /// A file was wanted.
    #[error("{path}: is a directory")]
    Directory {
        /// As it was asked for.
        path: String,
    },
    /// Neither file nor directory.
    #[error("{path}: is {what}, which has no bytes")]
    Special {
        /// As it was asked for.
        path: String,
        /// What it is.
        what: &'static str,
    },
}

/// Where links led, if that is somewhere else than asked for.
fn elsewhere(path: &str, missing: &str) -> String {
    let same = missing.trim_start_matches('/') == path.trim_start_matches('/').trim_end_matches('/');
    if same { String::new() } else { format!(" ({missing} is missing)") }
}

impl Hinted for PathError {
    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Missing { near, .. } if !near.is_empty() => {
                Some(Hint::new(format!("there is {}", near.join(", "))))
            }
            _ => None,
        }
    }
}

/// Why a read of an image fails, with the `errno` that the reader gets.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct ReadError {
    /// What went wrong, causes included.
    pub message: String,
    /// For readers behind the kernel.
    pub errno: i32,
}

impl From<FlightError> for ReadError {
    fn from(error: FlightError) -> Self {
        Self { message: error.message, errno: error.errno }
    }
}

impl From<StoreError> for ReadError {
    fn from(error: StoreError) -> Self {
        Self { message: chain(&error), errno: error.errno() }
    }
}

/// An error and its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
