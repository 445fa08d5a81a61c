//! The tables: what is in them is true, and every piece decodes by itself.

use std::collections::BTreeMap;
use std::io::Read as _;

use glowplug_base::Digest;
use glowplug_convert::{Dialect, Encoding};
use glowplug_oci::{Compression, Descriptor};
use glowplug_tarwalk::Kind;
use glowplug_testkit::{Layer, Tree};
use glowplug_toc::estargz::{self, Footer, FooterKind, TOC_DIGEST_ANNOTATION};
use glowplug_toc::zstd_chunked::{self, Position};
use glowplug_toc::{EntryKind, Toc, TocLimits};

use crate::fixture::{CHUNK, at, convert, image, layer, open, settings, varied, walk};

const TABLES: [Encoding; 3] =
    [Encoding::Estargz, Encoding::ZstdChunked(Dialect::Storage), Encoding::ZstdChunked(Dialect::Stargz)];

/// Finds the table as a reader does.
fn table(blob: &[u8], listed: &Descriptor, encoding: Encoding) -> Toc {
    let limits = TocLimits::default();
    if encoding == Encoding::Estargz {
        let footer = Footer::find(&blob[blob.len() - 51..]).unwrap();
        assert_eq!(footer.kind, FooterKind::Current);
        let offset = footer.toc_offset.unwrap();
        let member = &blob[offset as usize..blob.len() - footer.len as usize];
        let digest: Digest = listed.annotations[TOC_DIGEST_ANNOTATION].parse().unwrap();
        let json = estargz::toc_json(member, &digest, &limits).unwrap();
        return Toc::parse(&json, glowplug_toc::Dialect::Estargz, offset, &limits).unwrap();
    }
    let position = Position::of(&listed.annotations).unwrap().unwrap();
    let storage = encoding == Encoding::ZstdChunked(Dialect::Storage);
    assert_eq!(position.dialect == glowplug_toc::Dialect::Storage, storage);
    let frame = &blob[position.offset as usize..][..position.compressed as usize];
    let json = zstd_chunked::toc_json(frame, &position, &limits).unwrap();
    Toc::parse(&json, position.dialect, position.payload_end(), &limits).unwrap()
}

/// The first `len` bytes that a member or frame decodes to, given nothing else of the blob.
fn decode_member(member: &[u8], encoding: Encoding, len: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if encoding.is_gzip() {
        flate2::read::GzDecoder::new(member).take(len).read_to_end(&mut bytes).unwrap();
    } else {
        zstd::stream::Decoder::new(member).unwrap().take(len).read_to_end(&mut bytes).unwrap();
    }
    bytes
}

