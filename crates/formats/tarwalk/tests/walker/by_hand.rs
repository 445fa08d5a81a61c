//! Archives built by hand, header by header.

use crate::archive::{Archive, Field, records, walk, walk_with};
use glowplug_tarwalk::{Entry, Extent, Kind, Limits, TarError, Walker};

fn only(archive: Archive) -> Entry {
    let mut entries = walk(&archive.end(), &[usize::MAX]).unwrap();
    assert_eq!(entries.len(), 1, "{entries:?}");
    entries.remove(0)
}

#[test]
fn a_plain_file_has_one_extent() {
    let entry = only(Archive::default().entry(b'0', b"a/b", &[], b"hello"));
    assert_eq!((entry.header_offset, entry.payload_offset, entry.size), (0, 512, 5));
    assert_eq!(entry.extents, [Extent { file_offset: 0, stream_offset: 512, len: 5 }]);
    assert_eq!((&entry.path[..], entry.kind, entry.mode), (&b"a/b"[..], Kind::File, 0o644));
}

#[test]
fn types_become_kinds() {
    let mut archive = Archive::default();
    for flag in *b"0123456" {
        archive = archive.entry(flag, &[b'n', flag], &[], b"");
    }
    let kinds: Vec<_> = walk(&archive.end(), &[512]).unwrap().into_iter().map(|entry| entry.kind).collect();
    use Kind::{Block, Char, Directory, Fifo, File, Hardlink, Symlink};
    assert_eq!(kinds, [File, Hardlink, Symlink, Char, Block, Directory, Fifo]);
}

#[test]
fn old_files_with_a_slash_are_directories() {
    let archive = Archive::default().v7(b"dir/", 700).v7(b"file", 3).raw(b"abc").pad();
    let entries = walk(&archive.end(), &[100]).unwrap();
    let seen: Vec<_> = entries.iter().map(|entry| (&entry.path[..], entry.kind, entry.size)).collect();
    // The directory's size is a lie: no payload follows.
    assert_eq!(seen, [(&b"dir/"[..], Kind::Directory, 0), (b"file", Kind::File, 3)]);
}

#[test]
fn links_and_devices_have_no_payload_whatever_they_claim() {
    let size = Field::octal(124, 12, 5000);
    let mut archive = Archive::default();
    for flag in *b"123456" {
        archive = archive.entry(flag, b"x", std::slice::from_ref(&size), b"");
    }
    let entries = walk(&archive.end(), &[1000]).unwrap();
    assert_eq!(entries.len(), 6);
    assert!(entries.iter().all(|entry| entry.size == 0 && entry.extents.is_empty()));
}

#[test]
fn a_hard_link_by_pax_size_has_no_payload() {
    let entries = Archive::default().pax(b'x', &[("size", "1024")]).entry(b'1', b"l", &[], b"").end();
    assert_eq!(walk(&entries, &[77]).unwrap()[0].size, 0);
}

#[test]
fn vendor_types_are_skipped_and_unknown_ones_are_files() {
    let archive = Archive::default()
        .entry(b'V', b"volume", &[], b"")
        .pax(b'x', &[("path", "not for the next")])
        .entry(b'A', b"acl", &[], &[1; 600])
        .entry(b'7', b"contiguous", &[], b"abc")
        .entry(b'9', b"unknown", &[], b"de");
    let entries = walk(&archive.end(), &[77]).unwrap();
    let seen: Vec<_> = entries.iter().map(|entry| (&entry.path[..], entry.kind, entry.size)).collect();
    assert_eq!(seen, [(&b"contiguous"[..], Kind::File, 3), (b"unknown", Kind::File, 2)]);
}

#[test]
fn numbers_come_in_base_256() {
    let fields = [
        Field::base_256(108, 8, 1 << 40),
        Field::base_256(116, 8, -2),
        Field::base_256(136, 12, -1),
        Field::base_256(124, 12, 3),
    ];
    let entry = only(Archive::default().entry(b'0', b"x", &fields, b"abc"));
    assert_eq!((entry.uid, entry.gid, entry.mtime_s, entry.size), (1 << 40, 0xffff_fffe, -1, 3));
}

