//! zstd:chunked: where the table of contents lies in a zstd layer, and how it is wrapped, in both dialects.
//!
//! The blob is a row of zstd frames that decode to the tar, and behind them *skippable* frames, which decoders pass
//! over: the compressed table, in the dialect of containers/storage the *tar-split* ([`TarSplit`]), and a footer. The
//! footer is for people who find such a blob; readers go by the layer's annotations, which say where the table is and
//! what its digest must be, so that no byte is trusted that the manifest does not vouch for.
//!
//! The dialects differ in the names of the annotations, the tar-split, the footer and the fields of the table.
//!
//! Source of the format: `estargz/zstdchunked/zstdchunked.go` of the stargz snapshotter, and
//! `pkg/chunked/internal/minimal/compression.go` and `pkg/chunked/compression_linux.go` of containers/storage.

mod crc64;
mod header;
mod tar_split;

use std::collections::BTreeMap;

use glowplug_base::Digest;

use crate::estargz::TOC_DIGEST_ANNOTATION;
use crate::files::{Dialect, Toc, TocError, TocLimits};

pub use tar_split::{TarSplit, TarSplitSection};

/// Annotations of one dialect.
struct Names {
    checksum: &'static str,
    position: &'static str,
}

const STORAGE: Names = Names {
    checksum: "io.github.containers.zstd-chunked.manifest-checksum",
    position: "io.github.containers.zstd-chunked.manifest-position",
};
const STARGZ: Names = Names {
    checksum: "io.containers.zstd-chunked.manifest-checksum",
    position: "io.containers.zstd-chunked.manifest-position",
};
/// Where the tar-split is: offset, compressed and decoded length.
const TAR_SPLIT_POSITION: &str = "io.github.containers.zstd-chunked.tarsplit-position";
/// The one type of table that there is.
const TOC_TYPE: u64 = 1;
/// Begins a skippable frame (RFC 8878 section 3.1.2); a length of four bytes follows.
const SKIPPABLE_MAGIC: [u8; 4] = [0x50, 0x2a, 0x4d, 0x18];
/// Length of what is before the content of a skippable frame.
const SKIPPABLE_HEADER_BYTES: u64 = 8;
/// The last eight bytes of a blob; they differ in one letter.
const STORAGE_MAGIC: &[u8; 8] = b"GNUlInUx";
const STARGZ_MAGIC: &[u8; 8] = b"GnUlInUx";
/// What the tools compress tables with. They are read once, and worth little time.
const LEVEL: i32 = 3;

/// Where the table of a layer is, by its annotations. They may claim any length: who fetches the table bounds it first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Whose layer it is; never [`Dialect::Estargz`].
    pub dialect: Dialect,
    /// Offset of the compressed table in the blob, behind the header of its skippable frame.
    pub offset: u64,
    /// Length of the compressed table in bytes.
    pub compressed: u64,
    /// Length of the JSON document in bytes.
    pub uncompressed: u64,
    /// Digest of the compressed table.
    pub checksum: Digest,
}

impl Position {
    /// Reads the annotations of a layer; none if it is no zstd:chunked layer. Of one that is so in both dialects those
    /// of containers/storage count.
    ///
    /// # Errors
    /// [`TocError::Annotation`] if one of the two that are needed is missing or makes no sense.
    pub fn of(annotations: &BTreeMap<String, String>) -> Result<Option<Self>, TocError> {
        for (dialect, names) in [(Dialect::Storage, STORAGE), (Dialect::Stargz, STARGZ)] {
            let text = |name: &str| annotations.get(name).map(String::as_str);
            let (checksum, position) = match (text(names.checksum), text(names.position)) {
                (None, None) => continue,
                (Some(checksum), Some(position)) => (checksum, position),
                (None, _) => return Err(wrong(names.checksum, "missing")),
                (_, None) => return Err(wrong(names.position, "missing")),
            };
            let checksum = checksum.parse().map_err(|_| wrong(names.checksum, "unusable digest"))?;
            let Some([offset, compressed, uncompressed, kind]) = numbers(position) else {
                return Err(wrong(names.position, "not four numbers"));
            };
            if kind != TOC_TYPE {
                return Err(wrong(names.position, "unknown type of table"));
            }
            if offset < SKIPPABLE_HEADER_BYTES || offset.checked_add(compressed).is_none() || compressed == 0
            {
                return Err(wrong(names.position, "out of range"));
            }
            return Ok(Some(Self { dialect, offset, compressed, uncompressed, checksum }));
        }
        Ok(None)
    }

    /// Where the skippable frame of the table begins, and so the end of what can hold files.
    pub fn payload_end(&self) -> u64 {
        self.offset.saturating_sub(SKIPPABLE_HEADER_BYTES)
    }

    /// The annotations of a layer with this table, whose JSON document is `toc_json`.
    pub fn annotations(&self, toc_json: &[u8]) -> BTreeMap<String, String> {
        let names = if self.dialect == Dialect::Storage { STORAGE } else { STARGZ };
        let position = format!("{}:{}:{}:{TOC_TYPE}", self.offset, self.compressed, self.uncompressed);
        let mut annotations = BTreeMap::from([
            (names.checksum.to_owned(), self.checksum.to_string()),
            (names.position.to_owned(), position),
        ]);
        // containers/storage takes this one for eStargz, and refuses a layer that is both.
        if self.dialect != Dialect::Storage {
            annotations.insert(TOC_DIGEST_ANNOTATION.to_owned(), Digest::of(toc_json).to_string());
        }
        annotations
    }
}