async fn made(layers: impl IntoIterator<Item = Layer>, encoding: Encoding) -> Vec<(Vec<u8>, Descriptor)> {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    image(layers).build().write_layout(&from, None);
    let converted = convert(&at(&from, ""), &at(&to, ""), &settings(encoding)).await.unwrap();
    let opened = open(&to, &converted.new);
    opened.layers.into_iter().zip(opened.manifest.layers).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_piece_of_every_file_is_where_the_table_says() {
    let tar = varied();
    let entries = walk(&tar);
    for encoding in TABLES {
        let (blob, listed) = made([layer(tar.clone())], encoding).await.remove(0);
        let mut toc = table(&blob, &listed, encoding);
        if encoding == Encoding::Estargz {
            let landmark = toc.entries.remove(0);
            assert_eq!(landmark.name, estargz::NO_PREFETCH_LANDMARK.as_bytes());
            let member = &blob[landmark.chunks[0].blob.start as usize..];
            assert_eq!(decode_member(member, encoding, 1), [estargz::LANDMARK_CONTENT]);
        }
        assert_eq!(toc.entries.len(), entries.len());
        for (found, (entry, contents)) in toc.entries.iter().zip(&entries) {
            let name = String::from_utf8_lossy(&entry.path);
            assert_eq!(found.name, entry.path);
            let kind = match entry.kind {
                Kind::File => EntryKind::Regular,
                Kind::Directory => EntryKind::Directory,
                Kind::Symlink => EntryKind::Symlink,
                Kind::Hardlink => EntryKind::Hardlink,
                Kind::Char => EntryKind::Character,
                Kind::Block => EntryKind::Block,
                Kind::Fifo => EntryKind::Fifo,
            };
            assert_eq!((found.kind, found.size, &found.link), (kind, entry.size, &entry.link), "{name}");
            assert_eq!((found.mode, found.uid, found.gid), (entry.mode, entry.uid as u32, entry.gid as u32));
            assert_eq!((found.mtime.seconds, found.dev_minor), (entry.mtime_s, entry.dev_minor));
            assert_eq!(found.xattrs, entry.xattrs.iter().cloned().collect::<BTreeMap<_, _>>());
            let mut read = Vec::new();
            for chunk in &found.chunks {
                assert!(chunk.size == CHUNK || chunk.file + chunk.size == found.size, "{name}: {chunk:?}");
                let member = &blob[chunk.blob.start as usize..chunk.blob.end as usize];
                let piece = decode_member(member, encoding, chunk.size);
                assert_eq!(chunk.digest, Some(Digest::of(&piece)), "{name}: {chunk:?}");
                read.extend(piece);
            }
            assert!(read == *contents, "{name}");
            if entry.size > 0 {
                assert_eq!(found.digest, Some(Digest::of(contents)), "{name}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_of_containers_storage_holds_a_piece_and_nothing_else() {
    let encoding = Encoding::ZstdChunked(Dialect::Storage);
    let (blob, listed) = made([layer(varied())], encoding).await.remove(0);
    for chunk in table(&blob, &listed, encoding).entries.iter().flat_map(|entry| &entry.chunks) {
        let member = &blob[chunk.blob.start as usize..chunk.blob.end as usize];
        assert_eq!(decode_member(member, encoding, u64::MAX).len() as u64, chunk.size);
    }
    assert!(
        listed.annotations.keys().any(|key| key.ends_with("tarsplit-position")),
        "without it podman reads the layer as a whole: {:?}",
        listed.annotations
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_path_that_is_there_twice_the_last_counts() {
    let tar = Tree::build(|tree| _ = tree.file("a", "first").file("b", "b").file("./a", "second").dir("b"));
    for encoding in TABLES {
        let (blob, listed) =
            made([Layer::from_tar(tar.clone(), Compression::Zstd)], encoding).await.remove(0);
        let toc = table(&blob, &listed, encoding);
        let names = toc.entries.iter().map(|entry| &*entry.name).filter(|name| !name.ends_with(b"landmark"));
        assert_eq!(names.collect::<Vec<_>>(), [&b"./a"[..], b"b"], "{encoding:?}");
        let last = toc.entries.iter().find(|entry| entry.name == b"./a").unwrap();
        assert_eq!(last.chunks[0].digest, Some(Digest::of(b"second")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_tar_split_cannot_say_costs_the_tar_split_and_not_the_table() {
    let encoding = Encoding::ZstdChunked(Dialect::Storage);
    let foreign = |flag: u8, contents: &[u8]| {
        let mut tar = Tree::build(|tree| _ = tree.file("before", "1"));
        tar.truncate(1024);
        let mut other = Tree::build(|tree| _ = tree.file("other", contents).file("after", "2"));
        other[156] = flag;
        other[148..156].fill(b' ');
        let sum: u32 = other[..512].iter().map(|&byte| u32::from(byte)).sum();
        other[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        tar.extend(other);
        tar
    };
    // A vendor's entry of its own, a global header, and more behind the end than is worth keeping.
    let whole = Tree::build(|tree| _ = tree.file("before", "1").file("after", "2"));
    let tars = [
        foreign(b'V', &[7; 700_000]),
        foreign(b'g', b"13 comment=x\n"),
        [&whole[..], &vec![0; 2 << 20]].concat(),
    ];
    for tar in tars {
        let (blob, listed) =
            made([Layer::from_tar(tar.clone(), Compression::None)], encoding).await.remove(0);
        assert!(zstd::stream::decode_all(&blob[..]).unwrap() == tar);
        let names = table(&blob, &listed, encoding).entries.into_iter().map(|entry| entry.name);
        assert_eq!(names.collect::<Vec<_>>(), [&b"before"[..], b"after"]);
        assert!(listed.annotations.keys().all(|key| !key.contains("tarsplit")), "{:?}", listed.annotations);
    }
}
