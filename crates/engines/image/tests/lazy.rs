//! Opened images read as their layers say, whatever the compression, whatever is missing, whatever the network does.
#![allow(clippy::unwrap_used, reason = "clippy does not take the functions beside the tests for tests")]

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use futures::future::BoxFuture;
use glowplug_base::{ByteRange, Clock};
use glowplug_image::{Image, LayerSpec, Opened, Spare, open};
use glowplug_oci::{Compression, LayerFormat};
use glowplug_source::{
    ByteStream, Fault, Faulty, MemorySource, RangeSource, Retry, RetryPolicy, SourceError,
};
use glowplug_store::{Options, Store};
use glowplug_testkit::{Layer, Tree};
use glowplug_timeline::{Cause, Timeline};
use proptest::prelude::*;

#[path = "shared/contents.rs"]
mod contents;

use contents::{MIB, bytes};

fn files() -> &'static BTreeMap<&'static str, Vec<u8>> {
    static FILES: LazyLock<BTreeMap<&'static str, Vec<u8>>> = LazyLock::new(|| {
        BTreeMap::from([
            ("big", bytes(1, 7 * MIB + 12_345)),
            ("empty", vec![]),
            ("small", bytes(2, 100)),
            ("zeros", vec![0; 3 * MIB]),
            ("last", bytes(3, 2 * MIB)),
        ])
    });
    &FILES
}

fn tar() -> Vec<u8> {
    Tree::build(|tree| {
        tree.dir("d");
        for (name, content) in files() {
            tree.file(&format!("d/{name}"), content);
        }
    })
}

/// A layer in every form, and whether a single read of it must stay cheap.
fn layers() -> Vec<(&'static str, Layer, bool)> {
    static LAYERS: LazyLock<Vec<(&'static str, Layer, bool)>> = LazyLock::new(|| {
        vec![
            ("gzip", Layer::in_parts(tar(), Compression::Gzip, usize::MAX), true),
            ("gzip of many members", Layer::in_parts(tar(), Compression::Gzip, 700_000), true),
            ("zstd of many frames", Layer::in_parts(tar(), Compression::Zstd, 400_000), true),
            ("zstd of one frame", Layer::in_parts(tar(), Compression::Zstd, usize::MAX), false),
            ("uncompressed", Layer::in_parts(tar(), Compression::None, usize::MAX), true),
        ]
    });
    LAYERS.clone()
}

struct Node {
    _dir: tempfile::TempDir,
    store: Arc<Store>,
}

impl Node {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(dir.path(), Options::default()).unwrap());
        Self { store, _dir: dir }
    }

    async fn open(&self, layer: &Layer, source: Arc<dyn RangeSource>) -> Opened {
        let spec = LayerSpec {
            blob: layer.digest(),
            format: LayerFormat::Tar,
            compression: layer.compression,
            diff_id: None,
            source,
            annotations: Default::default(),
            external: None,
            soci: None,
        };
        open(&self.store, &[spec], &Timeline::new(Clock::system())).await.unwrap()
    }

    /// A node that knows the layer's index and has none of its bytes.
    async fn emptied(layer: &Layer) -> Self {
        let node = Self::new();
        drop(node.open(layer, memory(layer)).await);
        node.store.drop_data(&layer.digest()).unwrap();
        node
    }
}

/// A machine with nothing else to do.
fn free() -> Spare {
    Arc::new(|| true)
}

fn memory(layer: &Layer) -> Arc<dyn RangeSource> {
    Arc::new(MemorySource::new("blob", layer.blob.clone()))
}

