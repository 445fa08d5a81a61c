//! What keeps layers from forming a tree.

use super::NodeId;

/// Why layers do not form a tree.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// A parent, of the same layer, is neither a directory nor a link to one.
    #[error("layer {layer}: {path:?} lies below something that is not a directory")]
    NotDirectory {
        /// Number of the layer, from 0 at the bottom.
        layer: u32,
        /// The entry.
        path: String,
    },
    /// Symbolic links lead in a circle.
    #[error("layer {layer}: too many symbolic links on the way to {path:?}")]
    Loop {
        /// Number of the layer.
        layer: u32,
        /// The entry.
        path: String,
    },
    /// A hard link's target is missing or a directory.
    #[error("layer {layer}: hard link {path:?} has no file {target:?} to link to")]
    Target {
        /// Number of the layer.
        layer: u32,
        /// The entry.
        path: String,
        /// Its target.
        target: String,
    },
    /// A whiteout that names nothing.
    #[error("layer {layer}: whiteout {path:?} names nothing")]
    Whiteout {
        /// Number of the layer.
        layer: u32,
        /// The entry.
        path: String,
    },
    /// More nodes than numbers.
    #[error("layer {layer}: more than {} nodes", NodeId::MAX)]
    TooMany {
        /// Number of the layer.
        layer: u32,
    },
}
