//! Images made over: their layers packed anew, in formats that lazy readers know or in plain ones, and the image
//! published under another name. And [`diet`], the report on what is in an image, and
//! [`split`], which takes model weights out of one.
//!
//! ```text
//! convert    name -> images of all platforms -> each layer once -> documents -> the other name
//! layer      blob -> tar -> segments -> compressed one by one, on all processors -> a file, in order -> pushed
//! ```
//!
//! Invariants of converting: what comes out of a layer is its tar, byte for byte; only eStargz adds to it, and takes
//! its earlier additions away. Where files are to come in another order, or layers to be shorter, entries move, each byte
//! for byte, and the tree that the layers give stays. The same image and settings give the same bytes, on any machine. No layer is ever in
//! memory as a whole. A name is given last, when everything behind it is there; what fails leaves blobs behind that
//! nothing names.
//!
//! Needs a tokio runtime that somebody else made; converting uses no store, no daemon and no privileges.
#![forbid(unsafe_code)]

mod arrange;
mod compress;
pub mod diet;
mod documents;
mod error;
mod image;
mod layer;
mod plan;
mod publish;
mod settings;
pub mod split;
mod spool;
mod workers;

pub use error::ConvertError;
pub use image::{Converted, ConvertedImage, ConvertedLayer, Unwatched, Watch, convert};
pub use plan::{Dropped, Plan, Reason};
pub use publish::check as check_push;
pub use settings::{
    CHUNK_BYTES, DEFAULT_CHUNK_BYTES, DEFAULT_LAYER_BYTES, Dialect, Encoding, LEAST_LAYER_BYTES, Settings,
};
