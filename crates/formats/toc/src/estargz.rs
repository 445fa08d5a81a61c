//! eStargz: where the table of contents lies in a gzip layer, and how it is wrapped.
//!
//! The blob is a row of gzip members that end with one that holds nothing but the table, as the last entry of the tar,
//! and with the *footer*, an empty member whose header says where the table's member begins. The manifest vouches for
//! the table with the annotation [`TOC_DIGEST_ANNOTATION`]; a layer without it is an ordinary one, since the footer and
//! the table it leads to are only covered by the digest of the whole blob.
//!
//! There are three footers: today's, that of stargz before it, and one that says that the table is in an image of its
//! own. Finding that image is up to others.
//!
//! Source of the format: `docs/estargz.md`, `estargz/gzip.go` and `estargz/externaltoc` of the stargz snapshotter.

use glowplug_base::Digest;
use glowplug_gzindex::Indexer;
use glowplug_tarwalk::{Entry, Walker};

use crate::files::{TocError, TocLimits};

/// Annotation of a layer: digest of the JSON document of the table, uncompressed.
pub const TOC_DIGEST_ANNOTATION: &str = "containerd.io/snapshot/stargz/toc.digest";
/// Annotation of a layer: bytes of its tar, in decimal.
pub const UNCOMPRESSED_SIZE_ANNOTATION: &str = "io.containers.estargz.uncompressed-size";
/// Name of the tar entry that holds the table.
pub const TOC_NAME: &str = "stargz.index.json";
/// Name of the file that stands behind those to be fetched first.
pub const PREFETCH_LANDMARK: &str = ".prefetch.landmark";
/// Name of the file that says that none is to be fetched first.
pub const NO_PREFETCH_LANDMARK: &str = ".no.prefetch.landmark";
/// The one byte that is in either landmark.
pub const LANDMARK_CONTENT: u8 = 0x0f;
/// The last bytes of the blob that tell which footer it has.
pub const LONGEST_FOOTER_BYTES: usize = 51;

/// A gzip header with an extra field and otherwise nothing: no time, no flags, unknown system (RFC 1952 section 2.3).
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255];
/// An empty stored block, the last one, and the trailer for no bytes.
const EMPTY_DATA: [u8; 13] = [1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0];
/// Marks the subfield of the extra field that is ours.
const SUBFIELD: [u8; 2] = *b"SG";
/// Behind the offset in both footers that have one.
const MAGIC: &[u8] = b"STARGZ";
/// Instead of an offset.
const EXTERNAL_MAGIC: &[u8] = b"STARGZEXTERNALTOC";
/// Hexadecimal digits of the offset.
const OFFSET_DIGITS: usize = 16;

/// Blocks of a tar.
const BLOCK_BYTES: usize = 512;
/// Decoded bytes around the document: headers, padding, the end marker, and what a tool that fills up its tar to whole
/// records (20 blocks) may add, twice over.
const AROUND_BYTES: u64 = 32 << 10;
/// Compressed bytes that are decoded in one go.
const STEP_BYTES: usize = 64 << 10;

/// Which footer it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FooterKind {
    /// Today's, of 51 bytes.
    Current,
    /// That of stargz, of 47 bytes.
    Legacy,
    /// That of a blob without a table, of 46 bytes.
    ExternalToc,
}

/// The footer of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footer {
    /// Which it is.
    pub kind: FooterKind,
    /// Where the gzip member of the table begins; none if it is in another image. It may be any number: who fetches the
    /// table bounds it first.
    pub toc_offset: Option<u64>,
    /// Length of the footer in bytes. The table's member ends where the footer begins.
    pub len: u64,
}

impl Footer {
    /// Finds the footer in `tail`, the last bytes of a blob: at least [`LONGEST_FOOTER_BYTES`], if it has as many.
    pub fn find(tail: &[u8]) -> Option<Self> {
        let kinds = [FooterKind::Current, FooterKind::Legacy, FooterKind::ExternalToc];
        kinds.into_iter().find_map(|kind| {
            let toc_offset = match kind {
                FooterKind::ExternalToc => None,
                FooterKind::Current | FooterKind::Legacy => Some(offset_before_magic(tail)?),
            };
            let expected = bytes(kind, toc_offset.unwrap_or_default());
            let len = expected.len() as u64;
            tail.ends_with(&expected).then_some(Self { kind, toc_offset, len })
        })
    }
}

/// The offset in a footer that has one, at the end of `tail`.
fn offset_before_magic(tail: &[u8]) -> Option<u64> {
    let (front, _) = tail.split_at_checked(tail.len().checked_sub(EMPTY_DATA.len() + MAGIC.len())?)?;
    let digits = front.last_chunk::<OFFSET_DIGITS>()?;
    let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
    u64::from_str_radix(digits, 16).ok()
}