fn wrong(annotation: &'static str, what: &'static str) -> TocError {
    TocError::Annotation { annotation, what }
}

/// Decimal numbers with colons between them.
fn numbers<const N: usize>(text: &str) -> Option<[u64; N]> {
    let mut numbers = [0; N];
    let mut parts = text.split(':');
    for number in &mut numbers {
        let part = parts.next().filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

/// From the bytes of the compressed table, those at `position`, to the JSON document.
///
/// # Errors
/// [`TocError`] if they are not those bytes, do not decode, or hold more than `limits` allow or another number of bytes
/// than was announced.
pub fn toc_json(frame: &[u8], position: &Position, limits: &TocLimits) -> Result<Vec<u8>, TocError> {
    let length = |what, expected, found: usize| match found as u64 {
        found if found == expected => Ok(()),
        found => Err(TocError::Length { what, expected, found }),
    };
    length("compressed table of contents", position.compressed, frame.len())?;
    let found = Digest::of(frame);
    if found != position.checksum {
        return Err(TocError::Digest { expected: position.checksum, found });
    }
    if position.uncompressed > limits.json_bytes {
        return Err(TocError::Limit("bytes"));
    }
    let capacity = usize::try_from(position.uncompressed).map_err(|_| TocError::Limit("bytes"))?;
    let json = zstd::bulk::decompress(frame, capacity).map_err(TocError::Zstd)?;
    length("table of contents", position.uncompressed, json.len())?;
    Ok(json)
}

/// Whether a blob that ends with these bytes has the footer of either dialect. A layer is never read by it: only what
/// the manifest vouches for is believed.
pub fn ends_with_footer(tail: &[u8]) -> bool {
    tail.ends_with(STORAGE_MAGIC) || tail.ends_with(STARGZ_MAGIC)
}

/// The end of a blob, behind the frames of the tar, and what the manifest says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// The bytes to append.
    pub bytes: Vec<u8>,
    /// Where the table is.
    pub position: Position,
    /// The JSON document of the table.
    pub json: Vec<u8>,
    /// The annotations of the layer: those of [`Position::annotations`], and that of the tar-split.
    pub annotations: BTreeMap<String, String>,
}

/// Makes the end of a blob whose last frame ends at `payload_end`. Without a tar-split either dialect is well-formed,
/// but containers/storage then fetches the layer as a whole. The other dialect has no tar-split, and one that is given
/// is passed over. [`Dialect::Estargz`] is taken for [`Dialect::Stargz`].
///
/// # Errors
/// [`TocError`] if the tar-split is that of another archive, compression fails, or a frame gets longer than 4 GiB.
pub fn tail(
    toc: &Toc,
    dialect: Dialect,
    payload_end: u64,
    tar_split: Option<&TarSplitSection>,
) -> Result<Tail, TocError> {
    let is_storage = dialect == Dialect::Storage;
    let tar_split = tar_split.filter(|_| is_storage);
    if let Some(found) = tar_split.map(|split| split.entries).filter(|&found| found != toc.entries.len()) {
        return Err(TocError::TarSplit { expected: toc.entries.len(), found });
    }
    let json = toc.encode_with_tar_split(dialect, tar_split.map(|split| Digest::of(&split.compressed)));
    let table = zstd::bulk::compress(&json, LEVEL).map_err(TocError::Zstd)?;
    let position = Position {
        dialect: if is_storage { Dialect::Storage } else { Dialect::Stargz },
        offset: payload_end + SKIPPABLE_HEADER_BYTES,
        compressed: table.len() as u64,
        uncompressed: json.len() as u64,
        checksum: Digest::of(&table),
    };
    let mut annotations = position.annotations(&json);
    let mut bytes = Vec::new();
    append_skippable(&mut bytes, &table)?;
    let mut footer = vec![position.offset, position.compressed, position.uncompressed, TOC_TYPE];
    if is_storage {
        let mut place = [0; 3];
        if let Some(split) = tar_split {
            let offset = payload_end + bytes.len() as u64 + SKIPPABLE_HEADER_BYTES;
            place = [offset, split.compressed.len() as u64, split.uncompressed];
            append_skippable(&mut bytes, &split.compressed)?;
            annotations
                .insert(TAR_SPLIT_POSITION.to_owned(), format!("{}:{}:{}", place[0], place[1], place[2]));
        }
        footer.extend(place);
    }
    let magic = if is_storage { STORAGE_MAGIC } else { STARGZ_MAGIC };
    let footer: Vec<u8> = footer.into_iter().flat_map(u64::to_le_bytes).chain(*magic).collect();
    append_skippable(&mut bytes, &footer)?;
    Ok(Tail { bytes, position, json, annotations })
}

fn append_skippable(bytes: &mut Vec<u8>, content: &[u8]) -> Result<(), TocError> {
    let length = u32::try_from(content.len()).map_err(|_| TocError::Limit("bytes"))?;
    bytes.extend_from_slice(&SKIPPABLE_MAGIC);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(content);
    Ok(())
}