#[test]
fn names_come_from_prefix_and_long_name_headers() {
    let long = [b"d/".repeat(200), b"name".to_vec()].concat();
    let link = b"../".repeat(100);
    let with_nul = |text: &[u8]| [text, b"\0"].concat();
    let archive = Archive::default()
        .entry(b'0', b"name", &[Field::text(345, b"some/prefix")], b"x")
        .entry(b'L', b"././@LongLink", &[], &with_nul(&long))
        .entry(b'K', b"././@LongLink", &[], &with_nul(&link))
        .entry(b'2', b"d/d/d", &[Field::text(157, b"../..")], b"")
        .entry(b'0', b"after", &[], b"");
    let entries = walk(&archive.end(), &[313]).unwrap();
    assert_eq!(entries[0].path, b"some/prefix/name");
    assert_eq!((&entries[1].path, &entries[1].link), (&long, &link));
    assert_eq!((entries[1].header_offset, entries[1].payload_offset), (1024, 1024 + 512 * 5));
    assert_eq!((&entries[2].path[..], entries[2].header_offset), (&b"after"[..], 1024 + 512 * 5));
}

#[test]
fn a_prefix_in_a_gnu_header_counts_only_when_the_times_are_none() {
    let magic = Field::text(257, b"ustar  \0");
    let bogus = [magic.clone(), Field::text(345, b"prefix/of/old/go")];
    let times = [magic, Field::octal(345, 12, 0o1234), Field::octal(357, 12, 0o1234)];
    assert_eq!(only(Archive::default().entry(b'0', b"n", &bogus, b"")).path, b"prefix/of/old/go/n");
    assert_eq!(only(Archive::default().entry(b'0', b"n", &times, b"")).path, b"n");
}

#[test]
fn pax_records_win_over_the_header() {
    let long = "p/".repeat(300) + "x";
    let pax = [
        ("path", &long[..]),
        ("linkpath", "target"),
        ("uid", "4000000000"),
        ("gid", "-1"),
        ("uname", "j\u{fc}rgen"),
        ("gname", "staff"),
        ("mtime", "-1.25"),
        ("size", "3"),
        ("comment", "nobody asked"),
        ("atime", "garbage nobody reads"),
    ];
    let fields = [Field::octal(124, 12, 0)];
    let entry = only(Archive::default().pax(b'x', &pax).entry(b'0', b"short", &fields, b"abc"));
    assert_eq!((entry.path, entry.link), (long.into_bytes(), b"target".to_vec()));
    assert_eq!((entry.uid, entry.gid), (4_000_000_000, 0xffff_ffff));
    assert_eq!((entry.uname, entry.gname), ("j\u{fc}rgen".into(), b"staff".to_vec()));
    assert_eq!((entry.mtime_s, entry.mtime_ns), (-2, 750_000_000));
    assert_eq!((entry.size, entry.header_offset, entry.payload_offset), (3, 0, 512 * 4));
}

#[test]
fn a_pax_size_is_for_the_entry_and_not_for_headers_between() {
    let entry = only(
        Archive::default()
            .pax(b'x', &[("size", "2048")])
            .entry(b'L', b"././@LongLink", &[], b"long\0")
            .entry(b'0', b"short", &[Field::octal(124, 12, 0)], &[7; 2048]),
    );
    assert_eq!((&entry.path[..], entry.size), (&b"long"[..], 2048));
}

#[test]
fn global_records_hold_until_overruled() {
    let archive = Archive::default()
        .pax(
            b'g',
            &[
                ("uname", "all"),
                ("mtime", "5.5"),
                ("uid", "7"),
                ("path", "no"),
                ("SCHILY.xattr.user.x", "no"),
            ],
        )
        .entry(b'0', b"a", &[], b"")
        .pax(b'x', &[("uname", "one"), ("mtime", "")])
        .entry(b'0', b"b", &[], b"")
        .pax(b'g', &[("uname", "")])
        .entry(b'0', b"c", &[Field::text(265, b"own")], b"");
    let entries = walk(&archive.end(), &[512]).unwrap();
    let seen: Vec<_> = entries
        .iter()
        .map(|entry| {
            (&entry.path[..], &entry.uname[..], entry.uid, entry.mtime_s, entry.mtime_ns, entry.xattrs.len())
        })
        .collect();
    assert_eq!(
        seen,
        [
            (&b"a"[..], &b"all"[..], 7, 5, 500_000_000, 0),
            (b"b", b"one", 7, 1_000_000, 0, 0),
            (b"c", b"own", 7, 5, 500_000_000, 0),
        ]
    );
    // The global header is nobody's own.
    assert_eq!(entries[0].header_offset, 1024);
}

