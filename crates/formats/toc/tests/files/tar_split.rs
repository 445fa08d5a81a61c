//! A tar-split gives the tar back and agrees with the table, or there is none.

use glowplug_toc::zstd_chunked::{TarSplit, TarSplitSection, tail};
use glowplug_toc::{Dialect, EntryKind, Timestamp, Toc, TocEntry, TocError};

use crate::tables::entry;

const BLOCK: usize = 512;

/// A header block of the entry, as tar writes it, with `change` made before the checksum is taken.
fn block(entry: &TocEntry, flag: u8, change: impl FnOnce(&mut [u8; BLOCK])) -> Vec<u8> {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
    put(0, &entry.name);
    put(100, format!("{:07o}", entry.mode).as_bytes());
    put(108, format!("{:07o}", entry.uid).as_bytes());
    put(116, format!("{:07o}", entry.gid).as_bytes());
    put(124, format!("{:011o}", entry.size).as_bytes());
    put(136, format!("{:011o}", entry.mtime.seconds).as_bytes());
    put(156, &[flag]);
    put(157, &entry.link);
    put(257, b"ustar\x0000");
    put(329, format!("{:07o}", entry.dev_major).as_bytes());
    put(337, format!("{:07o}", entry.dev_minor).as_bytes());
    change(&mut block);
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().copied().map(u32::from).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block.to_vec()
}

fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

/// A header that goes before the entry's own, with its content.
fn extended(flag: u8, content: &[u8]) -> Vec<u8> {
    let meta = TocEntry { size: content.len() as u64, ..entry("meta", EntryKind::Regular) };
    [block(&meta, flag, |_| ()), padded(content.to_vec())].concat()
}

fn record(key: &str, value: &str) -> Vec<u8> {
    let rest = format!(" {key}={value}\n");
    let length = (rest.len() + 1..).find(|length| length.to_string().len() + rest.len() == *length).unwrap();
    format!("{length}{rest}").into_bytes()
}

fn file(name: &str, size: u64) -> TocEntry {
    TocEntry {
        size,
        mode: 0o644,
        mtime: Timestamp { seconds: 1_700_000_000, nanoseconds: 0 },
        ..entry(name, EntryKind::Regular)
    }
}

