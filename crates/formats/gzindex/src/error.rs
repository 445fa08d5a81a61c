//! What can be wrong with a gzip stream.

use thiserror::Error;

/// Why a gzip stream could not be decoded. Offsets are in bytes of the compressed stream; for
/// [`decode_span`](crate::decode_span) they count from the start of the bytes handed in.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GzError {
    /// The stream does not begin with a gzip header.
    #[error("not a gzip stream")]
    NotGzip,
    /// The deflate data, a header or a checksum is wrong.
    #[error("corrupt gzip data near compressed offset {at}: {reason}")]
    Corrupt {
        /// Compressed offset up to which bytes were taken when the fault showed.
        at: u64,
        /// What the decoder found wrong.
        reason: String,
    },
    /// The stream ends inside a member, or a span ends before its output is complete.
    #[error("gzip data ends too early, at compressed offset {at}")]
    Truncated {
        /// Compressed offset of the end.
        at: u64,
    },
    /// Bytes after the last member that are neither a gzip header nor zero padding.
    #[error("trailing garbage after the gzip stream at compressed offset {at}")]
    TrailingGarbage {
        /// Compressed offset of the first such byte.
        at: u64,
    },
    /// A span start that no deflate stream can have: more than 7 bits, or too large a window.
    #[error("impossible gzip checkpoint: {bits} bits, window of {window} bytes")]
    BadStart {
        /// The bits asked for.
        bits: u8,
        /// Length of the window in bytes.
        window: usize,
    },
}