#[test]
fn extended_attributes_of_both_writers() {
    let capability = "\u{1}\0\0\u{2}\0 \n=\0";
    let pax = [
        ("LIBARCHIVE.xattr.user.both", "b2xk"),
        ("SCHILY.xattr.security.capability", capability),
        ("SCHILY.xattr.user.both", "new"),
        ("LIBARCHIVE.xattr.user.odd%3Dname%20x", "AAEC/w"),
        ("SCHILY.xattr.user.none", ""),
    ];
    let entry = only(Archive::default().pax(b'x', &pax).entry(b'0', b"x", &[], b""));
    let expected: Vec<(&[u8], &[u8])> = vec![
        (b"security.capability", capability.as_bytes()),
        (b"user.both", b"new"),
        (b"user.none", b""),
        (b"user.odd=name x", &[0, 1, 2, 255]),
    ];
    let seen: Vec<_> = entry.xattrs.iter().map(|(name, value)| (&name[..], &value[..])).collect();
    assert_eq!(seen, expected);
}

fn sparse_slots(first: usize, runs: &[(u64, u64)]) -> Vec<Field> {
    let fields = |(at, &(offset, len)): (usize, &(u64, u64))| {
        [Field::octal(first + at * 24, 12, offset), Field::octal(first + at * 24 + 12, 12, len)]
    };
    runs.iter().enumerate().flat_map(fields).collect()
}

fn extents(runs: &[(u64, u64)], begin: u64) -> Vec<Extent> {
    let mut stream_offset = begin;
    let place = |&(file_offset, len): &(u64, u64)| {
        stream_offset += len;
        Extent { file_offset, stream_offset: stream_offset - len, len }
    };
    runs.iter().map(place).collect()
}

#[test]
fn old_gnu_sparse_files() {
    let runs: Vec<_> = (0..30).map(|at| (at * 10_000, 512)).collect();
    let payload = vec![1; 30 * 512];
    let magic = || vec![Field::text(257, b"ustar  \0"), Field::octal(483, 12, 1_000_000)];

    let four = [magic(), sparse_slots(386, &runs[..4])].concat();
    let entry = only(Archive::default().entry(b'S', b"four", &four, &payload[..4 * 512]));
    assert_eq!((entry.kind, entry.size, entry.extents), (Kind::File, 1_000_000, extents(&runs[..4], 512)));

    let more = [four, vec![Field::text(482, b"\x01"), Field::octal(124, 12, payload.len() as u64)]].concat();
    let archive = Archive::default()
        .entry(b'S', b"thirty", &more, b"")
        .block(&[sparse_slots(0, &runs[4..25]), vec![Field::text(504, b"\x01")]].concat())
        .block(&sparse_slots(0, &runs[25..]))
        .raw(&payload)
        .entry(b'0', b"after", &[], b"");
    let entries = walk(&archive.end(), &[200]).unwrap();
    assert_eq!((entries[0].payload_offset, &entries[0].extents), (512 * 3, &extents(&runs, 512 * 3)));
    assert_eq!(entries[1].path, b"after");

    let star = [vec![Field::octal(483, 12, 10)], sparse_slots(386, &[])].concat();
    let error = walk(&Archive::default().entry(b'S', b"star", &star, b"").end(), &[512]).unwrap_err();
    assert_eq!(error, TarError::Field { at: 0, field: "sparse size" });
}

