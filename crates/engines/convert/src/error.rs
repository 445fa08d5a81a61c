//! What keeps an image from being made over. Nothing is published then.

use std::path::PathBuf;

use glowplug_base::{Digest, Hint, Hinted};
use glowplug_image::ImageError;
use glowplug_registry::Error;
use glowplug_toc::TocError;

/// Why an image cannot be made over.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// The image cannot be had, or is none that can be made over.
    #[error(transparent)]
    Image(#[from] Error),
    /// A layer could not be read, or is not what its digest says.
    #[error(transparent)]
    Read(#[from] ImageError),
    /// A layer is not distributed with the image.
    #[error("{image} has a foreign layer, {layer} of type {media_type}")]
    Foreign {
        /// The image.
        image: String,
        /// The layer's blob.
        layer: Digest,
        /// What the manifest calls it.
        media_type: String,
    },
    /// A layer is no archive, but an EROFS image.
    #[error("{image} has an EROFS layer, {layer}: only archives are made over")]
    Erofs {
        /// The image.
        image: String,
        /// The layer's blob.
        layer: Digest,
    },
    /// A layer is not what it should be.
    #[error("layer {layer}: {reason}")]
    Layer {
        /// The layer's blob.
        layer: Digest,
        /// What is wrong.
        reason: String,
    },
    /// A layer holds another tar than the image says.
    #[error("layer {layer} holds the tar {found}, its image says {expected}")]
    DiffId {
        /// The layer's blob.
        layer: Digest,
        /// What the configuration says.
        expected: Digest,
        /// What is in the blob.
        found: Digest,
    },
    /// A layer holds an entry that no table of contents can list.
    #[error("layer {layer}, entry {path:?}: {what} cannot be listed in a table of contents")]
    Entry {
        /// The layer's blob.
        layer: Digest,
        /// The entry's path.
        path: String,
        /// What stands in the way.
        what: String,
    },
    /// A layer holds something that cannot be taken out of it.
    #[error("layer {layer}, entry {path:?}: {what} cannot be taken out")]
    Taken {
        /// The layer's blob.
        layer: Digest,
        /// The entry's path.
        path: String,
        /// What stands in the way.
        what: String,
    },
    /// A table of contents cannot be written.
    #[error("table of contents of layer {layer}")]
    Toc {
        /// The layer's blob.
        layer: Digest,
        /// Why.
        #[source]
        source: TocError,
    },
    /// The new blob cannot be written down.
    #[error("{path}")]
    Spool {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A document of the image cannot be rewritten.
    #[error("rewrite the documents of {image}")]
    Document {
        /// The image.
        image: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The image would have more layers than container engines take.
    #[error("{image} would have {layers} layers, and {most} are the most that all container engines take")]
    Layers {
        /// The image.
        image: String,
        /// How many it would have.
        layers: usize,
        /// How many it may have.
        most: usize,
    },
    /// The other place does not take it.
    #[error("push to {place}")]
    Push {
        /// Where.
        place: String,
        /// Why.
        #[source]
        source: Error,
    },
    /// The settings ask for what there is not.
    #[error("{0}")]
    Settings(String),
}

impl ConvertError {
    pub(crate) fn layer(layer: Digest, reason: impl std::fmt::Display) -> Self {
        Self::Layer { layer, reason: reason.to_string() }
    }
}

impl Hinted for ConvertError {
    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Image(source) | Self::Push { source, .. } => source.hint(),
            Self::Read(source) => source.hint(),
            Self::Foreign { .. } => {
                Some(Hint::new("build the image on a base whose layers are all in its registry"))
            }
            Self::Erofs { .. } => {
                Some(Hint::new("make over the image that it was converted from, which has tar layers"))
            }
            Self::Layer { .. } | Self::DiffId { .. } => {
                Some(Hint::new("the image is damaged or hostile; push it again from a good copy"))
            }
            Self::Layers { .. } => Some(Hint::new("make the layers longer")),
            Self::Taken { .. } => Some(Hint::new("name what to take out by --model-path, without this file")),
            Self::Entry { .. } => Some(Hint::new("convert to zstd or gzip, which list nothing")),
            Self::Spool { .. } => Some(Hint::new(
                "a converted layer is kept in a file until it is pushed, in $TMPDIR or the layout it goes to; with an order, \
                 or layers to be split, all tars are there before",
            )),
            Self::Toc { .. } | Self::Document { .. } | Self::Settings(_) => None,
        }
    }
}
