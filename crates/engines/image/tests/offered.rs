//! Indexes that another node made: the layer is lazy, and what the index says is held against it once it is complete.
#![allow(clippy::unwrap_used, reason = "clippy does not take the functions beside the tests for tests")]

#[path = "shared/contents.rs"]
mod contents;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use glowplug_base::{Clock, Digest};
use glowplug_image::offered::{Neighbours, Offered, is_for_others, pack};
use glowplug_image::{LayerSpec, Opened, Spare, open_with};
use glowplug_layer::LayerIndex;
use glowplug_oci::{Compression, LayerFormat};
use glowplug_source::MemorySource;
use glowplug_store::{Options, Store};
use glowplug_testkit::{Entry, Layer, Tree};
use glowplug_timeline::Timeline;

use contents::{MIB, bytes};

/// How long a fill and its audit may take.
const PATIENCE: Duration = Duration::from_secs(60);
const COMPRESSIONS: [Compression; 3] = [Compression::Gzip, Compression::Zstd, Compression::None];

/// Another node that has one index.
#[derive(Debug)]
struct Neighbour(Bytes);

impl Neighbours for Neighbour {
    fn index(&self, _: Digest, _: u64) -> BoxFuture<'_, Option<Offered>> {
        Box::pin(async { Some(Offered { bytes: self.0.clone(), from: Some("neighbour".to_owned()) }) })
    }
}

struct Node {
    _dir: tempfile::TempDir,
    store: Arc<Store>,
}

impl Node {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { store: Arc::new(Store::open(dir.path(), Options::default()).unwrap()), _dir: dir }
    }

    async fn open(&self, layer: &Layer, neighbour: Option<&Neighbour>) -> Opened {
        let spec = LayerSpec {
            blob: layer.digest(),
            format: LayerFormat::Tar,
            compression: layer.compression,
            diff_id: Some(layer.diff_id()),
            source: Arc::new(MemorySource::new("blob", layer.blob.clone())),
            annotations: Default::default(),
            external: None,
            soci: None,
        };
        let neighbours = neighbour.map(|neighbour| neighbour as &dyn Neighbours);
        let timeline = Timeline::new(Clock::system());
        open_with(&self.store, &[spec], &[], neighbours, &timeline).await.unwrap()
    }
}

/// A layer with a sparse file, an owner that no file system has, and two files of one length.
fn layer(compression: Compression) -> Layer {
    let tar = Tree::build(|tree| {
        tree.file("a", bytes(1, 4 * MIB)).file("b", bytes(2, 3000)).file("c", bytes(3, 3000));
        let holes = Entry::file("holes", "abc").pax("GNU.sparse.major", "0").pax("GNU.sparse.minor", "1");
        let holes = holes.pax("GNU.sparse.size", "100000").pax("GNU.sparse.numblocks", "2");
        tree.add(holes.pax("GNU.sparse.map", "50,1,90000,2"));
        tree.add(Entry::dir("d").owner(1 << 40, 5)).symlink("l", "a");
    });
    Layer::from_tar(tar, compression)
}

/// What a node packs of a layer that streamed by there, with an index that `change` changed.
async fn packed(layer: &Layer, change: impl Fn(&mut LayerIndex)) -> Neighbour {
    let node = Node::new();
    let image = node.open(layer, None).await.image;
    let here = image.layers().next().unwrap();
    let honest = pack(here).unwrap().expect("an index that is worth it");
    let mut index = here.index().clone();
    let unchanged = glowplug_layer::encode(&index).unwrap();
    change(&mut index);
    let changed = glowplug_layer::encode(&index).unwrap();
    let windows = &honest[16 + unchanged.len()..];
    let length = (changed.len() as u64).to_le_bytes();
    Neighbour([&honest[..8], &length, &changed, windows].concat().into())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_of_another_node_is_confirmed_when_the_layer_is_complete_and_nothing_comes_twice() {
    for compression in COMPRESSIONS {
        let layer = layer(compression);
        let neighbour = packed(&layer, |_| ()).await;
        let node = Node::new();
        let opened = node.open(&layer, Some(&neighbour)).await;
        assert_eq!((opened.offered, opened.streamed), (1, 0), "{compression:?}");
        let here = opened.image.layers().next().unwrap();
        assert!(!is_for_others(here), "{compression:?}: nobody knows yet");
        opened.image.start_prefetch(None, &(Arc::new(|| true) as Spare));
        let confirmed = async {
            while !here.is_confirmed() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, confirmed).await.expect("an audit that ends");
        assert_eq!(opened.image.contradictions(), [], "{compression:?}");
        let shared = here.index().spans.len() as u64;
        assert!(opened.image.moved_bytes() <= layer.blob.len() as u64 + shared, "{compression:?}");
        assert!(is_for_others(here), "{compression:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_of_another_node_that_lies_is_found_out() {
    let swapped = |index: &mut LayerIndex| {
        let path = std::mem::take(&mut index.entries[1].path);
        index.entries[1].path = std::mem::replace(&mut index.entries[2].path, path);
    };
    for (said, is_readable, lie) in [
        ("/a: another owner", true, (|index| index.entries[0].uid = 7) as fn(&mut LayerIndex)),
        ("/a: another mode", true, |index| index.entries[0].mode |= 0o4000),
        ("hides /l", true, |index| _ = index.entries.pop()),
        ("/b: another place in the archive", false, swapped),
    ] {
        for compression in COMPRESSIONS {
            let layer = layer(compression);
            let neighbour = packed(&layer, lie).await;
            let node = Node::new();
            let opened = node.open(&layer, Some(&neighbour)).await;
            assert_eq!((opened.offered, opened.streamed), (1, 0), "{said}");
            opened.image.start_prefetch(None, &(Arc::new(|| true) as Spare));
            let found = tokio::time::timeout(PATIENCE, opened.image.contradicted()).await.expect(said);
            assert!(
                found.to_string().contains(said) && found.is_readable == is_readable,
                "{said}: {found:?}"
            );
            assert!(node.store.distrusts(&layer.digest()), "{said}");
        }
    }
}
