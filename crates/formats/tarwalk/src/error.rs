//! What can be wrong with a tar stream.

use thiserror::Error;

/// Why a tar stream could not be walked. Offsets are in bytes of the (decoded) tar stream and name the header
/// block at fault.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TarError {
    /// A block where a header should be is none: its checksum is wrong.
    #[error("no tar header at offset {at}: wrong checksum")]
    Checksum {
        /// Offset of the block.
        at: u64,
    },
    /// One block of zeros, where the archive should end with two.
    #[error("lone zero block in the tar archive before offset {at}")]
    LoneZeroBlock {
        /// Offset of the block after it.
        at: u64,
    },
    /// A field of a header cannot be read.
    #[error("bad {field} in the tar header at offset {at}")]
    Field {
        /// Offset of the header.
        at: u64,
        /// Name of the field or pax keyword.
        field: &'static str,
    },
    /// The records of a pax header are malformed.
    #[error("malformed pax record in the tar header at offset {at}")]
    PaxRecord {
        /// Offset of the header.
        at: u64,
    },
    /// A sparse map that is malformed, out of order, or disagrees with the sizes.
    #[error("bad sparse map of the tar entry at offset {at}: {reason}")]
    Sparse {
        /// Offset of the header.
        at: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Something is larger than the [`Limits`](crate::Limits) allow.
    #[error("{what} of the tar entry at offset {at} exceeds the limit of {limit}")]
    TooLarge {
        /// Offset of the header.
        at: u64,
        /// What is too large.
        what: &'static str,
        /// The limit, in bytes or pieces.
        limit: u64,
    },
    /// More entries than the [`Limits`](crate::Limits) allow.
    #[error("tar archive has more than {limit} entries")]
    TooManyEntries {
        /// The limit.
        limit: u64,
    },
    /// A size that no stream can have.
    #[error("size of the tar entry at offset {at} is beyond all offsets")]
    Overflow {
        /// Offset of the header.
        at: u64,
    },
    /// The stream ends inside an entry.
    #[error("tar archive ends inside an entry, at offset {at}")]
    Truncated {
        /// Offset of the end.
        at: u64,
    },
}
