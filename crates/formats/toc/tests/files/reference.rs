//! The reference tools' own layers are understood, every byte of every file, and their tables are written again as they
//! are.

use std::collections::BTreeMap;

use glowplug_base::{ByteRange, Digest};
use glowplug_toc::estargz::{self, Footer, FooterKind};
use glowplug_toc::zstd_chunked::{self, Position, TarSplit};
use glowplug_toc::{Dialect, EntryKind, Timestamp, Toc, TocEntry, TocLimits};

use crate::blob::{contents, gunzip, unzstd};

const ESTARGZ: &[u8] = include_bytes!("fixtures/estargz");
const SHARED: &[u8] = include_bytes!("fixtures/shared");
const EXTERNAL: &[u8] = include_bytes!("fixtures/external");
const EXTERNAL_TOC: &[u8] = include_bytes!("fixtures/external.toc");
const STARGZ: &[u8] = include_bytes!("fixtures/stargz");
const STORAGE: &[u8] = include_bytes!("fixtures/storage");

const ESTARGZ_DIGEST: &str = "sha256:e00dcb82bbf44237f5994816616b3435c853dccf6517c0819191394c34593841";
const EXTERNAL_DIGEST: &str = "sha256:4e2a18c9394a3e68a9351b383c80503baaa939ee379cd032ea7fab5e474f257e";
const SHARED_DIGEST: &str = "sha256:6011d343e302197fdcf435d549441504fd5acf8e9a4da79db441bfb781d53fdd";
const STARGZ_ANNOTATIONS: [(&str, &str); 3] = [
    (
        "containerd.io/snapshot/stargz/toc.digest",
        "sha256:b780dcf5e1715635f61ec7875508f17140e98217a0cd139fbd224b5ee4da6ce8",
    ),
    (
        "io.containers.zstd-chunked.manifest-checksum",
        "sha256:6a1f23054f850da87b04b4b3f4558cc16c824e8d3f7b1834713645aac65096d9",
    ),
    ("io.containers.zstd-chunked.manifest-position", "5031:1220:5349:1"),
];
const STORAGE_ANNOTATIONS: [(&str, &str); 3] = [
    (
        "io.github.containers.zstd-chunked.manifest-checksum",
        "sha256:c578fbbae1185350992e3c43086986c4950a8546e4cbca9d258cca5dcdce9311",
    ),
    ("io.github.containers.zstd-chunked.manifest-position", "3960:984:2801:1"),
    ("io.github.containers.zstd-chunked.tarsplit-position", "4952:1159:16113"),
];

