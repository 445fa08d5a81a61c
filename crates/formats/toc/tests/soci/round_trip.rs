//! What is written is parsed again, and what is inconsistent is not written.

use glowplug_base::{ByteRange, Digest};
use glowplug_toc::{Checkpoint, Compression, EntryKind, Timestamp, Ztoc, ZtocEntry, ZtocError, ZtocLimits};
use proptest::prelude::*;

use crate::ztocs::any_ztoc;

proptest! {
    #[test]
    fn ztocs_come_back(ztoc in any_ztoc()) {
        let bytes = ztoc.encode().unwrap();
        let found = Ztoc::parse(&bytes, &ZtocLimits::default()).unwrap();
        prop_assert_eq!(&found, &ztoc);
        prop_assert_eq!(found.encode().unwrap(), bytes);
    }

    #[test]
    fn spans_cover_the_layer(ztoc in any_ztoc()) {
        let spans: Vec<_> = ztoc.spans().collect();
        prop_assert_eq!(spans.len(), ztoc.span_digests.len());
        if let (Some(first), Some(last)) = (spans.first(), spans.last()) {
            prop_assert_eq!(first.uncompressed.start, 0);
            prop_assert_eq!(last.compressed.end, ztoc.compressed_size);
        }
        for (pair, index) in spans.windows(2).zip(1..) {
            let shared = pair[1].checkpoint.is_some_and(|checkpoint| checkpoint.bits > 0);
            prop_assert_eq!(pair[0].compressed.end, pair[1].compressed.start + u64::from(shared));
            prop_assert_eq!(ztoc.span(index), Some(pair[1]));
        }
    }
}

fn checkpoint(compressed: u64, uncompressed: u64, bits: u8) -> Checkpoint {
    Checkpoint { compressed, uncompressed, bits, window: Vec::new() }
}

fn gzip(checkpoints: Vec<Checkpoint>) -> Ztoc {
    Ztoc {
        build_tool: "test".to_owned(),
        compressed_size: 1000,
        uncompressed_size: 10_000,
        entries: Vec::new(),
        span_digests: vec![Digest::of(b""); checkpoints.len()],
        compression: Compression::Gzip { span_size: 4096, checkpoints },
    }
}

fn file(offset: u64, size: u64) -> ZtocEntry {
    ZtocEntry {
        name: b"file".to_vec(),
        kind: EntryKind::Regular,
        offset,
        size,
        link: Vec::new(),
        mode: 0o644,
        uid: 0,
        gid: 0,
        uname: Vec::new(),
        gname: Vec::new(),
        mtime: Timestamp::default(),
        dev_major: 0,
        dev_minor: 0,
        pax: Default::default(),
    }
}

#[test]
fn short_windows_are_padded_in_front() {
    let mut ztoc = gzip(vec![checkpoint(10, 0, 0), checkpoint(500, 5000, 3)]);
    let Compression::Gzip { checkpoints, .. } = &mut ztoc.compression else { unreachable!() };
    checkpoints[1].window = vec![1, 2, 3];
    let found = Ztoc::parse(&ztoc.encode().unwrap(), &ZtocLimits::default()).unwrap();
    let Compression::Gzip { checkpoints, .. } = found.compression else { panic!("not gzip") };
    assert_eq!(checkpoints[0].window, [0; 32_768]);
    assert_eq!(checkpoints[1].window.len(), 32_768);
    assert!(checkpoints[1].window.ends_with(&[0, 1, 2, 3]));
}