#[test]
fn pax_sparse_files() {
    let runs = [(1000, 600), (5000, 0), (100_000, 24)];
    let expected = |begin| vec![extents(&runs, begin)[0], extents(&runs, begin)[2]];
    let payload = [9; 624];

    let zero_zero = [
        ("GNU.sparse.size", "200000"),
        ("GNU.sparse.numblocks", "3"),
        ("GNU.sparse.offset", "1000"),
        ("GNU.sparse.numbytes", "600"),
        ("GNU.sparse.offset", "5000"),
        ("GNU.sparse.numbytes", "0"),
        ("GNU.sparse.offset", "100000"),
        ("GNU.sparse.numbytes", "24"),
    ];
    let zero_one = [
        ("GNU.sparse.major", "0"),
        ("GNU.sparse.minor", "1"),
        ("GNU.sparse.name", "real"),
        ("GNU.sparse.size", "200000"),
        ("GNU.sparse.numblocks", "3"),
        ("GNU.sparse.map", "1000,600,5000,0,100000,24"),
    ];
    for (pax, path) in [(&zero_zero[..], &b"GNUSparseFile.1/x"[..]), (&zero_one, b"real")] {
        let entry = only(Archive::default().pax(b'x', pax).entry(b'0', b"GNUSparseFile.1/x", &[], &payload));
        assert_eq!((&entry.path[..], entry.size, entry.extents), (path, 200_000, expected(1536)));
    }

    let one_zero = [
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.name", "real"),
        ("GNU.sparse.realsize", "200000"),
    ];
    let map = b"3\n1000\n600\n5000\n0\n100000\n24\n";
    let stored = [&map[..], &vec![0; 512 - map.len()], &payload].concat();
    let archive = Archive::default().pax(b'x', &one_zero).entry(b'0', b"tmp", &[], &stored);
    let archive = archive.entry(b'0', b"after", &[], b"x");
    let entries = walk(&archive.end(), &[100]).unwrap();
    assert_eq!((&entries[0].path[..], entries[0].size), (&b"real"[..], 200_000));
    assert_eq!((entries[0].payload_offset, &entries[0].extents), (2048, &expected(2048)));
    assert_eq!(entries[1].path, b"after");
}

#[test]
fn a_long_sparse_map_in_the_payload() {
    let runs: Vec<_> = (0..500).map(|at| (at * 4096, 1)).collect();
    let mut map = format!("{}\n", runs.len());
    for (offset, len) in &runs {
        map += &format!("{offset}\n{len}\n");
    }
    let mut stored = map.into_bytes();
    stored.resize(stored.len().next_multiple_of(512), 0);
    let begin = 1536 + stored.len() as u64;
    stored.extend([5; 500]);
    let pax = [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "2048000")];
    let archive = Archive::default().pax(b'x', &pax).entry(b'0', b"x", &[], &stored).end();
    let entries = walk(&archive, &[333]).unwrap();
    assert_eq!(entries[0].extents, extents(&runs, begin));

    let limits = Limits { sparse_runs: 499, ..Limits::default() };
    let error = walk_with(limits, &archive, &[512]).unwrap_err();
    assert_eq!(error, TarError::TooLarge { at: 1024, what: "sparse map", limit: 499 });
}

#[test]
fn sparse_maps_that_lie_are_refused() {
    let sparse = |size: &str, blocks: &str, map: &str, flag: u8, payload: &[u8]| {
        let pax = [("GNU.sparse.size", size), ("GNU.sparse.numblocks", blocks), ("GNU.sparse.map", map)];
        walk(&Archive::default().pax(b'x', &pax).entry(flag, b"x", &[], payload).end(), &[512])
    };
    assert!(sparse("100", "2", "0,10,50,5", b'0', &[0; 15]).is_ok());
    for (size, blocks, map, flag, payload) in [
        ("100", "1", "0,10,50,5", b'0', 15),
        ("100", "", "0,10,50,5", b'0', 15),
        ("100", "2", "0,10,50,5", b'0', 14),
        ("100", "2", "0,10,50,5", b'0', 16),
        ("100", "2", "50,5,0,10", b'0', 15),
        ("100", "2", "0,10,9,5", b'0', 15),
        ("54", "2", "0,10,50,5", b'0', 15),
        ("100", "2", "0,10,50", b'0', 15),
        ("100", "2", "0,10,-50,5", b'0', 15),
        ("100", "2", "0,10,x,5", b'0', 15),
        ("9223372036854775807", "2", "0,10,9223372036854775807,9223372036854775807", b'0', 15),
        ("100", "2", "0,10,50,5", b'5', 0),
    ] {
        let result = sparse(size, blocks, map, flag, &vec![0; payload]);
        assert!(matches!(result, Err(TarError::Sparse { at: 1024, .. })), "{map} gave {result:?}");
    }
    for map in ["", "1\n", "x\n", "1\n0\n4", "123456789012345678901\n", "2\n0\n1\n"] {
        let pax = [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "100")];
        let result =
            walk(&Archive::default().pax(b'x', &pax).entry(b'0', b"x", &[], map.as_bytes()).end(), &[512]);
        assert!(matches!(result, Err(TarError::Sparse { at: 1024, .. })), "{map:?} gave {result:?}");
    }
}