fn annotations(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// The JSON document of a gzip layer, and its table.
fn of_gzip(blob: &[u8], digest: &str) -> (Vec<u8>, Toc) {
    let footer = Footer::find(&blob[blob.len() - estargz::LONGEST_FOOTER_BYTES..]).unwrap();
    assert_eq!((footer.kind, footer.len), (FooterKind::Current, 51));
    let start = footer.toc_offset.unwrap();
    let member = &blob[start as usize..blob.len() - 51];
    let json = estargz::toc_json(member, &digest.parse().unwrap(), &TocLimits::default()).unwrap();
    assert!(estargz::toc_tar(&json) == gunzip(member), "the tar is written as it was");
    assert!(estargz::footer(start)[..] == blob[blob.len() - 51..]);
    let toc = Toc::parse(&json, Dialect::Estargz, start, &TocLimits::default()).unwrap();
    (json, toc)
}

/// The JSON document of a zstd layer, its table, and where that is.
fn of_zstd(blob: &[u8], annotations: &BTreeMap<String, String>) -> (Vec<u8>, Toc, Position) {
    let position = Position::of(annotations).unwrap().unwrap();
    let start = position.offset as usize;
    let frame = &blob[start..start + position.compressed as usize];
    let json = zstd_chunked::toc_json(frame, &position, &TocLimits::default()).unwrap();
    let toc = Toc::parse(&json, position.dialect, position.payload_end(), &TocLimits::default()).unwrap();
    (json, toc, position)
}

fn long_name() -> Vec<u8> {
    format!("usr/{}name", "long/".repeat(30)).into_bytes()
}

/// Name, kind, mode, user, group and size of the entries that all of the layers have, in the order of the tar.
fn entries() -> Vec<(Vec<u8>, EntryKind, u32, u32, u32, u64)> {
    let named =
        |name: &str, kind, mode, uid, gid, size| (name.as_bytes().to_vec(), kind, mode, uid, gid, size);
    vec![
        named("etc/", EntryKind::Directory, 0o755, 0, 0, 0),
        named("etc/motd", EntryKind::Regular, 0o644, 1000, 100, 6),
        named("etc/link", EntryKind::Symlink, 0o777, 0, 0, 0),
        named("etc/hard", EntryKind::Hardlink, 0o644, 1000, 100, 0),
        named("etc/empty", EntryKind::Regular, 0o600, 0, 0, 0),
        named("dev/null", EntryKind::Character, 0o666, 0, 0, 0),
        named("dev/loop0", EntryKind::Block, 0o660, 0, 0, 0),
        named("dev/pipe", EntryKind::Fifo, 0o600, 0, 0, 0),
        named("bin/su", EntryKind::Regular, 0o4755, 0, 0, 1000),
        named("usr/long", EntryKind::Regular, 0o644, 3_000_000, 0, 2500),
        (long_name(), EntryKind::Regular, 0o644, 0, 0, 100),
        named("usr/holes", EntryKind::Regular, 0o644, 0, 0, 8000),
        named("usr/.wh.gone", EntryKind::Regular, 0o644, 0, 0, 0),
    ]
}

fn is_landmark(entry: &TocEntry) -> bool {
    entry.name.ends_with(b".prefetch.landmark")
}

/// Holds what all layers have in common against what they were made from.
fn check_entries(toc: &Toc, dialect: Dialect) {
    let common: Vec<&TocEntry> = toc.entries.iter().filter(|entry| !is_landmark(entry)).collect();
    let found: Vec<_> = common
        .iter()
        .map(|entry| (entry.name.clone(), entry.kind, entry.mode, entry.uid, entry.gid, entry.size))
        .collect();
    assert_eq!(found, entries());
    let is_storage = dialect == Dialect::Storage;

    let motd = common[1];
    let nanoseconds = if is_storage { 123_456_789 } else { 0 };
    assert_eq!(motd.mtime, Timestamp { seconds: 1_700_000_000, nanoseconds });
    let xattrs = [
        (b"security.capability".to_vec(), b"\x01\0\0\x02\0\x04".to_vec()),
        (b"user.note".to_vec(), "café".as_bytes().to_vec()),
    ];
    assert_eq!(motd.xattrs, xattrs.into());
    assert_eq!(motd.digest, Some(Digest::of(b"hello\n")));
    let links: Vec<_> = [common[2], common[3]].iter().map(|entry| &entry.link[..]).collect();
    assert_eq!(links, [&b"<motd>&co"[..], b"etc/motd"]);
    assert_eq!(common[4].mtime, Timestamp::default());
    assert_eq!(common[4].digest, if is_storage { None } else { Some(Digest::of(b"")) });
    let devices: Vec<_> =
        [common[5], common[6], common[7]].iter().map(|entry| (entry.dev_major, entry.dev_minor)).collect();
    assert_eq!(devices, [(1, 3), (7, 0), (0, 0)]);
    // The name of an owner is said once, and holds for those behind it.
    let owners: Vec<_> = common.iter().map(|entry| (entry.uname.clone(), entry.gname.clone())).collect();
    let owner = |name: &str, group: &str| match is_storage {
        true => (Vec::new(), Vec::new()),
        false => (name.as_bytes().to_vec(), group.as_bytes().to_vec()),
    };
    assert_eq!(
        [&owners[0], &owners[1], &owners[3], &owners[8], &owners[9]],
        [
            &owner("root", "root"),
            &owner("user", "users"),
            &owner("user", "users"),
            &owner("root", "root"),
            &owner("", "root"),
        ]
    );
}

/// Holds the contents against those of the tar.
fn check_contents(toc: &Toc, blob: &[u8], decode: fn(&[u8]) -> Vec<u8>) {
    let mut found = contents(toc, blob, decode);
    found.retain(|(name, contents)| {
        !name.ends_with(b".prefetch.landmark") || contents != &[estargz::LANDMARK_CONTENT]
    });
    let names: Vec<_> = found.iter().map(|(name, _)| name.clone()).collect();
    let expected: Vec<_> = entries().into_iter().filter(|entry| entry.5 > 0).map(|entry| entry.0).collect();
    assert_eq!(names, expected);
    assert_eq!(found[0].1, b"hello\n");
    assert!(found[1].1 == found[2].1[..1000], "the texts begin alike");
    let holes = &found[4].1;
    assert!(holes[..700] == found[1].1[..700] && holes[5700..6000] == found[1].1[..300]);
    assert!(holes[700..5700].iter().chain(&holes[6000..]).all(|&byte| byte == 0));
}

/// Ranges and places in them of a file's chunks.
fn places(toc: &Toc, name: &[u8]) -> Vec<(u64, u64, u64)> {
    let entry = toc.entries.iter().find(|entry| entry.name == name).unwrap();
    entry.chunks.iter().map(|chunk| (chunk.blob.start, chunk.blob.end, chunk.inner)).collect()
}

#[test]
fn estargz_is_read() {
    let (json, toc) = of_gzip(ESTARGZ, ESTARGZ_DIGEST);
    check_entries(&toc, Dialect::Estargz);
    check_contents(&toc, ESTARGZ, gunzip);
    assert!(toc.encode(Dialect::Estargz) == json, "the table is written as it was");
    assert_eq!(toc.entries[2].name, estargz::PREFETCH_LANDMARK.as_bytes());
    assert_eq!(places(&toc, estargz::PREFETCH_LANDMARK.as_bytes()), [(367, 650, 0)]);
    assert_eq!(places(&toc, b"etc/motd"), [(269, 367, 0)]);
    assert_eq!(places(&toc, b"usr/long"), [(1443, 2091, 0), (2091, 2741, 0), (2741, 3176, 0)]);
    assert_eq!(
        places(&toc, b"usr/holes").last(),
        Some(&(4260, 4385, 0)),
        "the last member ends with the payload"
    );
}

#[test]
fn files_may_share_a_member() {
    let (json, toc) = of_gzip(SHARED, SHARED_DIGEST);
    check_entries(&toc, Dialect::Estargz);
    check_contents(&toc, SHARED, gunzip);
    assert!(toc.encode(Dialect::Estargz) == json, "the table is written as it was");
    assert_eq!(toc.entries[0].name, estargz::NO_PREFETCH_LANDMARK.as_bytes());
    assert_eq!(places(&toc, b"etc/motd"), [(90, 1929, 2560)]);
    assert_eq!(places(&toc, b"usr/long"), [(90, 1929, 9216), (90, 1929, 10_216), (1929, 3013, 0)]);
    assert_eq!(places(&toc, &long_name()), [(1929, 3013, 1072)]);
}

#[test]
fn the_table_may_be_elsewhere() {
    let footer = Footer::find(EXTERNAL).unwrap();
    assert_eq!(footer, Footer { kind: FooterKind::ExternalToc, toc_offset: None, len: 46 });
    let digest = EXTERNAL_DIGEST.parse().unwrap();
    let json = estargz::toc_json(EXTERNAL_TOC, &digest, &TocLimits::default()).unwrap();
    let end = EXTERNAL.len() as u64 - footer.len;
    let toc = Toc::parse(&json, Dialect::Estargz, end, &TocLimits::default()).unwrap();
    check_entries(&toc, Dialect::Estargz);
    check_contents(&toc, EXTERNAL, gunzip);
}

#[test]
fn zstd_of_the_stargz_snapshotter_is_read() {
    let given = annotations(&STARGZ_ANNOTATIONS);
    let (json, toc, position) = of_zstd(STARGZ, &given);
    assert_eq!((position.dialect, position.payload_end()), (Dialect::Stargz, 5023));
    check_entries(&toc, Dialect::Stargz);
    check_contents(&toc, STARGZ, unzstd);
    assert!(toc.encode(Dialect::Stargz) == json, "the table is written as it was");
    assert_eq!(position.annotations(&json), given);
    assert_eq!(places(&toc, b"usr/long"), [(1498, 2514, 0), (2514, 3530, 0), (3530, 3957, 0)]);

    // But for how well the table is compressed, the end of the blob is written as it was.
    let tail = zstd_chunked::tail(&toc, Dialect::Stargz, 5023, None).unwrap();
    assert!(tail.json == json);
    assert_eq!(tail.bytes[tail.bytes.len() - 48..][..16], STARGZ[STARGZ.len() - 48..][..16]);
    assert_eq!(tail.bytes[tail.bytes.len() - 24..], STARGZ[STARGZ.len() - 24..]);
}

#[test]
fn zstd_of_containers_storage_is_read() {
    let (json, toc, position) = of_zstd(STORAGE, &annotations(&STORAGE_ANNOTATIONS));
    assert_eq!((position.dialect, position.payload_end()), (Dialect::Storage, 3952));
    check_entries(&toc, Dialect::Storage);
    check_contents(&toc, STORAGE, unzstd);
    assert_eq!(places(&toc, b"usr/long"), [(1329, 2871, 0)]);
    let holes = toc.entries.iter().find(|entry| entry.name == b"usr/holes").unwrap();
    let found: Vec<_> =
        holes.chunks.iter().map(|chunk| (chunk.file, chunk.size, chunk.blob, chunk.zeros)).collect();
    let range = ByteRange::new;
    assert_eq!(
        found,
        [
            (0, 700, range(3145, 3600), false),
            (700, 5000, range(3600, 3600), true),
            (5700, 300, range(3615, 3833), false),
            (6000, 2000, range(3833, 3833), true),
        ]
    );

    // Where a file ends that ends with zeros is the one thing that is not kept; nobody reads them.
    let json = String::from_utf8(json).unwrap().replace("\"endOffset\":3861", "\"endOffset\":3833");
    let (json, digest) = json.split_once(",\"tarSplitDigest\"").unwrap();
    assert_eq!(digest, format!(":\"{}\"}}", Digest::of(&STORAGE[4952..][..1159])));
    assert_eq!(String::from_utf8(toc.encode(Dialect::Storage)).unwrap(), format!("{json}}}"));
}

#[test]
fn a_tar_split_is_written_as_containers_storage_does() {
    let (_, toc, position) = of_zstd(STORAGE, &annotations(&STORAGE_ANNOTATIONS));
    let tar = unzstd(&STORAGE[..position.payload_end() as usize]);
    assert_eq!(tar.len(), 22_528);
    let mut places = Vec::new();
    let mut walker = glowplug_tarwalk::Walker::new(glowplug_tarwalk::Limits::default());
    walker
        .push(&tar, &mut |entry| places.push((entry.payload_offset as usize, entry.size as usize)))
        .unwrap();
    assert_eq!(places.len(), toc.entries.len());

    let mut split = TarSplit::new().unwrap();
    let mut at = 0;
    for (entry, (start, size)) in toc.entries.iter().zip(places) {
        split.header(&tar[at..start], entry);
        at = start + size;
        for piece in tar[start..at].chunks(300) {
            split.payload(piece);
        }
    }
    let split = split.finish(&tar[at..]).unwrap();
    let tail = zstd_chunked::tail(&toc, Dialect::Storage, position.payload_end(), Some(&split)).unwrap();

    let place = &tail.annotations["io.github.containers.zstd-chunked.tarsplit-position"];
    let numbers: Vec<usize> = place.split(':').map(|number| number.parse().unwrap()).collect();
    let [offset, compressed, uncompressed] = numbers[..] else { panic!("{place}") };
    assert_eq!(uncompressed, 16_113);
    let ours = &tail.bytes[offset - position.payload_end() as usize..][..compressed];
    let (ours, theirs) = (unzstd(ours), unzstd(&STORAGE[4952..][..1159]));
    assert_eq!(String::from_utf8(ours).unwrap(), String::from_utf8(theirs).unwrap());

    // The whole layer decodes to the same tar.
    let layer = [&STORAGE[..position.payload_end() as usize], &tail.bytes].concat();
    assert!(unzstd(&layer) == tar);
}
