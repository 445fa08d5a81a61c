//! How tables are wrapped: footers, tars, frames and annotations.

use std::collections::BTreeMap;

use glowplug_base::Digest;
use glowplug_toc::estargz::{self, Footer, FooterKind};
use glowplug_toc::zstd_chunked::{self, Position};
use glowplug_toc::{Dialect, EntryKind, Toc, TocError, TocLimits};
use proptest::prelude::*;

use crate::blob::{gzip, unzstd};
use crate::tables::entry;

/// The footers by the tables of bytes in their documents.
fn written_out(extra: &[u8]) -> Vec<u8> {
    let mut footer = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff".to_vec();
    footer.extend((extra.len() as u16).to_le_bytes());
    footer.extend(extra);
    footer.extend(b"\x01\0\0\xff\xff\0\0\0\0\0\0\0\0");
    footer
}

#[test]
fn footers_are_found() {
    let current = written_out(b"SG\x16\x000000000000abcdefSTARGZ");
    let legacy = written_out(b"0000000000abcdefSTARGZ");
    let external = written_out(b"SG\x11\0STARGZEXTERNALTOC");
    assert_eq!((current.len(), legacy.len(), external.len()), (51, 47, 46));
    assert_eq!(estargz::footer(0xab_cdef)[..], current);
    for (kind, footer, toc_offset) in [
        (FooterKind::Current, &current, Some(0xab_cdef)),
        (FooterKind::Legacy, &legacy, Some(0xab_cdef)),
        (FooterKind::ExternalToc, &external, None),
    ] {
        let expected = Some(Footer { kind, toc_offset, len: footer.len() as u64 });
        assert_eq!(Footer::find(footer), expected);
        assert_eq!(Footer::find(&[&[7; 100][..], footer].concat()), expected);
        assert_eq!(Footer::find(&footer[1..]), None);
        assert_eq!(Footer::find(&footer[..footer.len() - 1]), None);
        for at in 0..footer.len() {
            let mut other = footer.clone();
            other[at] ^= 0x80;
            assert_eq!(Footer::find(&other), None, "{kind:?} {at}");
        }
    }
    for digits in ["+000000000abcdef", "-000000000abcdef", "000000000000000g", "0000000000ABCDEF"] {
        let footer = written_out(format!("SG\x16\0{digits}STARGZ").as_bytes());
        assert_eq!(Footer::find(&footer), None, "{digits}");
    }
    assert_eq!(Footer::find(b""), None);
}

#[test]
fn a_member_gives_its_table() {
    let (json, limits) = (b"{\"version\": 1}", TocLimits::default());
    let digest = Digest::of(json);
    let tar = estargz::toc_tar(json);
    assert_eq!(tar.len(), 512 * 4);
    let member = gzip(&tar);
    let with_footer = [&member[..], &estargz::footer(0)].concat();
    for bytes in [&member, &with_footer] {
        assert_eq!(estargz::toc_json(bytes, &digest, &limits).unwrap(), json);
    }
    let other = Digest::of(b"other");
    assert!(matches!(estargz::toc_json(&member, &other, &limits), Err(TocError::Digest { .. })));
    let cut = &member[..member.len() - 3];
    assert!(matches!(estargz::toc_json(cut, &digest, &limits), Err(TocError::Gzip(_))));
    let mut named = tar.clone();
    named[..17].copy_from_slice(b"stargz.index.jsom");
    assert!(matches!(estargz::toc_json(&gzip(&named), &digest, &limits), Err(TocError::Tar(_))));
    for bytes in [&b""[..], &tar[..512], &tar[..520]] {
        let found = estargz::toc_json(&gzip(bytes), &digest, &limits);
        assert!(matches!(found, Err(TocError::NoToc | TocError::Tar(_))), "{found:?}");
    }
}

