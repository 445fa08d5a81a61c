//! zTOC: SOCI's table of contents of one layer, version 0.9.
//!
//! A zTOC is a FlatBuffer. It lists the entries of the layer's tar, and cuts the layer into *spans*: pieces
//! that can be fetched, checked by digest and decoded one by one. For gzip each span begins at a
//! [`Checkpoint`].
//!
//! Source of the format: `ztoc/fbs/ztoc.fbs`, `ztoc/ztoc_marshaler.go` and `ztoc/compression/` of the SOCI
//! snapshotter.

mod decode;
mod encode;
mod spans;
mod zinfo;

use std::collections::BTreeMap;

use glowplug_base::{ByteRange, Digest};

use crate::timestamp::Timestamp;

pub use spans::Span;

/// The only version there is.
pub const VERSION: &str = "0.9";
/// Bytes of a checkpoint's window in a zTOC: as far as deflate data can refer back (RFC 1951).
pub const WINDOW_BYTES: usize = 32 * 1024;
/// Span size of the reference tool: decoded bytes of a gzip span at least, and of an uncompressed span
/// exactly.
pub const DEFAULT_SPAN_BYTES: u64 = 4 << 20;
/// Media type of a zTOC in an index manifest.
pub const MEDIA_TYPE: &str = "application/octet-stream";

/// Table of contents of one layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ztoc {
    /// Who made it, for people.
    pub build_tool: String,
    /// Length of the layer blob in bytes.
    pub compressed_size: u64,
    /// Length in bytes of the tar up to the end of its end marker. Padding after that is not counted, so the
    /// last checkpoint may lie behind it.
    pub uncompressed_size: u64,
    /// The tar entries by payload offset; as the tar has them.
    pub entries: Vec<ZtocEntry>,
    /// How the layer is cut into spans.
    pub compression: Compression,
    /// Digest of the bytes of each span in the layer blob.
    pub span_digests: Vec<Digest>,
}

/// One tar entry. Names and values are bytes as in the tar; nobody promises UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZtocEntry {
    /// Path as in the tar; neither cleaned nor checked.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Offset of the payload in the tar, in bytes.
    pub offset: u64,
    /// Length of the payload in bytes. May be nonzero for links, which have none.
    pub size: u64,
    /// Target of a symbolic or hard link.
    pub link: Vec<u8>,
    /// Permission bits, as in the tar header.
    pub mode: i64,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Name of the owner.
    pub uname: Vec<u8>,
    /// Name of the group.
    pub gname: Vec<u8>,
    /// Time of the last change.
    pub mtime: Timestamp,
    /// Driver of a device node.
    pub dev_major: i64,
    /// Device of that driver.
    pub dev_minor: i64,
    /// All PAX records of the entry; extended attributes are those whose key begins with `SCHILY.xattr.`.
    pub pax: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Types of tar entries that a zTOC can list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Another name for an earlier entry.
    Hardlink,
    /// A character device.
    Character,
    /// A block device.
    Block,
    /// A FIFO.
    Fifo,
}

/// How a layer is encoded, and where its spans begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compression {
    /// gzip, of one or more members.
    Gzip {
        /// Decoded bytes of a span at least, as the maker was asked for.
        span_size: u64,
        /// Where the spans begin.
        checkpoints: Vec<Checkpoint>,
    },
    /// A plain tar, cut into equal spans.
    Uncompressed {
        /// Bytes of a span.
        span_size: u64,
    },
}

/// A place in a gzip stream where decoding can begin.
#[derive(Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Compressed offset of the first byte that belongs wholly to the data from here on.
    pub compressed: u64,
    /// Offset in the decoded stream, in bytes, of the first byte decoded from here.
    pub uncompressed: u64,
    /// How many of the high bits of the byte before `compressed` belong to the data from here on; 0 to 7.
    pub bits: u8,
    /// The decoded bytes before this place, oldest first. A parsed one has [`WINDOW_BYTES`], with zeros where
    /// there is less to remember; one to be encoded may be shorter.
    pub window: Vec<u8>,
}