/// The tar-split of a tar with one file of 700 bytes, whose headers these are.
fn split(headers: &[u8], entry: &TocEntry) -> Result<TarSplitSection, &'static str> {
    let mut split = TarSplit::new().unwrap();
    split.header(headers, entry);
    split.payload(&vec![7; entry.size as usize]);
    let padding = (entry.size.next_multiple_of(BLOCK as u64) - entry.size) as usize;
    match split.finish(&vec![0; padding + 2 * BLOCK]) {
        Ok(section) => Ok(section),
        Err(TocError::NoTarSplit(why)) => Err(why),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn what_the_table_can_say_is_taken() {
    let plain = file("a", 700);
    let plain_block = block(&plain, b'0', |_| ());
    assert!(split(&plain_block, &plain).is_ok());
    assert!(split(&block(&plain, 0, |_| ()), &plain).is_ok(), "the type before ustar");
    assert!(
        split(&block(&plain, b'0', |block| block[257..265].fill(0)), &plain).is_ok(),
        "no dialect at all"
    );
    assert!(
        split(&block(&plain, b'0', |block| block[257..265].copy_from_slice(b"ustar  \0")), &plain).is_ok()
    );

    let long = "long/".repeat(30);
    let named = TocEntry { name: long.clone().into(), ..plain.clone() };
    for headers in [extended(b'L', format!("{long}\0").as_bytes()), extended(b'x', &record("path", &long))] {
        assert!(split(&[headers, plain_block.clone()].concat(), &named).is_ok());
    }
    let prefixed = block(&plain, b'0', |block| block[345..348].copy_from_slice(b"dir"));
    assert!(split(&prefixed, &TocEntry { name: b"dir/a".to_vec(), ..plain.clone() }).is_ok());

    let mut rich = TocEntry { uid: 3_000_000, ..plain.clone() };
    rich.mtime.nanoseconds = 120_000_000;
    rich.xattrs = [(b"user.a".to_vec(), b"\xff\0".to_vec()), (b"user.b".to_vec(), Vec::new())].into();
    let mut records =
        [record("uid", "3000000"), record("mtime", "1700000000.12"), record("SCHILY.xattr.user.b", "")]
            .concat();
    records.extend(b"26 SCHILY.xattr.user.a=\xff\0\n");
    assert_eq!(split(&[extended(b'x', &records), plain_block].concat(), &rich).map(|_| ()), Ok(()));

    let kinds = [
        (EntryKind::Hardlink, b'1'),
        (EntryKind::Symlink, b'2'),
        (EntryKind::Character, b'3'),
        (EntryKind::Block, b'4'),
        (EntryKind::Directory, b'5'),
        (EntryKind::Fifo, b'6'),
    ];
    for (kind, flag) in kinds {
        let other = TocEntry { kind, link: b"b".to_vec(), dev_major: 1, ..file("a", 0) };
        assert_eq!(split(&block(&other, flag, |_| ()), &other).map(|_| ()), Ok(()), "{kind:?}");
    }
    let binary = block(&TocEntry { uid: 0, ..plain.clone() }, b'0', |block| {
        block[108..116].copy_from_slice(&[0x80, 0, 0, 0, 0xff, 0, 0, 1]);
    });
    assert!(split(&binary, &TocEntry { uid: 0xff00_0001, ..plain }).is_ok());
}

#[test]
fn what_the_table_cannot_say_is_left_out() {
    let plain = file("a", 700);
    let own = block(&plain, b'0', |_| ());
    let with = |headers: Vec<u8>| [headers, own.clone()].concat();
    let cases = [
        (with(extended(b'x', &record("atime", "1"))), "a time of access or change"),
        (with(extended(b'x', &record("ctime", "1"))), "a time of access or change"),
        (with(extended(b'x', &record("GNU.sparse.major", "1"))), "a sparse file"),
        (with(extended(b'x', &record("SCHILY.xattr.user.a", "b"))), "other extended attributes"),
        (with(extended(b'x', &record("path", "b"))), "a name that the table cannot say"),
        (with(extended(b'x', &record("mtime", "-1"))), "a time that the table cannot say"),
        (with(extended(b'x', &record("uid", "-2"))), "another owner"),
        (with(extended(b'x', b"9 a=b\n")), "a malformed pax header"),
        (with(extended(b'g', &record("mtime", "1"))), "more than one header"),
        (with(extended(b'L', b"a\0")), ""),
        (with([extended(b'L', b"a\0"), extended(b'L', b"a\0")].concat()), "two extended headers of one kind"),
        (
            with([extended(b'L', b"a\0"), extended(b'x', &record("path", "a"))].concat()),
            "a name in two extended headers",
        ),
        (with(own.clone()), "more than one header"),
        (own[..100].to_vec(), "a header that is cut short"),
        (Vec::new(), "a header that is cut short"),
        (block(&plain, b'7', |_| ()), "a type of entry that the format does not have"),
        (block(&plain, b'S', |_| ()), "a type of entry that the format does not have"),
        (block(&plain, b'5', |_| ()), "another type"),
        (
            block(&plain, b'0', |block| block[100..107].copy_from_slice(b"0100644")),
            "more than permissions in a mode",
        ),
        (block(&plain, b'0', |block| block[157] = b'b'), "a link that the table cannot say"),
        (block(&plain, b'0', |block| block[335] = b'1'), "another device"),
        (block(&plain, b'0', |block| block[508..].copy_from_slice(b"tar\0")), "a header of star"),
        (
            block(&plain, b'0', |block| {
                block[257..265].copy_from_slice(b"ustar  \0");
                block[345..357].copy_from_slice(b"00000000001\0");
            }),
            "GNU's own fields",
        ),
        (
            block(&plain, b'0', |block| block[257..265].copy_from_slice(b"ustar\x0001")),
            "an unknown dialect of tar",
        ),
    ];
    for (headers, expected) in cases {
        let found = split(&headers, &plain).map_or_else(|why| why, |_| "");
        assert_eq!(found, expected);
    }
    let name = TocEntry { name: b"a\xff".to_vec(), ..plain.clone() };
    assert_eq!(split(&block(&name, b'0', |_| ()), &name), Err("a name that the table cannot say"));
    let climbing = TocEntry { name: b"../a".to_vec(), ..plain };
    assert_eq!(split(&block(&climbing, b'0', |_| ()), &climbing), Err("a path that climbs"));
}

#[test]
fn the_stream_must_be_whole() {
    let plain = file("a", 700);
    let own = block(&plain, b'0', |_| ());
    let made = |payload: usize, rest: &[u8]| {
        let mut split = TarSplit::new().unwrap();
        split.header(&own, &plain);
        split.payload(&vec![7; payload]);
        split.finish(rest).map(|_| ())
    };
    let padding = 1024 - 700;
    for rest in [0, padding, padding + 512, padding + 1024, padding + 9000] {
        assert!(made(700, &vec![0; rest]).is_ok(), "{rest}");
    }
    for (payload, rest) in
        [(699, padding + 1), (701, padding - 1), (700, padding - 1), (700, padding + 1), (700, padding + 700)]
    {
        assert!(matches!(made(payload, &vec![0; rest]), Err(TocError::NoTarSplit(_))), "{payload} {rest}");
    }
    assert!(
        made(700, &[vec![0; padding + 1024], vec![3; 10]].concat()).is_ok(),
        "nobody reads on behind the end"
    );
    assert!(matches!(made(700, &vec![3; padding + 1024]), Err(TocError::NoTarSplit(_))));

    let mut twice = TarSplit::new().unwrap();
    let empty = file("a", 0);
    let dotted = file("./a", 0);
    twice.header(&block(&empty, b'0', |_| ()), &empty);
    twice.header(&block(&dotted, b'0', |_| ()), &dotted);
    assert!(matches!(twice.finish(&[]), Err(TocError::NoTarSplit("a path that is there twice"))));
}

#[test]
fn a_layer_takes_its_own_only() {
    let plain = file("a", 0);
    let section = split(&block(&plain, b'0', |_| ()), &plain).unwrap();
    let layer = |entries| tail(&Toc { entries }, Dialect::Storage, 0, Some(&section));
    let made = layer(vec![plain.clone()]).unwrap();
    assert!(made.annotations.contains_key("io.github.containers.zstd-chunked.tarsplit-position"));
    assert!(String::from_utf8(made.json).unwrap().contains("\"tarSplitDigest\":\"sha256:"));
    assert!(matches!(layer(vec![plain.clone(), plain]), Err(TocError::TarSplit { expected: 2, found: 1 })));
}
