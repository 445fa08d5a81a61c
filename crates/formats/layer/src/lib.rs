//! The layer index: everything needed to read one image layer lazily, whatever format the layer came in.
//!
//! An index holds the layer's entries in archive order, where each file's bytes lie in the *stream* (the uncompressed
//! archive) and in the *data file* (where the store keeps them), and the *spans*: the units of fetching and decoding.
//! A span is a contiguous piece of the stream, and therefore of the data file; its recipe says which bytes of the blob
//! to fetch and how to decode them; its check says how to know that they are right.
//!
//! ```text
//! blob (compressed)   |---- span 0 ----|--- span 1 ---|-- span 2 --|
//! stream (tar)        |h file a    |h b|h c           |   c    |h d|
//! data file           |file a  |pad|b  |pad|c         |   c |pad|d |
//! ```
//!
//! Files begin at multiples of [`BLOCK_BYTES`] in the data file, in the order of the stream, gaps are zero. So one span
//! is one contiguous piece of the data file, written once; and an EROFS image can name the data file as its device.
//!
//! The crate does no I/O. The serialised form has a magic, a version and a checksum; an old reader refuses new data by
//! its version, and the index is then built again.
#![forbid(unsafe_code)]

mod codec;
mod index;
mod placement;
mod tally;

pub use codec::{CodecError, Limits, VERSION, decode, encode, encode_within};
pub use index::{Check, Chunk, Entry, Extent, Kind, LayerIndex, Origin, Recipe, Span, WindowRef};
pub use placement::{Cursor, boundary, place};
pub use tally::{Excess, Tally};

/// Files begin at multiples of this many bytes in the data file: the block size of EROFS and of the page cache.
pub const BLOCK_BYTES: u64 = 4096;