impl std::fmt::Debug for Checkpoint {
    /// The window as its length: 32 KiB of numbers help nobody.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checkpoint")
            .field("compressed", &self.compressed)
            .field("uncompressed", &self.uncompressed)
            .field("bits", &self.bits)
            .field("window_bytes", &self.window.len())
            .finish()
    }
}

/// What a parsed zTOC may cost at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZtocLimits {
    /// Length of the zTOC in bytes.
    pub bytes: usize,
    /// Entries.
    pub entries: usize,
    /// Spans.
    pub spans: usize,
    /// Bytes of all names, links and PAX records together, with a surcharge for each record.
    pub text: usize,
}

impl Default for ZtocLimits {
    /// Room for a layer of 130 GB in spans of 4 MiB, or of two million files.
    fn default() -> Self {
        Self { bytes: 1 << 30, entries: 2 << 20, spans: 1 << 20, text: 512 << 20 }
    }
}

/// Why bytes are no usable zTOC, or a value cannot be written as one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ZtocError {
    /// The FlatBuffer points outside itself.
    #[error("malformed FlatBuffer")]
    FlatBuffer,
    /// A part is missing.
    #[error("no {0}")]
    Missing(&'static str),
    /// The version is not [`VERSION`].
    #[error("unsupported version {0:?}")]
    Version(String),
    /// The compression is neither gzip nor none.
    #[error("unsupported compression algorithm {0}")]
    Algorithm(i8),
    /// Something is larger than allowed.
    #[error("more {0} than allowed")]
    Limit(&'static str),
    /// A number is negative or too large.
    #[error("{0} out of range")]
    Range(&'static str),
    /// An entry is inconsistent.
    #[error("entry {index}: {what}")]
    Entry {
        /// Position in the zTOC.
        index: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// The length of the checkpoints fits neither version of their format.
    #[error("{bytes} bytes of checkpoints cannot be {count} checkpoints")]
    CheckpointLength {
        /// Length of the checkpoints.
        bytes: usize,
        /// How many they claim to be.
        count: i32,
    },
    /// A checkpoint contradicts the one before or the size of the layer.
    #[error("checkpoint {index}: {what}")]
    Checkpoint {
        /// Which.
        index: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// Numbers of spans contradict each other.
    #[error("{spans} spans but {digests} digests and a highest span number of {highest}")]
    SpanCount {
        /// By the checkpoints or sizes.
        spans: u64,
        /// Digests.
        digests: usize,
        /// By its own field.
        highest: i64,
    },
    /// A digest is not one.
    #[error("digest of span {index}")]
    Digest {
        /// Which span.
        index: usize,
        /// Why.
        source: glowplug_base::DigestError,
    },
}

impl Ztoc {
    /// Parses and checks a zTOC. Bytes after the FlatBuffer are not looked at.
    ///
    /// # Errors
    /// [`ZtocError`] if the bytes are malformed, inconsistent, larger than `limits`, or use what SOCI does
    /// not define.
    pub fn parse(bytes: &[u8], limits: &ZtocLimits) -> Result<Self, ZtocError> {
        decode::ztoc(bytes, limits)
    }

    /// The bytes of the zTOC, equal to those of the reference tool for the same content. Times outside the
    /// years 0 to 9999 are lost, as there; entries are written in the order they have.
    ///
    /// # Errors
    /// [`ZtocError`] if the value is inconsistent in a way that [`Self::parse`] would refuse, or larger than
    /// 2 GiB.
    pub fn encode(&self) -> Result<Vec<u8>, ZtocError> {
        encode::ztoc(self)
    }

    /// For each entry, the bytes of the tar that hold its headers: from the end of the payload before,
    /// rounded up to a whole tar block, to its own payload. This is what can be compared with the layer.
    ///
    /// # Errors
    /// [`ZtocError::Entry`] if the entries are out of order; those of a parsed zTOC are not.
    pub fn header_ranges(&self) -> Result<Vec<ByteRange>, ZtocError> {
        let mut start = 0_u64;
        let mut ranges = Vec::with_capacity(self.entries.len());
        for (index, entry) in self.entries.iter().enumerate() {
            if entry.offset < start {
                return Err(ZtocError::Entry { index, what: "overlaps the one before" });
            }
            ranges.push(ByteRange::new(start, entry.offset));
            let end = entry.offset.checked_add(entry.payload_size());
            let end = end.filter(|&end| end <= self.uncompressed_size);
            let end = end.ok_or(ZtocError::Entry { index, what: "ends after the tar" })?;
            start = end.next_multiple_of(TAR_BLOCK_BYTES);
        }
        Ok(ranges)
    }
}

/// Tar headers and payloads begin at multiples of this.
const TAR_BLOCK_BYTES: u64 = 512;

impl ZtocEntry {
    /// Bytes of the payload in the tar: only regular files have one.
    pub fn payload_size(&self) -> u64 {
        if self.kind == EntryKind::Regular { self.size } else { 0 }
    }
}

impl EntryKind {
    const WORDS: [(Self, &'static str); 7] = [
        (Self::Regular, "reg"),
        (Self::Directory, "dir"),
        (Self::Symlink, "symlink"),
        (Self::Hardlink, "hardlink"),
        (Self::Character, "char"),
        (Self::Block, "block"),
        (Self::Fifo, "fifo"),
    ];

    /// The word for it in tables of contents.
    pub(crate) fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(kind, _)| *kind == self).map_or("", |(_, word)| word)
    }

    /// The inverse of [`Self::word`].
    pub(crate) fn from_word(word: &[u8]) -> Option<Self> {
        Self::WORDS.iter().find(|(_, other)| other.as_bytes() == word).map(|(kind, _)| *kind)
    }
}

/// Slots of the tables in the schema.
mod slot {
    pub(super) mod ztoc {
        pub(crate) const VERSION: usize = 0;
        pub(crate) const BUILD_TOOL: usize = 1;
        pub(crate) const COMPRESSED_SIZE: usize = 2;
        pub(crate) const UNCOMPRESSED_SIZE: usize = 3;
        pub(crate) const TOC: usize = 4;
        pub(crate) const COMPRESSION: usize = 5;
    }
    pub(super) mod compression {
        pub(crate) const ALGORITHM: usize = 0;
        pub(crate) const HIGHEST_SPAN: usize = 1;
        pub(crate) const SPAN_DIGESTS: usize = 2;
        pub(crate) const CHECKPOINTS: usize = 3;
    }
    pub(super) mod entry {
        pub(crate) const NAME: usize = 0;
        pub(crate) const KIND: usize = 1;
        pub(crate) const OFFSET: usize = 2;
        pub(crate) const SIZE: usize = 3;
        pub(crate) const LINK: usize = 4;
        pub(crate) const MODE: usize = 5;
        pub(crate) const UID: usize = 6;
        pub(crate) const GID: usize = 7;
        pub(crate) const UNAME: usize = 8;
        pub(crate) const GNAME: usize = 9;
        pub(crate) const MTIME: usize = 10;
        pub(crate) const DEV_MAJOR: usize = 11;
        pub(crate) const DEV_MINOR: usize = 12;
        pub(crate) const PAX: usize = 13;
    }
    pub(super) mod pax {
        pub(crate) const KEY: usize = 0;
        pub(crate) const VALUE: usize = 1;
    }
    /// The table of contents has one field.
    pub(super) const TOC_ENTRIES: usize = 0;
}

const ALGORITHM_GZIP: i8 = 1;
const ALGORITHM_UNCOMPRESSED: i8 = 2;