#[test]
fn the_first_checkpoint_of_the_old_format_is_implied() {
    let ztoc = gzip(vec![checkpoint(10, 0, 0), checkpoint(500, 5000, 3)]);
    let bytes = ztoc.encode().unwrap();
    // The old format has one checkpoint less than it counts. Nothing refers to what lies behind the vector of
    // checkpoints by distance from its start, so the first may be cut out and the length corrected.
    let stored = 2 * 32_785 + 12;
    let length_at =
        (0..bytes.len() - 4).find(|&at| bytes[at..at + 4] == (stored as u32).to_le_bytes()).unwrap();
    let mut old = bytes.clone();
    let length = (stored - 32_785) as u32;
    old[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    old.copy_within(length_at + 4 + 12 + 32_785..length_at + 4 + 12 + 2 * 32_785, length_at + 4 + 12);
    let found = Ztoc::parse(&old, &ZtocLimits::default()).unwrap();
    let Compression::Gzip { checkpoints, .. } = &found.compression else { panic!("not gzip") };
    assert_eq!((checkpoints[0].compressed, checkpoints[0].uncompressed, checkpoints[0].bits), (10, 0, 0));
    assert_eq!((checkpoints[1].compressed, checkpoints[1].uncompressed, checkpoints[1].bits), (500, 5000, 3));
    assert_eq!(found.span(1).unwrap().compressed, ByteRange::new(499, 1000));

    old[length_at..length_at + 4].copy_from_slice(&(length + 1).to_le_bytes());
    let error = Ztoc::parse(&old, &ZtocLimits::default()).unwrap_err();
    assert!(matches!(error, ZtocError::CheckpointLength { count: 2, .. }), "{error}");
}

#[test]
fn checkpoints_out_of_order_are_refused() {
    for (bad, index) in [
        (vec![checkpoint(10, 1, 0)], 0),
        (vec![checkpoint(0, 0, 0)], 0),
        (vec![checkpoint(1001, 0, 0)], 0),
        (vec![checkpoint(10, 0, 8)], 0),
        (vec![checkpoint(10, 0, 0), checkpoint(9, 100, 0)], 1),
        (vec![checkpoint(10, 0, 0), checkpoint(10, 100, 1)], 1),
        (vec![checkpoint(10, 0, 0), checkpoint(100, 0, 0)], 1),
    ] {
        let error = gzip(bad).encode().unwrap_err();
        assert!(matches!(error, ZtocError::Checkpoint { index: found, .. } if found == index), "{error}");
    }
    assert!(matches!(gzip(Vec::new()).encode(), Err(ZtocError::Missing(_))));
}

#[test]
fn span_counts_must_agree() {
    let mut ztoc = gzip(vec![checkpoint(10, 0, 0)]);
    ztoc.span_digests.push(Digest::of(b""));
    assert!(matches!(ztoc.encode(), Err(ZtocError::SpanCount { spans: 1, digests: 2, .. })));
    ztoc.compression = Compression::Uncompressed { span_size: 0 };
    assert!(matches!(ztoc.encode(), Err(ZtocError::Range("span size"))));
}

#[test]
fn entries_must_lie_in_the_tar_without_overlap() {
    let with = |entries| Ztoc { entries, ..gzip(vec![checkpoint(10, 0, 0)]) };
    assert!(with(vec![file(512, 1), file(1024, 0), file(1536, 10_000 - 1536)]).encode().is_ok());
    for (bad, index) in
        [(vec![file(512, 1), file(1023, 0)], 1), (vec![file(512, 10_000)], 0), (vec![file(512, u64::MAX)], 0)]
    {
        let error = with(bad).encode().unwrap_err();
        assert!(matches!(error, ZtocError::Entry { index: found, .. } if found == index), "{error}");
    }
    // Links may claim a size, but have no payload.
    let link = ZtocEntry { kind: EntryKind::Hardlink, ..file(512, 1 << 40) };
    assert!(with(vec![link, file(1024, 5)]).encode().is_ok());
}

#[test]
fn entries_are_sorted_by_offset() {
    let ztoc = Ztoc { entries: vec![file(512, 100), file(4096, 5)], ..gzip(vec![checkpoint(10, 0, 0)]) };
    let bytes = ztoc.encode().unwrap();
    let mut turned = bytes.clone();
    // The first entry's offset becomes 8192 in place.
    let at = (0..turned.len() - 16)
        .find(|&at| turned[at..at + 16] == [100_u64.to_le_bytes(), 512_u64.to_le_bytes()].concat())
        .unwrap();
    turned[at + 8..at + 16].copy_from_slice(&8192_u64.to_le_bytes());
    let found = Ztoc::parse(&turned, &ZtocLimits::default()).unwrap();
    assert_eq!(found.entries.iter().map(|entry| entry.offset).collect::<Vec<_>>(), [4096, 8192]);
}
