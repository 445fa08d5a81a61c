//! Archives by the `tar` crate, read by it and by the walker; and bytes nobody wrote.

use std::io::Read;

use crate::archive::{Archive, Field, walk};
use glowplug_tarwalk::{Entry, Kind, normalise, whiteout};
use proptest::prelude::*;
use tar::{Builder, EntryType, Header};

#[derive(Debug, Clone)]
struct Planned {
    kind: EntryType,
    path: String,
    link: String,
    mode: u32,
    uid: u64,
    gid: u64,
    mtime: u64,
    content: Vec<u8>,
    xattr: Option<Vec<u8>>,
    gnu: bool,
}

fn planned() -> impl Strategy<Value = Planned> {
    let kind = prop_oneof![
        4 => Just(EntryType::Regular),
        1 => Just(EntryType::Directory),
        1 => Just(EntryType::Symlink),
        1 => Just(EntryType::Link),
        1 => Just(EntryType::Char),
        1 => Just(EntryType::Fifo),
    ];
    let path = || "[a-z]{1,8}(/[a-z\u{e4}]{1,30}){0,12}";
    let numbers = (0_u32..0o10000, any::<u64>().prop_map(|id| id >> 31), 0_u64..1 << 40, 0_u64..1 << 34);
    let content = proptest::collection::vec(any::<u8>(), 0..2000);
    let xattr = proptest::option::of(proptest::collection::vec(any::<u8>(), 1..30));
    (kind, path(), path(), numbers, content, xattr, any::<bool>()).prop_map(
        |(kind, path, link, (mode, uid, gid, mtime), content, xattr, gnu)| {
            let content = if kind == EntryType::Regular { content } else { Vec::new() };
            Planned { kind, path, link, mode, uid, gid, mtime, content, xattr, gnu }
        },
    )
}

fn build(plan: &[Planned]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for planned in plan {
        if let Some(value) = &planned.xattr {
            builder.append_pax_extensions([("SCHILY.xattr.user.test", &value[..])]).unwrap();
        }
        let mut header = if planned.gnu { Header::new_gnu() } else { Header::new_ustar() };
        header.set_entry_type(planned.kind);
        header.set_mode(planned.mode);
        header.set_uid(planned.uid);
        header.set_gid(planned.gid);
        header.set_mtime(planned.mtime);
        header.set_size(planned.content.len() as u64);
        header.set_username("somebody").unwrap();
        if planned.kind == EntryType::Char {
            header.set_device_major(4).unwrap();
            header.set_device_minor(64).unwrap();
        }
        if matches!(planned.kind, EntryType::Symlink | EntryType::Link) {
            builder.append_link(&mut header, &planned.path, &planned.link).unwrap();
        } else {
            builder.append_data(&mut header, &planned.path, &planned.content[..]).unwrap();
        }
    }
    builder.into_inner().unwrap()
}

fn content(archive: &[u8], entry: &Entry) -> Vec<u8> {
    let mut out = vec![0; entry.size as usize];
    for extent in &entry.extents {
        let [from, to, len] = [extent.stream_offset, extent.file_offset, extent.len].map(|n| n as usize);
        out[to..to + len].copy_from_slice(&archive[from..from + len]);
    }
    out
}

fn kind(of: EntryType) -> Kind {
    match of {
        EntryType::Regular => Kind::File,
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink => Kind::Symlink,
        EntryType::Link => Kind::Hardlink,
        EntryType::Char => Kind::Char,
        EntryType::Fifo => Kind::Fifo,
        other => panic!("{other:?} is not planned"),
    }
}

