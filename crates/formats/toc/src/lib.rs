//! Indexes that others publish beside image layers, read and written exactly as their own tools do.
//!
//! [`Ztoc`] is SOCI's table of one layer: its tar entries and the places where decoding can begin.
//! [`SociIndex`] is the manifest that lists the zTOCs of an image, in both versions, and [`Prefetch`] the
//! list of spans that an image's owner wants fetched first.
//!
//! Everything is sans-IO: bytes in, values out, and back. What comes from a registry is hostile until proved
//! otherwise: every offset is checked, memory is bounded by [`ZtocLimits`], and nothing panics. A zTOC that
//! parses is consistent in itself; whether it tells the truth about its layer only the layer's bytes can
//! show.
//!
//! Not done here: deflate (that is the checkpoint crate's), fetching, and eStargz and zstd:chunked tables.
#![forbid(unsafe_code)]

mod flatbuf;
pub mod index;
pub mod prefetch;
mod timestamp;
pub mod ztoc;

pub use index::{IndexError, IndexVersion, PrefetchDescriptor, SociIndex, Subject, ZtocDescriptor};
pub use prefetch::{Prefetch, PrefetchError, PrefetchSpan};
pub use timestamp::Timestamp;
pub use ztoc::{Checkpoint, Compression, EntryKind, Span, Ztoc, ZtocEntry, ZtocError, ZtocLimits};