/// The bytes of a footer.
fn bytes(kind: FooterKind, toc_offset: u64) -> Vec<u8> {
    let text = match kind {
        FooterKind::Current | FooterKind::Legacy => [format!("{toc_offset:016x}").as_bytes(), MAGIC].concat(),
        FooterKind::ExternalToc => EXTERNAL_MAGIC.to_vec(),
    };
    let extra = match kind {
        FooterKind::Legacy => text,
        FooterKind::Current | FooterKind::ExternalToc => {
            [&SUBFIELD[..], &(text.len() as u16).to_le_bytes(), &text].concat()
        }
    };
    [&GZIP_HEADER[..], &(extra.len() as u16).to_le_bytes(), &extra, &EMPTY_DATA].concat()
}

/// The footer of a blob whose table's member begins at `toc_offset`.
pub fn footer(toc_offset: u64) -> [u8; LONGEST_FOOTER_BYTES] {
    let mut footer = [0; LONGEST_FOOTER_BYTES];
    footer.copy_from_slice(&bytes(FooterKind::Current, toc_offset));
    footer
}

/// From the bytes of the table's gzip member to the JSON document. Members behind it, such as the footer, do no harm if
/// they are short. `expected` is the digest of the document that the annotation gives.
///
/// # Errors
/// [`TocError`] if the member cannot be decoded, is no tar that begins with the table, or holds more than `limits`
/// allow or another document than expected.
pub fn toc_json(member: &[u8], expected: &Digest, limits: &TocLimits) -> Result<Vec<u8>, TocError> {
    let mut tar = gunzip(member, limits.json_bytes.saturating_add(AROUND_BYTES))?;
    let mut first: Option<Entry> = None;
    let mut walker = Walker::new(glowplug_tarwalk::Limits::default());
    walker.push(&tar, &mut |entry| {
        first.get_or_insert(entry);
    })?;
    let entry = first.filter(|entry| entry.path == TOC_NAME.as_bytes()).ok_or(TocError::NoToc)?;
    let [extent] = entry.extents[..] else { return Err(TocError::NoToc) };
    if extent.len > limits.json_bytes {
        return Err(TocError::Limit("bytes"));
    }
    // An entry is told when its headers are complete; its payload may not be.
    let end = extent.stream_offset.checked_add(extent.len).filter(|&end| end <= tar.len() as u64);
    tar.truncate(end.ok_or(TocError::NoToc)? as usize);
    tar.drain(..extent.stream_offset as usize);
    match Digest::of(&tar) {
        found if found == *expected => Ok(tar),
        found => Err(TocError::Digest { expected: *expected, found }),
    }
}

/// Decodes gzip to `most_bytes` at most.
fn gunzip(member: &[u8], most_bytes: u64) -> Result<Vec<u8>, TocError> {
    let cap = usize::try_from(most_bytes).unwrap_or(usize::MAX);
    let mut indexer = Indexer::new(u64::MAX);
    let (mut decoded, mut checkpoints) = (Vec::new(), Vec::new());
    for piece in member.chunks(STEP_BYTES) {
        let taken = indexer.push(piece, &mut decoded, cap, &mut checkpoints)?;
        if taken < piece.len() || decoded.len() == cap {
            return Err(TocError::Limit("bytes"));
        }
    }
    indexer.finish()?;
    Ok(decoded)
}

/// The tar that the table's member holds: the entry with the document, below 8 GiB, and the end marker. Equal to that
/// of the reference tool.
pub fn toc_tar(json: &[u8]) -> Vec<u8> {
    let mut header = [0; BLOCK_BYTES];
    let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    put(0, TOC_NAME.as_bytes());
    // Mode, user and group.
    for at in [100, 108, 116] {
        put(at, b"0000000\0");
    }
    put(124, format!("{:011o}\0", json.len()).as_bytes());
    put(136, b"00000000000\0");
    // The checksum counts itself as spaces.
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    for at in [329, 337] {
        put(at, b"0000000\0");
    }
    let sum: u32 = header.iter().copied().map(u32::from).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let mut tar = Vec::with_capacity(json.len().next_multiple_of(BLOCK_BYTES) + 3 * BLOCK_BYTES);
    tar.extend_from_slice(&header);
    tar.extend_from_slice(json);
    tar.resize(tar.len().next_multiple_of(BLOCK_BYTES) + 2 * BLOCK_BYTES, 0);
    tar
}