fn annotations(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[test]
fn positions_are_read() {
    let digest = Digest::of(b"table");
    let text = digest.to_string();
    for (dialect, prefix) in [
        (Dialect::Storage, "io.github.containers.zstd-chunked.manifest-"),
        (Dialect::Stargz, "io.containers.zstd-chunked.manifest-"),
    ] {
        let (checksum, position) = (format!("{prefix}checksum"), format!("{prefix}position"));
        let of = |place: &str| Position::of(&annotations(&[(&checksum, &text), (&position, place)]));
        let found = of("108:20:300:1").unwrap().unwrap();
        let expected = Position { dialect, offset: 108, compressed: 20, uncompressed: 300, checksum: digest };
        assert_eq!((found, found.payload_end()), (expected, 100));
        for place in [
            "",
            "108:20:300",
            "108:20:300:1:1",
            "108:20:300:2",
            "108:-20:300:1",
            "108:+20:300:1",
            "7:20:300:1",
            "108:0:3:1",
            "18446744073709551615:1:1:1",
            "18446744073709551616:1:1:1",
        ] {
            assert!(matches!(of(place), Err(TocError::Annotation { .. })), "{place}");
        }
        for lacking in [(&checksum, &text[..]), (&position, "108:20:300:1")] {
            let found = Position::of(&annotations(&[(lacking.0, lacking.1)]));
            assert!(matches!(found, Err(TocError::Annotation { what: "missing", .. })), "{found:?}");
        }
        let sha512 = annotations(&[(&checksum, "sha512:0"), (&position, "108:20:300:1")]);
        assert!(matches!(Position::of(&sha512), Err(TocError::Annotation { .. })));
    }
    assert_eq!(Position::of(&annotations(&[("other", "x")])).unwrap(), None);
}

#[test]
fn a_frame_gives_its_table() {
    let (json, limits) = (b"{\"version\": 1}", TocLimits::default());
    let frame = zstd::bulk::compress(json, 3).unwrap();
    let position = Position {
        dialect: Dialect::Stargz,
        offset: 8,
        compressed: frame.len() as u64,
        uncompressed: json.len() as u64,
        checksum: Digest::of(&frame),
    };
    let of = |frame: &[u8], position: &Position| zstd_chunked::toc_json(frame, position, &limits);
    assert_eq!(of(&frame, &position).unwrap(), json);
    assert!(matches!(of(&frame[1..], &position), Err(TocError::Length { .. })));
    let longer = Position { uncompressed: 100, ..position };
    assert!(matches!(of(&frame, &longer), Err(TocError::Length { expected: 100, found: 14, .. })));
    let mut torn = frame.clone();
    torn[6] ^= 1;
    assert!(matches!(of(&torn, &position), Err(TocError::Digest { .. })));
    let torn = Position { checksum: Digest::of(&frame[..9]), compressed: 9, ..position };
    assert!(matches!(of(&frame[..9], &torn), Err(TocError::Zstd(_))));
}

proptest! {
    #[test]
    fn tails_are_read(names in proptest::collection::vec("[a-z]{1,9}", 0..9), storage: bool, payload in 0..3000_usize) {
        let toc = Toc { entries: names.iter().map(|name| entry(name, EntryKind::Directory)).collect() };
        let dialect = if storage { Dialect::Storage } else { Dialect::Stargz };
        let tail = zstd_chunked::tail(&toc, dialect, payload as u64, None).unwrap();
        let position = Position::of(&tail.annotations).unwrap().unwrap();
        prop_assert_eq!(position, tail.position);
        prop_assert_eq!(position.payload_end(), payload as u64);

        let blob = [vec![1; payload], tail.bytes.clone()].concat();
        let start = position.offset as usize;
        let frame = &blob[start..][..position.compressed as usize];
        let json = zstd_chunked::toc_json(frame, &position, &TocLimits::default()).unwrap();
        prop_assert_eq!(&json, &tail.json);
        prop_assert_eq!(&Toc::parse(&json, dialect, position.payload_end(), &TocLimits::default()).unwrap(), &toc);

        // Decoders pass over all of it, and the footer says the same as the annotations.
        prop_assert_eq!(unzstd(&tail.bytes), b"");
        let words: Vec<u64> = blob[blob.len() - if storage { 64 } else { 40 }..]
            .chunks(8)
            .map(|word| u64::from_le_bytes(word.try_into().unwrap()))
            .collect();
        prop_assert_eq!(&words[..4], &[position.offset, position.compressed, position.uncompressed, 1]);
        let magic = if storage { b"GNUlInUx" } else { b"GnUlInUx" };
        prop_assert!(blob.ends_with(magic));

        let digest = tail.annotations.get(estargz::TOC_DIGEST_ANNOTATION);
        prop_assert_eq!(digest.is_some(), !storage);
        prop_assert!(digest.is_none_or(|digest| *digest == Digest::of(&json).to_string()));
    }
}
