//! Tables of contents of layers whose files can be fetched one by one: what eStargz and zstd:chunked share.
//!
//! Such a layer is an ordinary compressed tar whose compression begins anew wherever the payload of a file begins, and
//! again every few MiB of a long file, so that each *member* (of gzip) or *frame* (of zstd) decodes by itself. A JSON
//! document at the end lists the entries with the places of their contents. Its name for a piece of a file is *chunk*.
//!
//! What [`Toc::parse`] gives is sound in itself:
//! - The chunks of a file follow each other from its first byte to its last; an empty file has none, and so has what is
//!   no file.
//! - The blob ranges of chunks that have bytes are not empty, lie before the table, and ascend in the order of the
//!   entries; two of them are the same or disjoint. In a range that several share, the chunks ascend without overlap.
//! - Numbers fit their types, and nothing has a NUL byte in a name.
//!
//! Whether it tells the truth about the layer only the chunks' digests can show, and one without a digest nothing can.
//! The same name may stand there twice, as in a tar. Names are as written, neither cleaned nor checked, and the entries
//! include what the tools put in for their own use, such as landmarks.
//!
//! Source of the format: `estargz/types.go` and `estargz/estargz.go` of the stargz snapshotter, and
//! `pkg/chunked/internal/minimal/compression.go` of containers/storage.

mod assemble;
mod encode;
mod gojson;
mod parse;
mod places;

use std::collections::BTreeMap;

use glowplug_base::{ByteRange, Digest};

use crate::timestamp::Timestamp;
use crate::ztoc::EntryKind;

pub(crate) use gojson::to_vec as to_go_json;

/// Piece of a long file that the reference tools compress by itself, in bytes, unless they are told otherwise.
pub const DEFAULT_CHUNK_BYTES: u64 = 4 << 20;

/// Whose table it is: they differ in a few fields and in how they are wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// eStargz, in gzip.
    Estargz,
    /// zstd:chunked as containers/storage has it: podman, buildah, CRI-O, skopeo.
    Storage,
    /// zstd:chunked as the stargz snapshotter has it: nerdctl, BuildKit. But for the compression it is eStargz.
    Stargz,
}

/// Table of contents of a layer whose files can be fetched one by one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Toc {
    /// The entries in the order of the archive.
    pub entries: Vec<TocEntry>,
}

/// One entry of the archive. Names and values are bytes as in the tar, as far as JSON can say them: it is UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TocEntry {
    /// Path as in the tar; neither cleaned nor checked.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Length of a file in bytes; of anything else 0.
    pub size: u64,
    /// Target of a symbolic or hard link.
    pub link: Vec<u8>,
    /// Permission, set-id and sticky bits (07777).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Name of the owner. The dialect of containers/storage has none.
    pub uname: Vec<u8>,
    /// Name of the group. The dialect of containers/storage has none.
    pub gname: Vec<u8>,
    /// Time of the last change; the epoch where none is said. eStargz has whole seconds.
    pub mtime: Timestamp,
    /// Driver of a device node.
    pub dev_major: u32,
    /// Device of that driver.
    pub dev_minor: u32,
    /// Extended attributes: full name (such as `security.capability`) and value.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Digest of the whole file.
    pub digest: Option<Digest>,
    /// Where the contents are.
    pub chunks: Vec<TocChunk>,
}

/// A piece of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TocChunk {
    /// Offset of its first byte in the file.
    pub file: u64,
    /// Length in bytes; never 0.
    pub size: u64,
    /// The member or frame of the blob that holds it. Of a chunk of zeros the empty range where its frame begins, which
    /// nobody need read.
    pub blob: ByteRange,
    /// Offset of its first byte in the decoded member or frame.
    pub inner: u64,
    /// Digest of its bytes. The digest of the file stands in where there is only one chunk.
    pub digest: Option<Digest>,
    /// Whether all of it is zeros, of which the blob tells nothing that one need know.
    pub zeros: bool,
}

/// What a table may cost at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TocLimits {
    /// Length of the JSON document in bytes. Names of owners that the document says once for many entries may be as
    /// many bytes again.
    pub json_bytes: u64,
    /// Entries, chunks not counted.
    pub entries: usize,
    /// Chunks, where a file that is not cut counts as one.
    pub chunks: usize,
}

