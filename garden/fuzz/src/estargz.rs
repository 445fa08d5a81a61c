//! eStargz: what leads to a table gives it whatever stands before, and a table that parses keeps its promises and is
//! written as what parses as the same.

use glowplug_base::Digest;
use glowplug_toc::estargz::{self, Footer};
use glowplug_toc::{Dialect, TocError};

use crate::tables;

/// Takes `data` for the end of a blob, and for a table.
pub fn estargz(data: &[u8]) -> bool {
    let in_blob = table(data).is_some_and(|(json, end)| tables::check(&json, Dialect::Estargz, end));
    in_blob | tables::check(data, Dialect::Estargz, tables::PAYLOAD_END)
}

/// The table of a blob, and where its member begins.
fn table(blob: &[u8]) -> Option<(Vec<u8>, u64)> {
    let footer = Footer::find(blob)?;
    assert!(
        Footer::find(&blob[blob.len() - footer.len as usize..]) == Some(footer),
        "a footer stands by itself"
    );
    let end = blob.len() as u64 - footer.len;
    let start = footer.toc_offset.filter(|&start| start <= end)?;
    if footer.len == estargz::LONGEST_FOOTER_BYTES as u64 {
        assert!(blob.ends_with(&estargz::footer(start)), "a footer is written as it was read");
    }
    let member = &blob[start as usize..end as usize];
    // Nobody says what the digest is, but who asks for another is told.
    let asked = estargz::toc_json(member, &Digest::from_bytes([0; 32]), &tables::LIMITS);
    let Err(TocError::Digest { found, .. }) = asked else { return None };
    let json = estargz::toc_json(member, &found, &tables::LIMITS).expect("the digest was told");
    Some((json, start))
}
