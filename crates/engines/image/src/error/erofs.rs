//! Why a layer that is an EROFS image cannot be served.

use glowplug_base::{Hint, Hinted};
use glowplug_erofs::{ContentsError, ReadError};

/// Why a layer that is an EROFS image cannot be served. Paths are for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ErofsError {
    /// What it holds cannot be told.
    #[error(transparent)]
    Contents(#[from] ContentsError),
    /// A file's bytes lie beyond the image's end.
    #[error("files lie beyond its end")]
    Short,
    /// A file lies in pieces that pages of memory cannot be made of.
    #[error("{path:?} lies in pieces that are not whole pages of 4 KiB")]
    Pieces {
        /// The file.
        path: String,
    },
    /// Files take more room than a file system has.
    #[error("its files take more room than a file can")]
    Room,
    /// A name means something else in an archive than in a file system.
    #[error("{path:?} is a whiteout of archives, which an EROFS image has as a device 0/0")]
    Whiteout {
        /// The file.
        path: String,
    },
    /// Overlayfs would look for bytes or names in other layers.
    #[error("{path:?} has the attribute {name}, with which overlayfs would look for it elsewhere")]
    Overlay {
        /// The file.
        path: String,
        /// The attribute.
        name: String,
    },
}

impl Hinted for ErofsError {
    fn hint(&self) -> Option<Hint> {
        Some(Hint::new(match self {
            Self::Contents(ContentsError::Compressed { .. }) => {
                "build the layer with mkfs.erofs without -z and compress it as a whole (ctr images convert --erofs zstd), \
                 or use the image's tar layers"
            }
            Self::Contents(ContentsError::Feature(_) | ContentsError::Read(ReadError::Unsupported(_))) => {
                "build the layer as containerd does (mkfs.erofs --tar=f --aufs -Enoinline_data), or use the image's tar layers"
            }
            Self::Contents(ContentsError::Read(ReadError::Limit(_)) | ContentsError::Path { .. })
            | Self::Room => "build the image again with this layer split into several",
            Self::Pieces { .. } => "build the layer with mkfs.erofs -b4096, or use the image's tar layers",
            Self::Whiteout { .. } => {
                "build the layer with mkfs.erofs --aufs, which turns whiteouts into devices"
            }
            Self::Overlay { .. } => "build the layer from the image's tar layer, or use that",
            Self::Contents(_) | Self::Short => {
                "the image is damaged or hostile; push it again from a good copy"
            }
        }))
    }
}
