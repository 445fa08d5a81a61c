//! Layers that are larger than anything should be: they work, or are refused at once and by name.
#![allow(clippy::unwrap_used, reason = "clippy does not take the functions beside the tests for tests")]

use std::path::Path;
use std::sync::Arc;

use glowplug_base::{Clock, Digest, Hinted as _};
use glowplug_image::{Image, ImageError, LayerSpec, Opened, open};
use glowplug_layer::Recipe;
use glowplug_oci::{Compression, LayerFormat};
use glowplug_source::MemorySource;
use glowplug_store::{Options, Store};
use glowplug_testkit::{Entry, Layer, Tree};
use glowplug_timeline::Timeline;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

const MIB: usize = 1024 * 1024;

fn store(root: &Path) -> Arc<Store> {
    Arc::new(Store::open(root, Options::default()).unwrap())
}

async fn opened(store: &Arc<Store>, blob: &[u8], compression: Compression) -> Result<Opened, ImageError> {
    let source = Arc::new(MemorySource::new("blob", blob.to_vec()));
    let spec = LayerSpec {
        blob: Digest::of(blob),
        format: LayerFormat::Tar,
        compression,
        diff_id: None,
        source,
        annotations: Default::default(),
        external: None,
        soci: None,
    };
    open(store, &[spec], &Timeline::new(Clock::system())).await
}

/// Opens a layer that must be refused: names the layer, the reason and the way out, and leaves nothing behind.
async fn refused(root: &Path, blob: &[u8], compression: Compression, words: &str) -> ImageError {
    let store = store(root);
    let error = opened(&store, blob, compression).await.unwrap_err();
    let said = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ");
    assert!(said.contains(Digest::of(blob).hex().as_str()) && said.contains(words), "{words:?} in {said}");
    assert!(error.hint().is_some(), "a way out of: {said}");
    assert_eq!(store.usage().unwrap(), [], "{said}");
    error
}

/// Deflate data of one block with the fixed codes, whose matches all go back 512 bytes.
fn one_block(stream: &[u8]) -> Vec<u8> {
    let (mut bytes, mut held, mut count) = (Vec::new(), 0_u64, 0);
    let mut put = |value: u64, bits: u32| {
        held |= value << count;
        count += bits;
        while count >= 8 {
            bytes.push(held as u8);
            held >>= 8;
            count -= 8;
        }
    };
    // Codes go into the stream from their highest bit.
    let code = |value: u64, bits: u32| (value.reverse_bits() >> (64 - bits), bits);
    put(0b011, 3);
    let mut at = 0;
    while at < stream.len() {
        if at >= 512 && stream.get(at..at + 258) == Some(&stream[at - 512..at - 254]) {
            let ((length, bits), (distance, more)) = (code(0b1100_0101, 8), code(17, 5));
            put(length, bits);
            put(distance, more);
            put(512 - 385, 7);
            at += 258;
        } else {
            let byte = u64::from(stream[at]);
            let (literal, bits) = if byte < 144 { code(0x30 + byte, 8) } else { code(0x190 + byte - 144, 9) };
            put(literal, bits);
            at += 1;
        }
    }
    put(0, 7 + 7);
    bytes
}

fn gzip(deflate: &[u8], stream: &[u8]) -> Vec<u8> {
    let table: Vec<u32> = (0..256)
        .map(|byte| (0..8).fold(byte, |crc: u32, _| crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 }))
        .collect();
    let crc = stream.iter().fold(!0_u32, |crc, byte| table[usize::from(crc as u8 ^ byte)] ^ crc >> 8);
    let header = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    [&header, deflate, &(!crc).to_le_bytes(), &(stream.len() as u32).to_le_bytes()].concat()
}

