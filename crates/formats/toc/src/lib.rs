//! Indexes of image layers that others define, read and written exactly as their own tools do.
//!
//! Beside a layer: [`Ztoc`] is SOCI's table of one layer: its tar entries and the places where decoding can begin.
//! [`SociIndex`] is the manifest that lists the zTOCs of an image, in both versions, and [`Prefetch`] the
//! list of spans that an image's owner wants fetched first.
//!
//! Beside a large file that is a blob of its own: [`ChunkTable`], the digests of its pieces; this one is Glowplug's own.
//!
//! Within a layer: [`Toc`] is the table of contents of a layer whose files can be fetched one by one. [`estargz`] says
//! where a gzip layer keeps it, [`zstd_chunked`] where a zstd layer does, in both dialects.
//!
//! Everything is sans-IO: bytes in, values out, and back. What comes from a registry is hostile until proved otherwise:
//! every offset is checked, memory is bounded by [`ZtocLimits`] and [`TocLimits`], and nothing panics. A table that
//! parses is consistent in itself; whether it tells the truth about its layer only the layer's bytes can show.
//!
//! Not done here: deflate (that is the checkpoint crate's), the contents of layers, fetching, and eStargz tables that
//! are in images of their own.
#![forbid(unsafe_code)]

mod base64;
pub mod chunks;
pub mod estargz;
pub mod files;
mod flatbuf;
pub mod index;
pub mod prefetch;
mod timestamp;
pub mod zstd_chunked;
pub mod ztoc;

pub use chunks::{ChunkTable, ChunkTableError, Chunker};
pub use files::{Dialect, Toc, TocChunk, TocEntry, TocError, TocLimits};
pub use index::{IndexError, IndexVersion, PrefetchDescriptor, SociIndex, Subject, ZtocDescriptor};
pub use prefetch::{Prefetch, PrefetchError, PrefetchSpan};
pub use timestamp::Timestamp;
pub use ztoc::{Checkpoint, Compression, EntryKind, Span, Ztoc, ZtocEntry, ZtocError, ZtocLimits};