async fn check(image: &Image, name: &str, offset: u64, len: u32) {
    let id = image.tree().find(&format!("d/{name}")).unwrap();
    let content = &files()[name];
    let from = (offset as usize).min(content.len());
    let to = (from + len as usize).min(content.len());
    let read = match image.try_read(id, offset, len) {
        Some(read) => read,
        None => image.read(id, offset, len).await,
    };
    assert!(read.unwrap() == content[from..to], "{name} at {offset}, {len} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_layer_is_complete_and_right() {
    for (what, layer, _) in layers() {
        let node = Node::new();
        let opened = node.open(&layer, memory(&layer)).await;
        assert_eq!((opened.streamed, opened.image.is_complete()), (1, true), "{what}");
        for (name, content) in files() {
            check(&opened.image, name, 0, content.len() as u32 + 10).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_node_reads_any_place_and_moves_little() {
    for (what, layer, lazy) in layers() {
        let node = Node::emptied(&layer).await;
        let opened = node.open(&layer, memory(&layer)).await;
        assert_eq!((opened.known, opened.image.is_complete()), (1, false), "{what}");
        for (name, offset, len) in [("last", MIB as u64, 5000), ("small", 3, 10), ("big", 5_000_000, 100_000)]
        {
            check(&opened.image, name, offset, len).await;
        }
        let moved = opened.image.moved_bytes();
        assert!(moved > 0, "{what}");
        if lazy {
            assert!(moved < layer.blob.len() as u64 * 3 / 4, "{what}: {moved} of {}", layer.blob.len());
        }
        for (name, content) in files() {
            check(&opened.image, name, 0, content.len() as u32).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prefetch_brings_everything_and_the_profile_first() {
    let (_, layer, _) = layers().remove(0);
    let node = Node::emptied(&layer).await;
    let first = node.open(&layer, memory(&layer)).await.image;
    check(&first, "last", 0, 10).await;
    let profile = first.touched();
    assert!(!profile.is_empty());
    drop(first);
    // The neighbours that came along with the read hold the layer until they have landed.
    while node.store.drop_data(&layer.digest()).is_err() {
        tokio::task::yield_now().await;
    }
    let image = node.open(&layer, memory(&layer)).await.image;
    image.start_prefetch(Some(&profile), &free());
    while !image.is_complete() {
        tokio::task::yield_now().await;
    }
    check(&image, "big", 0, 7 * MIB as u32).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_is_survived_or_reported_and_never_read_as_zeros() {
    let (_, layer, _) = layers().remove(0);
    // One flipped bit on the way: asked for again, and right.
    let node = Node::emptied(&layer).await;
    let flips = Faulty::new(memory(&layer), |n| if n == 0 { Fault::Flip } else { Fault::None });
    let image = node.open(&layer, Arc::new(flips)).await.image;
    check(&image, "last", 0, 100).await;
    // Wrong for good, or dead for good: EIO.
    for fault in [Fault::Flip, Fault::Status(500), Fault::Short(10)] {
        let node = Node::emptied(&layer).await;
        let image = node.open(&layer, Arc::new(Faulty::new(memory(&layer), move |_| fault))).await.image;
        let id = image.tree().find("d/last").unwrap();
        let error = image.read(id, 0, 100).await.unwrap_err();
        assert_eq!(error.errno, 5, "{fault:?}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_here_stays_readable_when_the_source_dies() {
    let (_, layer, _) = layers().remove(0);
    let node = Node::emptied(&layer).await;
    let dies = Faulty::new(memory(&layer), |n| if n == 0 { Fault::None } else { Fault::Status(503) });
    let policy = RetryPolicy {
        attempts: 2,
        first_pause: std::time::Duration::from_millis(1),
        ..RetryPolicy::default()
    };
    let image = node.open(&layer, Arc::new(Retry::new(Arc::new(dies), policy))).await.image;
    check(&image, "last", 0, 100).await;
    let id = image.tree().find("d/big").unwrap();
    assert_eq!(image.read(id, 0, 100).await.unwrap_err().errno, 5);
    check(&image, "last", 0, 100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_blob_is_refused_by_name_and_leaves_nothing() {
    let (_, layer, _) = layers().remove(0);
    let damaged: Vec<(&str, Vec<u8>)> = vec![
        ("truncated", layer.blob[..layer.blob.len() / 2].to_vec()),
        ("flipped", {
            let mut bytes = layer.blob.to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x10;
            bytes
        }),
        ("garbage", vec![7; 5000]),
        ("empty", vec![]),
    ];
    for (what, blob) in damaged {
        let node = Node::new();
        let spec = LayerSpec {
            blob: layer.digest(),
            format: LayerFormat::Tar,
            compression: Compression::Gzip,
            diff_id: None,
            source: Arc::new(MemorySource::new("blob", blob)),
            annotations: Default::default(),
            external: None,
            soci: None,
        };
        let error = open(&node.store, &[spec], &Timeline::new(Clock::system())).await.unwrap_err();
        assert!(error.to_string().contains(&layer.digest().to_string()), "{what}: {error}");
        assert!(node.store.layer(&layer.digest()).is_none(), "{what}");
        // The same node takes the right blob afterwards.
        check(&node.open(&layer, memory(&layer)).await.image, "small", 0, 100).await;
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn random_reads_in_random_order_equal_the_bytes(
        which in 0..5_usize,
        reads in prop::collection::vec((prop::sample::select(vec!["big", "zeros", "last", "small"]), 0..8_000_000_u64, 1..600_000_u32), 1..20),
    ) {
        let (_, layer, _) = layers().remove(which);
        runtime().block_on(async {
            let node = Node::emptied(&layer).await;
            let image = node.open(&layer, memory(&layer)).await.image;
            for (name, offset, len) in reads {
                check(&image, name, offset, len).await;
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_and_prefetch_of_the_same_spans_never_wait_for_each_other_in_a_circle() {
    let (_, layer, _) = layers().remove(0);
    for round in 0..30_u64 {
        let node = Node::emptied(&layer).await;
        let image = Arc::new(node.open(&layer, memory(&layer)).await.image);
        let readers: Vec<_> = (0..8_u64)
            .map(|reader| {
                let image = image.clone();
                tokio::spawn(async move {
                    for step in 0..7 {
                        check(&image, "big", ((reader * 5 + step + round) % 7) * MIB as u64, 4096).await;
                    }
                })
            })
            .collect();
        image.start_prefetch(None, &free());
        for reader in readers {
            tokio::time::timeout(std::time::Duration::from_secs(30), reader)
                .await
                .expect("no reader hangs")
                .unwrap();
        }
    }
}

/// A registry that answers readers, and lets prefetch wait for good.
#[derive(Debug)]
struct Stuck(Arc<dyn RangeSource>);

impl RangeSource for Stuck {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn size(&self) -> u64 {
        self.0.size()
    }

    fn open(&self, range: ByteRange, cause: Cause) -> BoxFuture<'_, Result<ByteStream, SourceError>> {
        if cause == Cause::Fault {
            return self.0.open(range, cause);
        }
        Box::pin(async { Ok(Box::pin(futures::stream::pending()) as ByteStream) })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_overtakes_the_long_request_that_has_its_bytes_at_the_far_end() {
    let layer = Layer::in_parts(tar(), Compression::None, usize::MAX);
    let node = Node::emptied(&layer).await;
    let image = node.open(&layer, Arc::new(Stuck(memory(&layer)))).await.image;
    image.settle();
    image.start_prefetch(None, &free());
    // Three requests have the first spans of all that is missing; the reader's are at the end of one of them, or of none yet.
    let reads = async {
        for mib in (2..7).rev() {
            check(&image, "big", mib * MIB as u64, 4096).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), reads)
        .await
        .expect("no reader waits for the stuck");
}
