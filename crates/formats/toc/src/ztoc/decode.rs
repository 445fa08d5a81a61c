//! Bytes to zTOC.

use std::collections::BTreeMap;

use glowplug_base::Digest;

use super::zinfo::{self, size};
use super::{
    ALGORITHM_GZIP, ALGORITHM_UNCOMPRESSED, EntryKind, VERSION, Ztoc, ZtocEntry, ZtocError, ZtocLimits, slot,
};
use crate::flatbuf::{Malformed, Table};
use crate::timestamp::Timestamp;

/// Charged for each PAX record beside its bytes, about what a map of small vectors costs.
const RECORD_SURCHARGE_BYTES: usize = 100;

impl From<Malformed> for ZtocError {
    fn from(_: Malformed) -> Self {
        Self::FlatBuffer
    }
}

pub(super) fn ztoc(bytes: &[u8], limits: &ZtocLimits) -> Result<Ztoc, ZtocError> {
    if bytes.len() > limits.bytes {
        return Err(ZtocError::Limit("bytes"));
    }
    let root = Table::root(bytes)?;
    let version = root.bytes(slot::ztoc::VERSION)?.unwrap_or_default();
    if version != VERSION.as_bytes() {
        let start = &version[..version.len().min(20)];
        return Err(ZtocError::Version(String::from_utf8_lossy(start).into_owned()));
    }
    let build_tool = root.bytes(slot::ztoc::BUILD_TOOL)?.unwrap_or_default();
    if build_tool.len() > limits.text {
        return Err(ZtocError::Limit("text"));
    }
    let compressed_size = size("compressed size", root.i64(slot::ztoc::COMPRESSED_SIZE, 0)?)?;
    let uncompressed_size = size("uncompressed size", root.i64(slot::ztoc::UNCOMPRESSED_SIZE, 0)?)?;

    let info = root.table(slot::ztoc::COMPRESSION)?.ok_or(ZtocError::Missing("compression info"))?;
    let packed = info.bytes(slot::compression::CHECKPOINTS)?.unwrap_or_default();
    let compression = match info.i8(slot::compression::ALGORITHM, ALGORITHM_GZIP)? {
        ALGORITHM_GZIP => zinfo::parse_gzip(packed)?,
        ALGORITHM_UNCOMPRESSED => zinfo::parse_tar(packed, compressed_size)?,
        other => return Err(ZtocError::Algorithm(other)),
    };
    let highest = i64::from(info.i32(slot::compression::HIGHEST_SPAN, 0)?);

    let ztoc = Ztoc {
        build_tool: String::from_utf8_lossy(build_tool).into_owned(),
        compressed_size,
        uncompressed_size,
        entries: entries(&root, limits)?,
        compression,
        span_digests: span_digests(&info, limits)?,
    };
    zinfo::check(&ztoc, highest)?;
    ztoc.header_ranges()?;
    Ok(ztoc)
}

fn span_digests(info: &Table<'_>, limits: &ZtocLimits) -> Result<Vec<Digest>, ZtocError> {
    let Some(vector) = info.vector(slot::compression::SPAN_DIGESTS)? else { return Ok(Vec::new()) };
    if vector.len() > limits.spans {
        return Err(ZtocError::Limit("spans"));
    }
    let digest = |index| {
        let text = String::from_utf8_lossy(vector.bytes(index)?);
        text.parse().map_err(|source| ZtocError::Digest { index, source })
    };
    (0..vector.len()).map(digest).collect()
}

fn entries(root: &Table<'_>, limits: &ZtocLimits) -> Result<Vec<ZtocEntry>, ZtocError> {
    let toc = root.table(slot::ztoc::TOC)?.ok_or(ZtocError::Missing("table of contents"))?;
    let Some(vector) = toc.vector(slot::TOC_ENTRIES)? else { return Ok(Vec::new()) };
    if vector.len() > limits.entries {
        return Err(ZtocError::Limit("entries"));
    }
    let mut left = limits.text;
    let mut entries = Vec::with_capacity(vector.len());
    for index in 0..vector.len() {
        entries.push(entry(index, &vector.table(index)?, &mut left)?);
    }
    // Stable, so that entries without payload keep their order.
    entries.sort_by_key(|entry| entry.offset);
    Ok(entries)
}

/// `left` is how many bytes of text may still be copied: tables can share their text, so the size of the
/// input bounds nothing.
fn entry(index: usize, table: &Table<'_>, left: &mut usize) -> Result<ZtocEntry, ZtocError> {
    let wrong = |what| ZtocError::Entry { index, what };
    let kind = table.bytes(slot::entry::KIND)?.and_then(EntryKind::from_word);
    let time = table.bytes(slot::entry::MTIME)?.unwrap_or_default();
    // The reference tool writes nothing for a time it cannot write.
    let mtime = if time.is_empty() {
        Timestamp::default()
    } else {
        let text = std::str::from_utf8(time).map_err(|_| wrong("malformed time"))?;
        text.parse().map_err(|_| wrong("malformed time"))?
    };
    let mut pax = BTreeMap::new();
    if let Some(records) = table.vector(slot::entry::PAX)? {
        for record in 0..records.len() {
            let record = records.table(record)?;
            spend(left, RECORD_SURCHARGE_BYTES)?;
            let (key, value) = (text(&record, slot::pax::KEY, left)?, text(&record, slot::pax::VALUE, left)?);
            pax.insert(key, value);
        }
    }
    Ok(ZtocEntry {
        name: text(table, slot::entry::NAME, left)?,
        kind: kind.ok_or(wrong("unknown type"))?,
        offset: size("payload offset", table.i64(slot::entry::OFFSET, 0)?)?,
        size: size("payload size", table.i64(slot::entry::SIZE, 0)?)?,
        link: text(table, slot::entry::LINK, left)?,
        mode: table.i64(slot::entry::MODE, 0)?,
        uid: table.u32(slot::entry::UID, 0)?,
        gid: table.u32(slot::entry::GID, 0)?,
        uname: text(table, slot::entry::UNAME, left)?,
        gname: text(table, slot::entry::GNAME, left)?,
        mtime,
        dev_major: table.i64(slot::entry::DEV_MAJOR, 0)?,
        dev_minor: table.i64(slot::entry::DEV_MINOR, 0)?,
        pax,
    })
}

fn text(table: &Table<'_>, slot: usize, left: &mut usize) -> Result<Vec<u8>, ZtocError> {
    let text = table.bytes(slot)?.unwrap_or_default();
    spend(left, text.len())?;
    Ok(text.to_vec())
}

fn spend(left: &mut usize, amount: usize) -> Result<(), ZtocError> {
    *left = left.checked_sub(amount).ok_or(ZtocError::Limit("text"))?;
    Ok(())
}
