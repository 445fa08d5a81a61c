//! The reference tool's own zTOCs are understood, and written again byte for byte.

use glowplug_base::ByteRange;
use glowplug_toc::{Compression, EntryKind, Timestamp, Ztoc, ZtocLimits};

const UNCOMPRESSED: &[u8] = include_bytes!("fixtures/uncompressed.ztoc");
const GZIP: &[u8] = include_bytes!("fixtures/gzip.ztoc");

fn parse(bytes: &[u8]) -> Ztoc {
    Ztoc::parse(bytes, &ZtocLimits::default()).unwrap()
}

#[test]
fn written_again_they_are_the_same_bytes() {
    assert!(parse(UNCOMPRESSED).encode().unwrap() == UNCOMPRESSED);
    assert!(parse(GZIP).encode().unwrap() == GZIP);
}

#[test]
fn entries() {
    let ztoc = parse(GZIP);
    let kinds: Vec<_> = ztoc.entries.iter().map(|entry| entry.kind).collect();
    let wanted = [
        EntryKind::Directory,
        EntryKind::Regular,
        EntryKind::Symlink,
        EntryKind::Hardlink,
        EntryKind::Character,
        EntryKind::Block,
        EntryKind::Fifo,
        EntryKind::Regular,
        EntryKind::Regular,
    ];
    assert_eq!(kinds, wanted);
    assert_eq!(ztoc.build_tool, "AWS SOCI CLI v0.2");

    let motd = &ztoc.entries[1];
    assert_eq!((motd.name.as_slice(), motd.offset, motd.size), (&b"etc/motd"[..], 2048, 6));
    assert_eq!((motd.uid, motd.gid, motd.mode), (1000, 100, 0o644));
    assert_eq!((motd.uname.as_slice(), motd.gname.as_slice()), (&b"root"[..], &b"root"[..]));
    assert_eq!(motd.mtime, Timestamp { seconds: 1_700_000_000, nanoseconds: 123_456_789 });
    assert_eq!(motd.pax[&b"SCHILY.xattr.user.note"[..]], "café".as_bytes());
    assert_eq!(ztoc.entries[2].link, b"motd");
    assert_eq!(ztoc.entries[3].link, b"etc/motd");
    assert_eq!((ztoc.entries[4].dev_major, ztoc.entries[4].dev_minor), (1, 3));
    assert_eq!(ztoc.entries[7].uid, 3_000_000);
    assert_eq!(ztoc.entries[7].name, ["usr/", &"long/".repeat(30), "name"].concat().as_bytes());
}

#[test]
fn headers_lie_between_the_payloads() {
    let starts: Vec<_> = parse(GZIP).header_ranges().unwrap().iter().map(|range| range.start).collect();
    assert_eq!(starts, [0, 512, 2560, 3072, 3584, 4096, 4608, 5120, 6656]);
}

#[test]
fn spans_of_gzip() {
    let ztoc = parse(GZIP);
    assert_eq!((ztoc.compressed_size, ztoc.uncompressed_size), (695, 158_208));
    let Compression::Gzip { span_size, checkpoints } = &ztoc.compression else { panic!("not gzip") };
    assert_eq!((*span_size, checkpoints.len()), (65_536, 3));
    // The header has a file name of nine letters, so the data do not begin at byte 10.
    assert_eq!((checkpoints[0].compressed, checkpoints[0].uncompressed, checkpoints[0].bits), (20, 0, 0));
    let spans: Vec<_> = ztoc.spans().collect();
    assert_eq!(spans.len(), 3);
    assert_eq!(spans[0].compressed.start, 20);
    assert_eq!(spans[2].compressed.end, 695);
    for pair in spans.windows(2) {
        assert!(pair[0].compressed.end - pair[1].compressed.start <= 1);
        assert_eq!(pair[0].uncompressed.end, pair[1].uncompressed.start);
        assert!(pair[0].uncompressed.len() > 65_536);
    }
}

#[test]
fn spans_of_a_plain_tar() {
    let ztoc = parse(UNCOMPRESSED);
    assert_eq!((ztoc.compressed_size, ztoc.uncompressed_size), (10_240, 8704));
    assert_eq!(ztoc.compression, Compression::Uncompressed { span_size: 1024 });
    let spans: Vec<_> = ztoc.spans().collect();
    assert_eq!(spans.len(), 10);
    assert_eq!(spans[8].compressed, ByteRange::new(8192, 9216));
    assert_eq!(spans[8].uncompressed, ByteRange::new(8192, 8704));
    assert!(spans[9].uncompressed.is_empty(), "padding after the end of the tar");
    assert!(spans[9].checkpoint.is_none());
}
