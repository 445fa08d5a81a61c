//! Gzip streams with ways in: checkpoints noted while a stream is decoded, and decoding resumed at any of them.
//!
//! A gzip stream can only be decoded from its start, unless someone who went through it once remembers, at
//! the border of two deflate blocks, the position in bits and the 32 KiB of output before it. That is what
//! Mark Adler's `zran` example does and what SOCI stores; this crate does it on a stream that arrives in
//! pieces ([`Indexer`]) and decodes the *span* between two such [`Checkpoint`]s ([`decode_span`]).
//!
//! Invariants:
//! - Checkpoint 0 is always there once the first gzip header was read: the first byte after that header, output
//!   offset 0, no spare bits, no window. Every checkpoint starts *raw* deflate data, as SOCI wants it.
//! - Checkpoints are at least the asked spacing apart and never inside a block, so a block larger than the
//!   spacing gives a larger span.
//! - Streams of several members (pigz, eStargz, plain concatenation) are one stream; a member may begin
//!   anywhere in a span. Zero padding after the last member is accepted as `gzip` does, other trailing bytes are not.
//! - Memory is bounded by the caller's output cap, whatever the input claims.
//!
//! It does no I/O, knows nothing of tar or images, and neither stores nor verifies what it decodes: a resumed
//! member cannot be held against its CRC, so spans need a digest of their own.

#![forbid(unsafe_code)]

mod buffer;
mod checkpoint;
mod error;
mod indexer;
mod inflate;
mod member;
mod span;

pub use checkpoint::{Checkpoint, Position, SpanStart, WINDOW_BYTES, span_compressed_range};
pub use error::GzError;
pub use indexer::{Indexer, Totals};
pub use span::decode_span;
