//! Walks a tar stream as it goes by, and says for every entry what it is and where exactly its bytes lie.
//!
//! The stream is pushed into a [`Walker`] in pieces of any size; payload is skipped without being looked at, so
//! walking costs next to nothing. Every [`Entry`] carries the offset of its first header block and the
//! [`Extent`]s of its contents as offsets in the stream, which is what an index of a layer consists of.
//!
//! Read are v7, ustar, star's prefix, GNU (long names, base-256 numbers, old sparse files) and pax (local and
//! global records, times to the nanosecond, extended attributes of `SCHILY.xattr.` and `LIBARCHIVE.xattr.`, sparse
//! files 0.0, 0.1 and 1.0). Where tar dialects differ, Go's `archive/tar` is followed, since container
//! engines unpack with it; known differences:
//! - Global pax records are applied (Go hands them to its caller, who ignores them), except those that make
//!   sense for one file only: names, size and sparse maps.
//! - Entries of types reserved for vendors (letters) other than GNU's and contiguous files are skipped with
//!   their payload, other unknown types are regular files, as POSIX has it.
//! - A long name, or a pax header, that no entry follows is an error.
//!
//! Invariants: no input makes it panic, and memory stays within the [`Limits`]. Names are passed on as written:
//! whoever makes paths of them calls [`normalise`], which refuses to climb. It does no I/O and writes no tar.
#![forbid(unsafe_code)]

mod entry;
mod error;
mod header;
mod number;
pub mod path;
mod pax;
mod sparse;
mod walker;

pub use entry::{Entry, Extent, Kind};
pub use error::TarError;
pub use path::{PathError, Whiteout, normalise, whiteout};
pub use walker::{Limits, Walker};