impl Default for TocLimits {
    /// Room for a million files, whose entries take some 450 bytes each as the tools write them, or for a layer of 8 TB
    /// in chunks of 4 MiB. Four million entries without chunks are as many as the tar walker takes.
    fn default() -> Self {
        Self { json_bytes: 512 << 20, entries: 4_000_000, chunks: 8_000_000 }
    }
}

/// Why bytes are no usable table of contents, or a value cannot be written as one.
#[derive(Debug, thiserror::Error)]
pub enum TocError {
    /// No JSON, or not that of a table of contents.
    #[error("malformed table of contents, after {entries} entries")]
    Json {
        /// Entries that were read before, chunks not counted.
        entries: usize,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The version is not 1.
    #[error("unsupported version {0} of the table of contents")]
    Version(i64),
    /// Something is larger than allowed.
    #[error("more {0} than allowed")]
    Limit(&'static str),
    /// An entry is inconsistent.
    #[error("entry {index}, {name:?}: {what}")]
    Entry {
        /// Position in [`Toc::entries`], or where it would stand.
        index: usize,
        /// Its name, at most a hundred letters of it.
        name: String,
        /// What is wrong.
        what: &'static str,
    },
    /// The table's gzip member cannot be decoded.
    #[error("cannot decode the table of contents")]
    Gzip(#[from] glowplug_gzindex::GzError),
    /// The tar in the table's gzip member is none.
    #[error("the table of contents is not in a tar")]
    Tar(#[from] glowplug_tarwalk::TarError),
    /// The tar in the table's gzip member holds something else.
    #[error("no stargz.index.json where the table of contents should be")]
    NoToc,
    /// The table's zstd frame cannot be decoded, or cannot be made.
    #[error("zstd of the table of contents")]
    Zstd(#[source] std::io::Error),
    /// The bytes are not those that the manifest vouches for.
    #[error("the table of contents is {found}, expected {expected}")]
    Digest {
        /// What the manifest says.
        expected: Digest,
        /// What the bytes are.
        found: Digest,
    },
    /// There are more or fewer bytes than was announced.
    #[error("{what} of {found} bytes, expected {expected}")]
    Length {
        /// Of what.
        what: &'static str,
        /// By the annotation.
        expected: u64,
        /// By count.
        found: u64,
    },
    /// An annotation of the layer makes no sense, or is missing beside another.
    #[error("annotation {annotation}: {what}")]
    Annotation {
        /// Which.
        annotation: &'static str,
        /// What is wrong.
        what: &'static str,
    },
    /// The archive has something that a tar-split and the table beside it cannot both say.
    #[error("no tar-split for this archive: {0}")]
    NoTarSplit(&'static str),
    /// The tar-split is that of another archive.
    #[error("tar-split of {found} entries for a table of contents of {expected}")]
    TarSplit {
        /// Entries in the table.
        expected: usize,
        /// Entries in the tar-split.
        found: usize,
    },
}

impl Toc {
    /// Parses and checks the JSON document. `payload_end` is where the blob has no more members or frames of files: the
    /// end of the last of them. Fields that are not known are passed over.
    ///
    /// # Errors
    /// [`TocError`] if the document is malformed, larger than `limits`, or promises what the module says cannot be.
    pub fn parse(
        json: &[u8],
        dialect: Dialect,
        payload_end: u64,
        limits: &TocLimits,
    ) -> Result<Self, TocError> {
        parse::toc(json, dialect, payload_end, limits)
    }

    /// The JSON document, as the dialect's own tools write it for this table.
    ///
    /// What the document cannot say is lost: names that are not UTF-8 get U+FFFD for each byte that is not, and times
    /// outside the years 0 to 9999 are left out. In eStargz and its zstd dialect so are nanoseconds, which are rounded,
    /// and an owner has no name only where none was named for the same number before; ends of members are where the
    /// next begins. The dialect of containers/storage has no names of owners and no two chunks in one frame.
    pub fn encode(&self, dialect: Dialect) -> Vec<u8> {
        encode::toc(self, dialect, None)
    }

    /// As [`Self::encode`], with the digest of a tar-split.
    pub(crate) fn encode_with_tar_split(&self, dialect: Dialect, tar_split: Option<Digest>) -> Vec<u8> {
        encode::toc(self, dialect, tar_split)
    }
}

impl TocError {
    /// An error of the entry called `name`, which may be of any length.
    fn entry(index: usize, name: &[u8], what: &'static str) -> Self {
        let name = String::from_utf8_lossy(name).chars().take(100).collect();
        Self::Entry { index, name, what }
    }
}
