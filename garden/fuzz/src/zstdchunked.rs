//! zstd:chunked: as for eStargz, in both dialects, and what is put behind a layer is read again.

use glowplug_base::Digest;
use glowplug_toc::zstd_chunked::{self, Position, TarSplit};
use glowplug_toc::{Dialect, Toc, TocError};

use crate::tables;

/// Takes `data` for a compressed table, for a table, and for all the bytes of a tar.
pub fn zstdchunked(data: &[u8]) -> bool {
    let mut understood = false;
    for dialect in [Dialect::Storage, Dialect::Stargz] {
        let in_frame =
            table(data, dialect).is_some_and(|json| tables::check(&json, dialect, tables::PAYLOAD_END));
        understood |= in_frame | tables::check(data, dialect, tables::PAYLOAD_END);
        if let Ok(toc) = Toc::parse(data, dialect, tables::PAYLOAD_END, &tables::LIMITS) {
            put_behind(&toc, dialect);
            split(data, &toc);
        }
    }
    understood
}

/// The table in a frame.
fn table(frame: &[u8], dialect: Dialect) -> Option<Vec<u8>> {
    let position = |uncompressed| Position {
        dialect,
        offset: 8,
        compressed: frame.len() as u64,
        uncompressed,
        checksum: Digest::of(frame),
    };
    // Nobody says how long the table is, but who asks for more is told.
    let asked = zstd_chunked::toc_json(frame, &position(tables::LIMITS.json_bytes), &tables::LIMITS);
    let Err(TocError::Length { found, .. }) = asked else { return asked.ok() };
    Some(zstd_chunked::toc_json(frame, &position(found), &tables::LIMITS).expect("the length was told"))
}

fn put_behind(toc: &Toc, dialect: Dialect) {
    let tail = zstd_chunked::tail(toc, dialect, tables::PAYLOAD_END, None).expect("a small table has a tail");
    assert!(matches!(Position::of(&tail.annotations), Ok(Some(position)) if position == tail.position));
    let start = (tail.position.offset - tail.position.payload_end()) as usize;
    let frame = &tail.bytes[start..start + tail.position.compressed as usize];
    let roomy = glowplug_toc::TocLimits { json_bytes: 16 << 20, ..tables::LIMITS };
    let json = zstd_chunked::toc_json(frame, &tail.position, &roomy).expect("what was written is read");
    assert!(json == tail.json);
}

/// Cuts `data` into headers and payloads of the table's entries, which rarely are any.
fn split(data: &[u8], toc: &Toc) {
    let Ok(mut split) = TarSplit::new() else { return };
    let mut rest = data;
    for entry in toc.entries.iter().take(8) {
        let (header, behind) = rest.split_at(rest.len().min(512));
        let (payload, behind) = behind.split_at(behind.len().min(entry.size.min(700) as usize));
        split.header(header, entry);
        split.payload(payload);
        rest = behind;
    }
    let _ = split.finish(rest);
}
