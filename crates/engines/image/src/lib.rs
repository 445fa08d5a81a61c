//! An opened image: its layers merged into one tree, readable before the bytes are here.
//!
//! ```text
//! open      each layer: index in the store? an index beside the image (SOCI)? else stream it by and make one
//! Image     merged tree; read -> extents -> spans -> Fetcher -> store
//! Fetcher   one flight per span; readers first, then the start profile, then everything else
//! ```
//!
//! Needs a tokio runtime that somebody else made; knows nothing of FUSE or containers.
#![forbid(unsafe_code)]

mod decode;
mod erofs;
mod error;
mod fetch;
mod image;
mod ingest;
mod open;
mod profile;
pub mod soci;
mod tree;

pub use error::{ImageError, ReadError};
pub use fetch::Spare;
pub use image::Image;
pub use ingest::ingest;
pub use open::{LayerSpec, Opened, open};
pub use profile::{PROFILE_VERSION, Profile, Touch};
pub use tree::{Merger, Node, NodeId, Tree, TreeError};
