//! An opened image: its layers merged into one tree, readable before the bytes are here.
//!
//! ```text
//! open      each layer: index in the store? one in the layer (eStargz, zstd:chunked)? one beside the image (SOCI)?
//!           one that another node made? else stream it by and make one
//! Image     merged tree; read -> extents -> spans -> Fetcher -> store
//! Fetcher   one flight per span; readers first, then the start profile, then everything else
//! ```
//!
//! Needs a tokio runtime that somebody else made; knows nothing of FUSE or containers.
#![forbid(unsafe_code)]

mod claim;
mod decode;
pub mod difference;
mod erofs;
mod error;
mod fetch;
mod image;
mod ingest;
pub mod models;
pub mod offered;
mod open;
pub mod profile;
pub mod soci;
pub mod toc;
mod tree;

pub use error::{ErofsError, ImageError, PathError, ReadError};
pub use fetch::{Contradiction, Spare};
pub use image::Image;
pub use ingest::{ingest, stream_by};
pub use offered::{Neighbours, Offered};
pub use open::{LayerSpec, Opened, fits, open, open_with};
pub use profile::{ARTIFACT_TYPE, MAX_PROFILE_BYTES, PIECE_BYTES, PROFILE_VERSION, Profile, Touch};
pub use tree::{Below, Merger, Node, NodeId, Tree, TreeError};
