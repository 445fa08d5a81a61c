//! Tables that make no sense give errors that name the entry; mangled ones give errors or values, never panics; limits
//! hold.

use glowplug_base::{ByteRange, Digest};
use glowplug_toc::{Dialect, Toc, TocError, TocLimits, estargz, zstd_chunked};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::blob::gzip;
use crate::tables::any_toc;

/// End of the payload in all made-up tables.
const END: u64 = 1000;

fn parse(dialect: Dialect, entries: &str) -> Result<Toc, TocError> {
    let json = format!(r#"{{"version":1,"entries":[{entries}]}}"#);
    Toc::parse(json.as_bytes(), dialect, END, &TocLimits::default())
}

/// Entries that are refused, the number and name of the entry that is to blame, and why.
fn refuse(dialect: Dialect, cases: &[(&str, usize, &str, &str)]) {
    for (entries, expected_index, expected_name, expected) in cases {
        match parse(dialect, entries) {
            Err(TocError::Entry { index, name, what }) => {
                assert_eq!((index, &*name, what), (*expected_index, *expected_name, *expected), "{entries}");
            }
            other => panic!("{entries}: {other:?}"),
        }
    }
}

const A: &str = r#"{"name":"a","type":"reg","size":10,"offset":100}"#;

#[test]
fn what_no_dialect_allows() {
    const RANGE: &str = "mode, owner or device out of range";
    let cases = [
        (r#"{"name":"a","type":"reg","size":10,"offset":1000}"#, 0, "a", "place in the blob is out of range"),
        (
            r#"{"name":"a","type":"reg","size":10,"offset":9000}"#,
            0,
            "a",
            "place in the blob is out of order or range",
        ),
        (r#"{"name":"a","type":"reg","size":10,"offset":-1}"#, 0, "a", "offset out of range"),
        (r#"{"name":"a","type":"reg","size":10}"#, 0, "a", "no offset"),
        (r#"{"name":"a","type":"reg","size":-1}"#, 0, "a", "size out of range"),
        (r#"{"name":"a","type":"reg","size":10,"offset":9,"chunkSize":-1}"#, 0, "a", "size out of range"),
        (
            r#"{"name":"a","type":"reg","size":10,"offset":9,"chunkSize":11}"#,
            0,
            "a",
            "chunks go beyond the file",
        ),
        (
            r#"{"name":"a","type":"reg","size":10,"offset":9,"chunkSize":4}"#,
            0,
            "a",
            "chunks end before the file",
        ),
        (
            r#"{"name":"a","type":"reg","size":10,"offset":9,"chunkOffset":4}"#,
            0,
            "a",
            "chunks do not follow each other",
        ),
        (r#"{"name":"a","type":"dir","uid":-2}"#, 0, "a", RANGE),
        (r#"{"name":"a","type":"dir","gid":4294967296}"#, 0, "a", RANGE),
        (r#"{"name":"a","type":"dir","mode":-1}"#, 0, "a", RANGE),
        (r#"{"name":"a","type":"char","devMajor":4294967296}"#, 0, "a", RANGE),
        (r#"{"name":"a\u0000b","type":"dir"}"#, 0, "a\0b", "NUL in a name"),
        (r#"{"name":"a","type":"symlink","linkName":"b\u0000"}"#, 0, "a", "NUL in a name"),
        (r#"{"name":"a","type":"dir","xattrs":{"b\u0000":""}}"#, 0, "a", "NUL in a name"),
        (r#"{"name":"a","type":"dir","xattrs":{"":""}}"#, 0, "a", "extended attribute without a name"),
        (r#"{"name":"a","type":"dir","xattrs":{"b":"%"}}"#, 0, "a", "malformed extended attribute"),
        (r#"{"name":"a","type":"dir","modtime":"yesterday"}"#, 0, "a", "malformed time"),
        (r#"{"name":"a","type":"reg","digest":"sha512:00"}"#, 0, "a", "unusable digest"),
        (r#"{"name":"a","type":"reg","size":1,"offset":9,"chunkDigest":"x"}"#, 0, "a", "unusable digest"),
        (r#"{"name":"a","type":"socket"}"#, 0, "a", "unknown type"),
        (r#"{"name":"a"}"#, 0, "a", "unknown type"),
        (r#"{"name":"a","type":"chunk"}"#, 0, "a", "chunk of no file"),
        (r#"{"name":"a","type":"dir"},{"name":"a","type":"chunk"}"#, 1, "a", "chunk of no file"),
        (r#"{"name":"a","type":"reg"},{"name":"a","type":"chunk"}"#, 1, "a", "chunk of no file"),
    ];
    for dialect in [Dialect::Estargz, Dialect::Storage, Dialect::Stargz] {
        refuse(dialect, &cases);
        let behind = |entry: &str| format!("{A},{entry}");
        let before = behind(r#"{"name":"b","type":"reg","size":10,"offset":50}"#);
        refuse(dialect, &[(&before, 0, "a", "place in the blob is out of order or range")]);
        let far = behind(r#"{"name":"a","type":"chunk","offset":200,"chunkOffset":10}"#);
        refuse(dialect, &[(&far, 0, "a", "chunks go beyond the file")]);
        let torn = r#"{"name":"a","type":"reg","size":10,"offset":100,"chunkSize":5},{"type":"chunk","offset":200,"chunkOffset":6}"#;
        refuse(dialect, &[(torn, 0, "a", "chunks do not follow each other")]);
        let large = format!(
            r#"{{"name":"a","type":"reg","size":{max},"offset":100,"chunkSize":{max}}},{{"type":"chunk","offset":200,"chunkOffset":{max},"chunkSize":{max}}}"#,
            max = i64::MAX,
        );
        refuse(dialect, &[(&large, 0, "a", "chunks go beyond the file")]);
    }
}

#[test]
fn what_one_member_does_not_hold() {
    let two = |inner: u64, other: u64| {
        format!(
            r#"{{"name":"a","type":"reg","size":10,"offset":100,"innerOffset":{inner}}},{{"name":"b","type":"reg","size":10,"offset":100,"innerOffset":{other}}}"#
        )
    };
    for dialect in [Dialect::Estargz, Dialect::Stargz] {
        for (inner, other) in [(0, 0), (0, 9), (512, 0)] {
            refuse(dialect, &[(&two(inner, other), 1, "b", "overlaps another chunk in its member")]);
        }
        let toc = parse(dialect, &two(0, 10)).unwrap();
        let places: Vec<_> = toc
            .entries
            .iter()
            .flat_map(|entry| &entry.chunks)
            .map(|chunk| (chunk.blob, chunk.inner))
            .collect();
        assert_eq!(places, [(ByteRange::new(100, END), 0), (ByteRange::new(100, END), 10)]);
        // The first member may hold a file, behind its header.
        let first = r#"{"name":"a","type":"reg","size":10,"innerOffset":512}"#;
        assert_eq!(parse(dialect, first).unwrap().entries[0].chunks[0].blob, ByteRange::new(0, END));
    }
    // containers/storage has no places in a frame, so no two files in one.
    refuse(Dialect::Storage, &[(&two(0, 10), 1, "b", "overlaps another chunk in its member")]);
}

#[test]
fn what_frames_of_containers_storage_do_not_do() {
    let cases = [
        (
            r#"{"name":"a","type":"reg","size":10,"offset":100,"endOffset":300},{"name":"b","type":"reg","size":10,"offset":200,"endOffset":400}"#,
            0,
            "a",
            "overlaps what comes next in the blob",
        ),
        (
            r#"{"name":"a","type":"reg","size":10,"offset":100,"endOffset":200},{"name":"b","type":"reg","size":10,"offset":100,"endOffset":300}"#,
            0,
            "a",
            "overlaps another member",
        ),
        (
            r#"{"name":"a","type":"reg","size":10,"offset":100,"endOffset":1001}"#,
            0,
            "a",
            "overlaps what comes next in the blob",
        ),
        (
            r#"{"name":"a","type":"reg","size":10,"offset":100,"endOffset":100}"#,
            0,
            "a",
            "frame ends before it begins",
        ),
        (r#"{"name":"a","type":"reg","size":10,"offset":100,"endOffset":-1}"#, 0, "a", "offset out of range"),
        (
            r#"{"name":"a","type":"reg","size":10,"offset":100,"chunkType":"x"}"#,
            0,
            "a",
            "unknown type of chunk",
        ),
        (
            r#"{"name":"a","type":"reg","size":10,"offset":1001,"chunkType":"zeros"}"#,
            0,
            "a",
            "place in the blob is out of order or range",
        ),
        (
            r#"{"name":"a","type":"reg","size":10,"offset":100,"chunkSize":5},{"type":"chunk","offset":90,"chunkOffset":5}"#,
            0,
            "a",
            "frame ends before it begins",
        ),
        (
            r#"{"name":"a","type":"reg","size":10,"offset":100,"chunkSize":5},{"type":"chunk","offset":200,"chunkOffset":5,"chunkType":"zeros"},{"name":"b","type":"reg","size":10,"offset":150}"#,
            0,
            "a",
            "place in the blob is out of order or range",
        ),
    ];
    refuse(Dialect::Storage, &cases);
}

#[test]
fn what_is_allowed() {
    for dialect in [Dialect::Estargz, Dialect::Storage, Dialect::Stargz] {
        let twice = r#"{"name":"a","type":"reg"},{"name":"a","type":"dir"},{"name":"a","type":"reg"}"#;
        assert_eq!(parse(dialect, twice).unwrap().entries.len(), 3, "a name may be there twice");
        let toc = parse(dialect, A).unwrap();
        assert_eq!(toc.entries[0].chunks[0].digest, None, "there need not be a digest");
        assert_eq!(toc.entries[0].chunks[0].blob, ByteRange::new(100, END));
        let digest = Digest::of(b"x");
        let whole = format!(r#"{{"name":"a","type":"reg","size":10,"offset":100,"digest":"{digest}"}}"#);
        assert_eq!(parse(dialect, &whole).unwrap().entries[0].chunks[0].digest, Some(digest));
        let cut = format!(
            r#"{{"name":"a","type":"reg","size":10,"offset":100,"chunkSize":5,"digest":"{digest}"}},{{"type":"chunk","offset":200,"chunkOffset":5,"chunkSize":5}}"#
        );
        let chunks = &parse(dialect, &cut).unwrap().entries[0].chunks;
        assert!(
            chunks.iter().all(|chunk| chunk.digest.is_none()),
            "the file's digest is not that of a piece"
        );
        let mode = r#"{"name":"a","type":"reg","mode":33188}"#;
        assert_eq!(
            parse(dialect, mode).unwrap().entries[0].mode,
            0o644,
            "the type of the file is no permission"
        );
    }
    // Where nothing says where zeros are, their neighbours are told by each other.
    let zeros = r#"{"name":"a","type":"reg","size":30,"offset":100,"chunkSize":10},{"type":"chunk","chunkOffset":10,"chunkSize":10,"chunkType":"zeros"},{"type":"chunk","offset":200,"chunkOffset":20,"chunkSize":10}"#;
    let chunks = &parse(Dialect::Storage, zeros).unwrap().entries[0].chunks;
    let places: Vec<_> = chunks.iter().map(|chunk| (chunk.blob, chunk.zeros)).collect();
    let range = ByteRange::new;
    assert_eq!(places, [(range(100, 200), false), (range(0, 0), true), (range(200, END), false)]);
}

#[test]
fn what_is_no_table() {
    let limits = TocLimits::default();
    let parse = |json: &str| Toc::parse(json.as_bytes(), Dialect::Estargz, END, &limits);
    for json in [
        "",
        "[]",
        "{",
        r#"{"version":1,"entries":{}}"#,
        r#"{"version":1,"entries":[3]}"#,
        r#"{"version":1,"entries":[]} x"#,
        r#"{"version":1,"entries":[],"entries":[]}"#,
        r#"{"version":1,"entries":[{"name":"a","type":"reg","size":9223372036854775808}]}"#,
        r#"{"version":1,"entries":[{"name":"a","type":"reg","size":1.5}]}"#,
        r#"{"version":1,"entries":[{"name":"a","name":"b","type":"dir"}]}"#,
        &format!(r#"{{"version":1,"entries":[{{"x":{}"#, "[".repeat(100_000)),
    ] {
        assert!(matches!(parse(json), Err(TocError::Json { entries: 0, .. })), "{json:.60}");
    }
    let second = r#"{"version":1,"entries":[{"name":"a","type":"dir"},{"name":3}]}"#;
    assert!(matches!(parse(second), Err(TocError::Json { entries: 1, .. })));
    assert!(matches!(parse(r#"{"version":2,"entries":[]}"#), Err(TocError::Version(2))));
    assert!(matches!(parse(r#"{"entries":[]}"#), Err(TocError::Version(0))));
    assert!(parse(r#"{"entries":[],"more":[{}],"version":1}"#).is_ok());
}

#[test]
fn limits_hold() {
    let entries = [A, r#"{"type":"dir"}"#, r#"{"type":"dir"}"#].join(",");
    let json = format!(r#"{{"version":1,"entries":[{entries}]}}"#);
    let parse = |json: &str, limits: &TocLimits| Toc::parse(json.as_bytes(), Dialect::Estargz, END, limits);
    let just = TocLimits { json_bytes: json.len() as u64, entries: 3, chunks: 1 };
    assert!(parse(&json, &just).is_ok());
    let refused = |json: &str, limits, expected| match parse(json, &limits) {
        Err(TocError::Limit(what)) => assert_eq!(what, expected),
        other => panic!("{expected}: {other:?}"),
    };
    refused(&json, TocLimits { json_bytes: just.json_bytes - 1, ..just }, "bytes");
    refused(&json, TocLimits { entries: 2, ..just }, "entries");
    refused(&json, TocLimits { chunks: 0, ..just }, "chunks");
    let chunk = r#"{"type":"chunk","offset":200,"chunkOffset":5}"#;
    let json = format!(r#"{{"version":1,"entries":[{A},{}]}}"#, [chunk; 9].join(","));
    refused(&json, TocLimits { json_bytes: 1 << 20, entries: 3, chunks: 9 }, "chunks");

    // One long name of an owner is not kept once for each of the entries it holds for.
    let (name, others) = ("n".repeat(4000), [r#"{"name":"b","type":"dir"}"#; 1000].join(","));
    let json = format!(r#"{{"version":1,"entries":[{{"type":"dir","userName":"{name}"}},{others}]}}"#);
    let limits = TocLimits { json_bytes: 1 << 20, ..TocLimits::default() };
    match parse(&json, &limits) {
        Err(TocError::Entry { what, .. }) => assert_eq!(what, "more names of owners than allowed"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn bombs_do_not_go_off() {
    let limits = TocLimits { json_bytes: 1 << 20, ..TocLimits::default() };
    let spaces = vec![b' '; 16 << 20];
    let member = gzip(&estargz::toc_tar(&spaces));
    assert!(member.len() < 100_000);
    let found = estargz::toc_json(&member, &Digest::of(&spaces), &limits);
    assert!(matches!(found, Err(TocError::Limit("bytes"))), "{found:?}");

    let frame = zstd::bulk::compress(&spaces, 3).unwrap();
    let position = |uncompressed| zstd_chunked::Position {
        dialect: Dialect::Storage,
        offset: 8,
        compressed: frame.len() as u64,
        uncompressed,
        checksum: Digest::of(&frame),
    };
    let found = zstd_chunked::toc_json(&frame, &position(spaces.len() as u64), &limits);
    assert!(matches!(found, Err(TocError::Limit("bytes"))), "{found:?}");
    let found = zstd_chunked::toc_json(&frame, &position(1000), &limits);
    assert!(matches!(found, Err(TocError::Zstd(_))), "{found:?}");
}

/// Whatever parses keeps the promises.
fn use_all_of_it(json: &[u8], dialect: Dialect, payload_end: u64) {
    let Ok(toc) = Toc::parse(json, dialect, payload_end, &TocLimits::default()) else { return };
    let mut last = (ByteRange::new(0, 0), 0);
    for entry in &toc.entries {
        let mut at = 0;
        for chunk in &entry.chunks {
            assert!(chunk.file == at && chunk.size > 0);
            at += chunk.size;
            if chunk.zeros {
                continue;
            }
            assert!(!chunk.blob.is_empty() && chunk.blob.end <= payload_end);
            if chunk.blob == last.0 {
                assert!(chunk.inner >= last.1);
            } else {
                assert!(chunk.blob.start >= last.0.end);
            }
            last = (chunk.blob, chunk.inner + chunk.size);
        }
        assert_eq!(at, entry.size);
    }
}

proptest! {
    #[test]
    fn mangled_tables_never_panic(
        (toc, payload_end) in any_toc(Dialect::Storage),
        changes in vec((any::<prop::sample::Index>(), b' '..b'~'), 1..6),
        less in 0..100_u64,
    ) {
        for dialect in [Dialect::Storage, Dialect::Estargz] {
            let mut json = toc.encode(dialect);
            use_all_of_it(&json, dialect, payload_end.saturating_sub(less));
            for (at, byte) in &changes {
                let at = at.index(json.len());
                // Numbers stay numbers, mostly, so that more than the JSON is tried.
                json[at] = if json[at].is_ascii_digit() { b'0' + byte % 10 } else { *byte };
                use_all_of_it(&json, dialect, payload_end);
            }
        }
    }

    #[test]
    fn garbage_never_panics(bytes in vec(any::<u8>(), 0..300)) {
        let limits = TocLimits::default();
        use_all_of_it(&bytes, Dialect::Storage, 1000);
        let _ = estargz::Footer::find(&bytes);
        let _ = estargz::toc_json(&bytes, &Digest::of(&bytes), &limits);
        let position = zstd_chunked::Position {
            dialect: Dialect::Stargz,
            offset: 8,
            compressed: bytes.len() as u64,
            uncompressed: 1000,
            checksum: Digest::of(&bytes),
        };
        let _ = zstd_chunked::toc_json(&bytes, &position, &limits);
    }
}
