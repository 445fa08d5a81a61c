//! A layer of a million empty files. Alone in its program, so that the memory it takes can be told.
#![allow(clippy::unwrap_used, reason = "clippy does not take the functions beside the tests for tests")]

use std::sync::Arc;

use glowplug_base::{Clock, Digest};
use glowplug_image::{LayerSpec, open};
use glowplug_layer::Kind;
use glowplug_oci::{Compression, LayerFormat};
use glowplug_source::MemorySource;
use glowplug_store::{Options, Store};
use glowplug_testkit::Tree;
use glowplug_timeline::Timeline;

const FILES: usize = 1_000_000;
const FILES_IN_FOLDER: usize = 1000;
/// Most memory that the layer may take at any moment: its entries as they are read, as they are written and as a tree,
/// some 700 bytes each in all. Its archive alone is 512 MB, and is never in memory as a whole.
const MAX_BYTES: u64 = 800 << 20;

fn name(number: usize) -> String {
    format!("{:03}/{:03}", number / FILES_IN_FOLDER, number % FILES_IN_FOLDER)
}

/// The archive, a zstd frame for each folder.
fn blob() -> Vec<u8> {
    let template = Tree::build(|tree| _ = tree.file(&name(0), ""));
    let mut header = template[..512].to_vec();
    let mut blob = Vec::new();
    let mut folder = Vec::with_capacity(FILES_IN_FOLDER * 512);
    for number in 0..FILES {
        let name = name(number);
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        folder.extend_from_slice(&header);
        if folder.len() == FILES_IN_FOLDER * 512 {
            blob.extend(zstd::bulk::compress(&folder, 1).unwrap());
            folder.clear();
        }
    }
    blob.extend(zstd::bulk::compress(&[0; 1024], 1).unwrap());
    blob
}

/// A number of `/proc/self/status`, in bytes.
fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_empty_files_stream_by_in_bounded_memory() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(dir.path(), Options::default()).unwrap());
    let blob = blob();
    let spec = LayerSpec {
        blob: Digest::of(&blob),
        format: LayerFormat::Tar,
        compression: Compression::Zstd,
        diff_id: None,
        source: Arc::new(MemorySource::new("blob", blob)),
        annotations: Default::default(),
        external: None,
        soci: None,
    };
    let before = memory("VmRSS");
    for known in [0, 1] {
        let opened =
            open(&store, std::slice::from_ref(&spec), &Timeline::new(Clock::system())).await.unwrap();
        assert_eq!((opened.known, opened.streamed), (known, 1 - known));
        let tree = opened.image.tree();
        for number in [0, 999, 1000, FILES / 2 + 123, FILES - 1] {
            let node = tree.node(tree.find(&name(number)).unwrap()).unwrap();
            assert_eq!((node.kind, node.size), (Kind::File, 0));
        }
        assert_eq!(tree.nodes().len(), FILES + FILES / FILES_IN_FOLDER + 1);
        assert_eq!(tree.find("999/1000"), None);
    }
    let peak = memory("VmHWM") - before;
    assert!(peak < MAX_BYTES, "{} MiB at most", peak >> 20);
}
