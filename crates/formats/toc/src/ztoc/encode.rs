//! zTOC to bytes, in the order in which the reference tool builds them.

use super::zinfo::{self, signed};
use super::{ALGORITHM_GZIP, ALGORITHM_UNCOMPRESSED, Compression, VERSION, Ztoc, ZtocEntry, ZtocError, slot};
use crate::flatbuf::{Builder, Offset};

pub(super) fn ztoc(ztoc: &Ztoc) -> Result<Vec<u8>, ZtocError> {
    let highest = i32::try_from(ztoc.span_digests.len() as i64 - 1).map_err(|_| ZtocError::Limit("spans"))?;
    zinfo::check(ztoc, i64::from(highest))?;
    ztoc.header_ranges()?;

    let mut builder = Builder::new();
    let version = builder.bytes_with_zero(VERSION.as_bytes());
    let build_tool = builder.bytes_with_zero(ztoc.build_tool.as_bytes());
    let toc = toc(&mut builder, &ztoc.entries)?;
    let compression = compression(&mut builder, ztoc, highest)?;

    let (compressed_size, uncompressed_size) = (
        signed("compressed size", ztoc.compressed_size)?,
        signed("uncompressed size", ztoc.uncompressed_size)?,
    );
    let mut root = builder.table();
    root.offset(slot::ztoc::VERSION, version);
    root.offset(slot::ztoc::BUILD_TOOL, build_tool);
    root.offset(slot::ztoc::TOC, toc);
    root.i64(slot::ztoc::COMPRESSED_SIZE, compressed_size, 0);
    root.i64(slot::ztoc::UNCOMPRESSED_SIZE, uncompressed_size, 0);
    root.offset(slot::ztoc::COMPRESSION, compression);
    let root = root.end();
    builder.finish(root).ok_or(ZtocError::Limit("bytes"))
}

fn compression(builder: &mut Builder, ztoc: &Ztoc, highest: i32) -> Result<Offset, ZtocError> {
    let (algorithm, packed) = match &ztoc.compression {
        Compression::Gzip { span_size, checkpoints } => {
            (ALGORITHM_GZIP, zinfo::encode_gzip(*span_size, checkpoints)?)
        }
        Compression::Uncompressed { span_size } => {
            (ALGORITHM_UNCOMPRESSED, zinfo::encode_tar(*span_size, ztoc.compressed_size)?)
        }
    };
    let checkpoints = builder.bytes(&packed);
    let digests: Vec<_> = ztoc
        .span_digests
        .iter()
        .map(|digest| builder.bytes_with_zero(digest.to_string().as_bytes()))
        .collect();
    let digests = builder.offsets(&digests);
    let mut table = builder.table();
    table.i32(slot::compression::HIGHEST_SPAN, highest, 0);
    table.offset(slot::compression::SPAN_DIGESTS, digests);
    table.offset(slot::compression::CHECKPOINTS, checkpoints);
    table.i8(slot::compression::ALGORITHM, algorithm, ALGORITHM_GZIP);
    Ok(table.end())
}

/// The entries from last to first, then their list from first to last.
fn toc(builder: &mut Builder, entries: &[ZtocEntry]) -> Result<Offset, ZtocError> {
    let mut offsets = Vec::with_capacity(entries.len());
    for entry in entries.iter().rev() {
        offsets.push(entry_table(builder, entry)?);
    }
    offsets.reverse();
    let list = builder.offsets(&offsets);
    let mut table = builder.table();
    table.offset(slot::TOC_ENTRIES, list);
    Ok(table.end())
}

fn entry_table(builder: &mut Builder, entry: &ZtocEntry) -> Result<Offset, ZtocError> {
    let name = builder.bytes_with_zero(&entry.name);
    let kind = builder.bytes_with_zero(entry.kind.word().as_bytes());
    let link = builder.bytes_with_zero(&entry.link);
    let uname = builder.bytes_with_zero(&entry.uname);
    let gname = builder.bytes_with_zero(&entry.gname);
    let mtime = builder.bytes_with_zero(entry.mtime.text().unwrap_or_default().as_bytes());
    let mut records = Vec::with_capacity(entry.pax.len());
    for (key, value) in &entry.pax {
        let key = builder.bytes_with_zero(key);
        let value = builder.bytes_with_zero(value);
        let mut record = builder.table();
        record.offset(slot::pax::KEY, key);
        record.offset(slot::pax::VALUE, value);
        records.push(record.end());
    }
    let pax = builder.offsets(&records);
    let (offset, size) = (signed("payload offset", entry.offset)?, signed("payload size", entry.size)?);
    let mut table = builder.table();
    table.offset(slot::entry::NAME, name);
    table.offset(slot::entry::KIND, kind);
    table.i64(slot::entry::OFFSET, offset, 0);
    table.i64(slot::entry::SIZE, size, 0);
    table.offset(slot::entry::LINK, link);
    table.i64(slot::entry::MODE, entry.mode, 0);
    table.u32(slot::entry::UID, entry.uid, 0);
    table.u32(slot::entry::GID, entry.gid, 0);
    table.offset(slot::entry::UNAME, uname);
    table.offset(slot::entry::GNAME, gname);
    table.offset(slot::entry::MTIME, mtime);
    table.i64(slot::entry::DEV_MAJOR, entry.dev_major, 0);
    table.i64(slot::entry::DEV_MINOR, entry.dev_minor, 0);
    table.offset(slot::entry::PAX, pax);
    Ok(table.end())
}