async fn check(image: &Image, name: &str, content: &[u8]) {
    let id = image.tree().find(name).unwrap();
    for offset in (0..content.len()).step_by(8 * MIB) {
        let end = content.len().min(offset + 8 * MIB);
        let read = image.read(id, offset as u64, (8 * MIB) as u32).await.unwrap();
        assert!(read == content[offset..end], "{name} at {offset}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_longer_than_any_span_streams_by_and_is_read_again() {
    let pattern: Vec<u8> = (0..512_u32).map(|n| (n * n / 3) as u8).collect();
    let big: Vec<u8> = pattern.iter().copied().cycle().take(80 * MIB + 77).collect();
    let tar = Tree::build(|tree| {
        tree.file("first", "small").file("big", &big).file("last", &pattern);
    });
    let blob = gzip(&one_block(&tar), &tar);
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let image = opened(&store, &blob, Compression::Gzip).await.unwrap().image;
    let index = image.layers().next().unwrap().index();
    let longest = index.spans.iter().map(|span| span.stream.len()).max().unwrap();
    assert!(longest <= 33 * MIB as u64, "a fault has to hold {longest} bytes");
    // The block's start is a way in; what lies behind the first cut has none.
    assert!(matches!(index.spans[0].recipe, Recipe::Deflate { .. }));
    assert!(index.spans.len() > 2 && index.spans[1..].iter().all(|span| span.recipe == Recipe::Whole));
    check(&image, "big", &big).await;
    drop(image);

    store.drop_data(&Digest::of(&blob)).unwrap();
    let image = opened(&store, &blob, Compression::Gzip).await.unwrap().image;
    check(&image, "first", b"small").await;
    let moved = image.moved_bytes();
    assert!(moved > 0 && moved < blob.len() as u64 / 2, "{moved} of {} bytes for the start", blob.len());
    check(&image, "last", &pattern).await;
    check(&image, "big", &big).await;
    assert!(image.is_complete());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sparse_file_of_crumbs_is_refused_before_its_index_is_made() {
    // Each byte takes a block of the data file, for the holes between them are long enough to be left out.
    let runs = 70_000;
    let map: Vec<String> = (0..runs).map(|run| format!("{},1", run * 12_288)).collect();
    let layer = Layer::gzip(|tree| {
        let numbers = [("major", "0"), ("minor", "1"), ("size", "860160000"), ("numblocks", "70000")];
        let crumbs = Entry::file("crumbs", vec![7; runs]);
        let crumbs = numbers
            .into_iter()
            .fold(crumbs, |entry, (key, value)| entry.pax(format!("GNU.sparse.{key}"), value));
        tree.add(crumbs.pax("GNU.sparse.map", map.join(",")));
    });
    let dir = tempfile::tempdir().unwrap();
    let error = refused(dir.path(), &layer.blob, Compression::Gzip, "268435456 bytes of files").await;
    assert!(matches!(error, ImageError::TooLarge { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_larger_than_any_data_file_is_refused_at_its_header() {
    // Not one byte of the file is there: whoever waits for them says that the archive ends too early.
    let size = (20_u64 << 40).to_string();
    let layer = Layer::zstd(|tree| _ = tree.add(Entry::file("huge", "").pax("size", size)));
    let dir = tempfile::tempdir().unwrap();
    let error = refused(dir.path(), &layer.blob, Compression::Zstd, "17592186044416 bytes of files").await;
    assert!(matches!(error, ImageError::TooLarge { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes_without_end_are_refused_when_the_index_is_full() {
    // 1 MiB in each header, and more of them than an index has room for; a few KiB when compressed.
    let one = Tree::build(|tree| _ = tree.add(Entry::file("f", "").xattr("user.x", vec![b'x'; 900_000])));
    let entry = &one[..one.len() - 1024];
    let frame = zstd::bulk::compress(entry, 1).unwrap();
    let end = zstd::bulk::compress(&[0; 1024], 1).unwrap();
    let blob = [frame.repeat(1300), end].concat();
    let dir = tempfile::tempdir().unwrap();
    let error = refused(dir.path(), &blob, Compression::Zstd, "1073741824 bytes of names").await;
    assert!(matches!(error, ImageError::TooLarge { .. }), "{error}");
}

/// A zstd frame that holds a file of `gib` GiB of one letter, in some 32 KiB for each GiB.
fn bomb(gib: u64) -> Vec<u8> {
    let size = gib << 30;
    let tar = Tree::build(|tree| _ = tree.add(Entry::file("bomb", "").pax("size", size.to_string())));
    let block = |kind: u32, len: usize, last: bool| {
        (((len as u32) << 3) | kind << 1 | u32::from(last)).to_le_bytes()[..3].to_vec()
    };
    let (raw, run) = (0, 1);
    let headers = &tar[..tar.len() - 1024];
    // Magic, no flags, a window of 1 MiB.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0x50];
    frame.extend(block(raw, headers.len(), false));
    frame.extend_from_slice(headers);
    for _ in 0..size >> 17 {
        frame.extend(block(run, 1 << 17, false));
        frame.push(b'x');
    }
    frame.extend(block(run, 1024, true));
    frame.push(0);
    frame
}

#[tokio::test(flavor = "multi_thread")]
async fn a_few_bytes_that_decode_without_end_are_refused() {
    let blob = bomb(10);
    assert!(blob.len() < 400_000);
    let dir = tempfile::tempdir().unwrap();
    refused(dir.path(), &blob, Compression::Zstd, "decode to more than").await;
}

/// A file system of 16 MiB. Needs root.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        mount("tmpfs", dir.path(), "tmpfs", MountFlags::empty(), c"size=16m").expect("this test needs root");
        Self(dir)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = unmount(self.0.path(), UnmountFlags::DETACH);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_decodes_to_more_than_the_disk_holds_is_refused_and_gives_its_room_back() {
    // Less than deflate can: nothing but the disk can say that this is too much.
    let layer = Layer::gzip(|tree| _ = tree.file("zeros", vec![0; 64 * MIB]));
    assert!(layer.blob.len() < MIB / 8);
    let disk = SmallDisk::new();
    refused(disk.0.path(), &layer.blob, Compression::Gzip, "No space left").await;
    let small = Layer::gzip(|tree| _ = tree.file("zeros", vec![0; 8 * MIB]));
    opened(&store(disk.0.path()), &small.blob, Compression::Gzip).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_does_not_decode_says_why() {
    let layer = Layer::gzip(|tree| _ = tree.file("a", "a"));
    let mut blob = layer.blob.to_vec();
    let at = blob.len() - 5;
    blob[at] ^= 1;
    let dir = tempfile::tempdir().unwrap();
    refused(dir.path(), &blob, Compression::Gzip, "corrupt gzip data").await;
}
