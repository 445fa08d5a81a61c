//! Finds the table of contents that a layer carries.

use std::collections::BTreeMap;
use std::fmt;

use glowplug_base::{ByteRange, Digest};
use glowplug_oci::Compression;
use glowplug_source::{RangeSource, read_all};
use glowplug_timeline::Cause;
use glowplug_toc::estargz::{self, Footer, FooterKind};
use glowplug_toc::files::{Dialect, Toc, TocLimits};
use glowplug_toc::zstd_chunked::{self, Position};

use super::External;
use crate::error::chain;

/// Bytes at the end of an eStargz layer that are fetched first: its footer, and most often the whole table with it, so that one
/// round trip is enough. 3 ms of a 1 Gbit/s link.
const TAIL_BYTES: u64 = 384 * 1024;
/// Bytes that the longest footer of all has.
const FOOTER_BYTES: u64 = 128;

/// Which table a layer carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// eStargz.
    Estargz,
    /// zstd:chunked, in either dialect.
    ZstdChunked,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Estargz => "eStargz",
            Self::ZstdChunked => "zstd:chunked",
        })
    }
}

/// Which table the layer carries whose digest its annotations tell; `None` for a plain layer.
pub fn kind(compression: Compression, annotations: &BTreeMap<String, String>) -> Option<Kind> {
    match compression {
        Compression::Gzip => {
            annotations.contains_key(estargz::TOC_DIGEST_ANNOTATION).then_some(Kind::Estargz)
        }
        // A position that cannot be read is told when the table is looked for.
        Compression::Zstd => {
            Position::of(annotations).map_or(true, |found| found.is_some()).then_some(Kind::ZstdChunked)
        }
        Compression::None => None,
    }
}

/// A table, and what it took to have it.
#[derive(Debug, Clone)]
pub struct Table {
    /// The table.
    pub toc: Toc,
    /// Its length in the layer, in bytes.
    pub stored_bytes: u64,
}

/// Which table a layer carries though its manifest does not name the table's digest, so that it cannot be trusted.
pub async fn unvouched(source: &dyn RangeSource, compression: Compression) -> Option<Kind> {
    let size = source.size();
    let tail = fetch(source, ByteRange::new(size.saturating_sub(FOOTER_BYTES), size)).await.ok()?;
    match compression {
        Compression::Gzip => Footer::find(&tail).map(|_| Kind::Estargz),
        Compression::Zstd => zstd_chunked::ends_with_footer(&tail).then_some(Kind::ZstdChunked),
        Compression::None => None,
    }
}

/// The table of the layer `blob` in `source`; `None` for a layer whose annotations tell of none. A table that lies in an image of its
/// own is looked for in `external`.
///
/// # Errors
/// Why the table cannot be used, in words.
pub async fn find(
    source: &dyn RangeSource,
    compression: Compression,
    annotations: &BTreeMap<String, String>,
    blob: &Digest,
    external: Option<&External>,
) -> Result<Option<Table>, String> {
    let limits = TocLimits::default();
    match kind(compression, annotations) {
        None => Ok(None),
        Some(Kind::Estargz) => {
            let expected =
                annotations.get(estargz::TOC_DIGEST_ANNOTATION).map(String::as_str).unwrap_or_default();
            let expected: Digest =
                expected.parse().map_err(|error| format!("digest of the table: {}", chain(&error)))?;
            estargz(source, expected, blob, external, limits).await.map(Some)
        }
        Some(Kind::ZstdChunked) => {
            let Some(position) = Position::of(annotations).map_err(|error| chain(&error))? else {
                return Ok(None);
            };
            zstd_chunked(source, position, limits).await.map(Some)
        }
    }
}

async fn estargz(
    source: &dyn RangeSource,
    expected: Digest,
    blob: &Digest,
    external: Option<&External>,
    limits: TocLimits,
) -> Result<Table, String> {
    let size = source.size();
    let tail_start = size.saturating_sub(TAIL_BYTES);
    let tail = fetch(source, ByteRange::new(tail_start, size)).await?;
    let footer = Footer::find(&tail).ok_or("the layer ends without an eStargz footer")?;
    let toc_end = size.saturating_sub(footer.len);
    let Some(toc_offset) = footer.toc_offset.filter(|_| footer.kind != FooterKind::ExternalToc) else {
        let external = external.ok_or("its table lies in another image, which goes by a tag")?;
        let member = external.table(blob).await?;
        return finish(member, expected, toc_end, limits).await;
    };
    if toc_offset >= toc_end {
        return Err("the footer places the table outside the layer".to_owned());
    }
    let member = if toc_offset >= tail_start {
        tail[(toc_offset - tail_start) as usize..(toc_end - tail_start) as usize].to_vec()
    } else {
        // A table takes a few percent of its layer; one that takes more than the limit when unpacked is refused there.
        if toc_end - toc_offset > limits.json_bytes {
            return Err(format!("a table of {} bytes is too long", toc_end - toc_offset));
        }
        let mut member = fetch(source, ByteRange::new(toc_offset, tail_start)).await?;
        member.extend_from_slice(&tail[..(toc_end - tail_start) as usize]);
        member
    };
    finish(member, expected, toc_offset, limits).await
}

/// The table in a member; what can hold files ends in the layer at `payload_end`.
async fn finish(
    member: Vec<u8>,
    expected: Digest,
    payload_end: u64,
    limits: TocLimits,
) -> Result<Table, String> {
    let stored_bytes = member.len() as u64;
    let toc = parse(move || {
        let json = estargz::toc_json(&member, &expected, &limits).map_err(|error| chain(&error))?;
        Toc::parse(&json, Dialect::Estargz, payload_end, &limits).map_err(|error| chain(&error))
    })
    .await?;
    Ok(Table { toc, stored_bytes })
}

async fn zstd_chunked(
    source: &dyn RangeSource,
    position: Position,
    limits: TocLimits,
) -> Result<Table, String> {
    let end = position.offset.checked_add(position.compressed).filter(|end| *end <= source.size());
    let end = end.ok_or("its annotations place the table outside the layer")?;
    if position.compressed > limits.json_bytes {
        return Err(format!("a table of {} bytes is too long", position.compressed));
    }
    let frame = fetch(source, ByteRange::new(position.offset, end)).await?;
    let stored_bytes = position.compressed;
    let toc = parse(move || {
        let json = zstd_chunked::toc_json(&frame, &position, &limits).map_err(|error| chain(&error))?;
        Toc::parse(&json, position.dialect, position.payload_end(), &limits).map_err(|error| chain(&error))
    })
    .await?;
    Ok(Table { toc, stored_bytes })
}

async fn fetch(source: &dyn RangeSource, range: ByteRange) -> Result<Vec<u8>, String> {
    read_all(source, range, Cause::Metadata).await.map_err(|error| chain(&error))
}

/// Tables can have millions of lines: off the runtime's threads.
async fn parse(work: impl FnOnce() -> Result<Toc, String> + Send + 'static) -> Result<Toc, String> {
    tokio::task::spawn_blocking(work).await.map_err(|panic| panic.to_string())?
}