#[test]
fn malformed_pax_records_are_refused() {
    for record in
        ["8 path=x\n", "99 path=x\n", "10 path=xy", " path=x\n", "-8 path=x\n", "7 path\n", "6 =xx\n", "5"]
    {
        let archive =
            Archive::default().entry(b'x', b"pax", &[], record.as_bytes()).entry(b'0', b"x", &[], b"");
        assert_eq!(walk(&archive.end(), &[512]).unwrap_err(), TarError::PaxRecord { at: 0 }, "{record:?}");
    }
    for (key, value) in [("path", "a\0b"), ("GNU.sparse.numbytes", "1")] {
        let archive = Archive::default().pax(b'x', &[(key, value)]).entry(b'0', b"x", &[], b"");
        assert_eq!(
            walk(&archive.end(), &[512]).unwrap_err(),
            TarError::PaxRecord { at: 0 },
            "{key}={value:?}"
        );
    }
    for (key, value, field) in [
        ("uid", "x", "pax uid"),
        ("gid", "1.5", "pax gid"),
        ("mtime", "soon", "pax mtime"),
        ("size", "-1", "pax size"),
        ("size", "99999999999999999999", "pax size"),
        ("LIBARCHIVE.xattr.a", "*", "LIBARCHIVE.xattr"),
        ("LIBARCHIVE.xattr.a%2", "aa", "LIBARCHIVE.xattr"),
    ] {
        let archive = Archive::default().pax(b'x', &[(key, value)]).entry(b'0', b"x", &[], b"");
        assert_eq!(
            walk(&archive.end(), &[512]).unwrap_err(),
            TarError::Field { at: 1024, field },
            "{key}={value}"
        );
    }
}