/// Headers that are nearly right, so that arbitrary bytes get past the checksum.
fn hostile_archive() -> impl Strategy<Value = Vec<u8>> {
    let flag = prop_oneof![Just(0), prop::sample::select(&b"01234567xgLKSVDZ9"[..]), any::<u8>()];
    let magic = prop::sample::select(vec![&b"ustar\x0000"[..], b"ustar  \0", b"garbage"]);
    let patch = (0_usize..500, proptest::collection::vec(any::<u8>(), 1..12));
    let text = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..1500),
        "([0-9]{1,2} (GNU\\.sparse\\.(map|major|minor|offset|numbytes|size|numblocks)|path|size|mtime|uid)=[0-9,.-]{0,20}\n){0,6}"
            .prop_map(String::into_bytes),
        "([0-9]{0,19}\n){0,60}".prop_map(String::into_bytes),
    ];
    let sparse = prop_oneof![Just(None), Just(Some("1")), Just(Some("0"))];
    let one = (flag, magic, proptest::collection::vec(patch, 0..3), text, sparse);
    proptest::collection::vec(one, 1..6).prop_map(|entries| {
        let mut archive = Archive::default();
        for (flag, magic, patches, payload, sparse) in entries {
            if let Some(major) = sparse {
                archive = archive.pax(b'x', &[("GNU.sparse.major", major), ("GNU.sparse.minor", "0")]);
            }
            let mut fields = vec![Field::text(257, magic)];
            fields.extend(patches.iter().map(|(pos, bytes)| Field::text(*pos, bytes)));
            archive = archive.entry(flag, b"name", &fields, &payload);
        }
        archive.end()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn agrees_with_the_tar_crate(
        plan in proptest::collection::vec(planned(), 0..12),
        pieces in proptest::collection::vec(1_usize..3000, 1..6),
    ) {
        let bytes = build(&plan);
        let entries = walk(&bytes, &pieces).unwrap();
        prop_assert_eq!(entries.len(), plan.len());
        let mut theirs = tar::Archive::new(&bytes[..]);
        for ((entry, planned), their) in entries.iter().zip(&plan).zip(theirs.entries().unwrap()) {
            let mut their = their.unwrap();
            prop_assert_eq!(&entry.path[..], &*their.path_bytes());
            prop_assert_eq!(&entry.path[..], planned.path.as_bytes());
            prop_assert_eq!(entry.kind, kind(planned.kind));
            if matches!(entry.kind, Kind::Symlink | Kind::Hardlink) {
                prop_assert_eq!(&entry.link[..], planned.link.as_bytes());
            }
            prop_assert_eq!((entry.mode, entry.uid, entry.gid), (planned.mode, planned.uid, planned.gid));
            prop_assert_eq!((entry.mtime_s, entry.mtime_ns), (planned.mtime as i64, 0));
            prop_assert_eq!(&entry.uname[..], b"somebody");
            let device = if entry.kind == Kind::Char { (4, 64) } else { (0, 0) };
            prop_assert_eq!((entry.dev_major, entry.dev_minor), device);
            prop_assert_eq!(entry.payload_offset, their.raw_file_position());
            prop_assert_eq!(entry.size, their.size());
            let mut read = Vec::new();
            their.read_to_end(&mut read).unwrap();
            prop_assert_eq!(&read, &planned.content);
            prop_assert_eq!(&content(&bytes, entry), &planned.content);
            let xattrs = planned.xattr.iter().map(|value| (b"user.test".to_vec(), value.clone())).collect::<Vec<_>>();
            prop_assert_eq!(&entry.xattrs, &xattrs);
        }
        // Entries lie one behind the other without a gap.
        let mut end = 0;
        for entry in &entries {
            prop_assert_eq!(entry.header_offset, end);
            let payload: u64 = entry.extents.iter().map(|extent| extent.len).sum();
            end = (entry.payload_offset + payload).next_multiple_of(512);
        }
    }

    #[test]
    fn pieces_do_not_matter(
        bytes in hostile_archive(), pieces in proptest::collection::vec(1_usize..1500, 1..6),
    ) {
        prop_assert_eq!(walk(&bytes, &pieces), walk(&bytes, &[usize::MAX]));
    }

    #[test]
    fn extents_lie_within_file_and_stream(bytes in hostile_archive()) {
        let Ok(entries) = walk(&bytes, &[usize::MAX]) else { return Ok(()) };
        for entry in entries {
            let (mut file_end, mut stream_end) = (0, entry.payload_offset);
            for extent in &entry.extents {
                prop_assert!(extent.len > 0 && extent.file_offset >= file_end);
                prop_assert_eq!(extent.stream_offset, stream_end);
                file_end = extent.file_offset + extent.len;
                stream_end += extent.len;
            }
            prop_assert!(file_end <= entry.size && stream_end <= bytes.len() as u64);
            prop_assert!(entry.mtime_ns < 1_000_000_000);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        let _ = walk(&bytes, &[700]);
        if let Ok(path) = normalise(&bytes) {
            prop_assert_eq!(normalise(&path).unwrap(), path.clone());
            let _ = whiteout(&path);
        }
    }

    #[test]
    fn normal_paths_stay_below_the_root(path in "[./a]{0,12}") {
        match normalise(path.as_bytes()) {
            Err(_) => prop_assert!(path.split('/').any(|component| component == "..")),
            Ok(plain) => {
                let kept: Vec<_> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
                prop_assert_eq!(plain, kept.join("/").into_bytes());
            }
        }
    }
}