#[test]
fn the_checksum_is_verified_and_may_be_signed() {
    let name = "\u{e9}t\u{e9}".as_bytes();
    let good = Archive::default().entry(b'0', name, &[], b"");
    let mut bad = good.clone().end();
    bad[0] ^= 1;
    assert_eq!(walk(&bad, &[512]).unwrap_err(), TarError::Checksum { at: 0 });

    let mut signed = good.end();
    let sum: i64 =
        signed[..148].iter().chain(&signed[156..512]).map(|&byte| i64::from(byte as i8)).sum::<i64>() + 256;
    signed[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    assert_eq!(walk(&signed, &[512]).unwrap()[0].path, name);
}

#[test]
fn the_end_may_be_marked_or_not() {
    let archive = Archive::default().entry(b'0', b"x", &[], b"abc");
    let bytes = archive.clone().bytes;
    for end in [0, 512, 1024, 10_240] {
        assert_eq!(walk(&[&bytes[..], &vec![0; end]].concat(), &[512]).unwrap().len(), 1, "{end} zeros");
    }
    // What follows the marker is nobody's business, what follows half of it is.
    assert_eq!(walk(&[&bytes[..], &[0; 1024], b"anything"].concat(), &[512]).unwrap().len(), 1);
    let error = walk(&[&bytes[..], &[0; 512], &bytes].concat(), &[512]).unwrap_err();
    assert_eq!(error, TarError::LoneZeroBlock { at: 1536 });
    assert_eq!(walk(&[], &[1]).unwrap(), []);
}

#[test]
fn what_is_settled_is_no_later_entry_s_and_not_the_end_marker_s() {
    let archive = Archive::default()
        .entry(b'0', b"x", &[], &[1; 700])
        .pax(b'x', &[("path", "y")])
        .entry(b'0', b"x", &[], b"abc")
        .entry(b'V', b"vendor", &[], &[1; 600])
        .entry(b'5', b"d", &[], b"");
    let marker = archive.bytes.len() as u64;
    let bytes = [&archive.end()[..], &[0; 2000]].concat();
    for size in [1, 100, 512, 700, usize::MAX] {
        let mut walker = Walker::new(Limits::default());
        let (mut begins, mut settled, mut last) = (Vec::new(), Vec::new(), 0);
        for piece in bytes.chunks(size) {
            walker.push(piece, &mut |entry| begins.push(entry.header_offset)).unwrap();
            assert!(last <= walker.settled() && walker.settled() <= walker.offset());
            last = walker.settled();
            settled.push((last, begins.len()));
            assert_eq!(walker.is_over(), walker.offset() >= marker + 1024);
        }
        assert_eq!(last, marker);
        for (settled, known) in settled {
            assert!(begins[known..].iter().all(|begin| settled <= *begin) && settled <= marker);
        }
    }
}

#[test]
fn truncation_is_noticed_everywhere_but_in_padding() {
    let archive = Archive::default().pax(b'x', &[("path", "y")]).entry(b'0', b"x", &[], &[1; 700]).bytes;
    for len in 1..archive.len() {
        let result = walk(&archive[..len], &[512]);
        if len >= 1536 + 700 {
            assert_eq!(result.unwrap().len(), 1);
        } else {
            assert_eq!(result.unwrap_err(), TarError::Truncated { at: len as u64 });
        }
    }
}

#[test]
fn limits_hold() {
    let small = Limits { entries: 2, name_bytes: 20, pax_bytes: 100, xattrs: 1, ..Limits::default() };
    let check =
        |archive: Archive| walk_with(small.clone(), &archive.end(), &[512]).map(|entries| entries.len());
    let file = |archive: Archive| archive.entry(b'0', b"x", &[], b"");
    assert_eq!(check(file(file(Archive::default()))), Ok(2));
    assert_eq!(check(file(file(file(Archive::default())))), Err(TarError::TooManyEntries { limit: 2 }));

    let too_large = |at, what, limit| Err(TarError::TooLarge { at, what, limit });
    let long_name = |len| Archive::default().entry(b'L', b"l", &[], &vec![b'n'; len]);
    assert_eq!(check(file(long_name(20))), Ok(1));
    assert_eq!(check(file(long_name(22))), too_large(0, "name", 21));
    assert_eq!(
        check(file(Archive::default().pax(b'x', &[("uname", &"u".repeat(21))]))),
        too_large(1024, "user name", 20)
    );
    assert_eq!(
        check(file(Archive::default().pax(b'g', &[("a", &"u".repeat(101))]))),
        too_large(0, "pax header", 100)
    );
    let two = [("SCHILY.xattr.a", "1"), ("SCHILY.xattr.b", "2")];
    assert_eq!(
        check(file(Archive::default().pax(b'x', &two))),
        too_large(1024, "number of extended attributes", 1)
    );
}

#[test]
fn sizes_beyond_all_offsets_are_refused() {
    let huge = |value| Archive::default().entry(b'0', b"x", &[Field::base_256(124, 12, value)], b"").bytes;
    assert_eq!(walk(&huge(-1), &[512]).unwrap_err(), TarError::Field { at: 0, field: "size" });
    // The largest file there can be; the stream then ends in it.
    assert_eq!(walk(&huge(i64::MAX), &[512]).unwrap_err(), TarError::Truncated { at: 512 });
    for flag in *b"xgLK" {
        let bytes = Archive::default().entry(flag, b"x", &[Field::base_256(124, 12, i64::MAX)], b"").bytes;
        assert!(matches!(walk(&bytes, &[512]), Err(TarError::TooLarge { at: 0, .. })));
    }
}

#[test]
fn records_are_built_as_they_are_read() {
    assert_eq!(records(&[("path", "x")]), b"9 path=x\n");
    assert_eq!(records(&[("k", &"v".repeat(93))]).len(), 99);
    assert_eq!(records(&[("k", &"v".repeat(94))]).len(), 101);
}
