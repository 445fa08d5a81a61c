//! Files of an image by path: links are followed inside it, and bytes that are missing are waited for.
#![allow(clippy::unwrap_used, reason = "clippy does not take the functions beside the tests for tests")]

use std::sync::Arc;

use glowplug_base::Clock;
use glowplug_image::{Image, LayerSpec, open};
use glowplug_oci::Compression;
use glowplug_source::MemorySource;
use glowplug_store::{Options, Store};
use glowplug_testkit::{Layer, Tree};
use glowplug_timeline::Timeline;

async fn image(store: &Arc<Store>, layer: &Layer) -> Image {
    let spec = LayerSpec {
        blob: layer.digest(),
        compression: layer.compression,
        source: Arc::new(MemorySource::new("blob", layer.blob.clone())),
        soci: None,
    };
    open(store, &[spec], &Timeline::new(Clock::system())).await.unwrap().image
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_read_by_path_through_links_that_stay_inside() {
    let tar = Tree::build(|tree| {
        tree.dir("etc").dir("usr").dir("usr/share");
        tree.file("usr/share/passwd", "inside\n").file("etc/plain", "plain\n");
        tree.symlink("etc/passwd", "/usr/share/passwd");
        tree.symlink("etc/relative", "../usr/./share/passwd");
        tree.symlink("etc/above", "../../../../../usr/share/passwd");
        tree.symlink("data", "usr/share");
        tree.symlink("etc/circle", "circle");
        tree.symlink("etc/nowhere", "/no/such/file");
        tree.symlink("etc/through", "plain/../plain");
        // Forty links lead to it, and one more.
        tree.symlink("hop-0", "/etc/plain");
        for hop in 1..=40 {
            tree.symlink(&format!("hop-{hop}"), &format!("hop-{}", hop - 1));
        }
    });
    let layer = Layer::in_parts(tar, Compression::Gzip, usize::MAX);
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(dir.path(), Options::default()).unwrap());
    drop(image(&store, &layer).await);
    store.drop_data(&layer.digest()).unwrap();
    let image = image(&store, &layer).await;
    for path in ["etc/passwd", "/etc//passwd", "etc/relative", "etc/above", "data/passwd", "../data/./passwd"]
    {
        assert_eq!(image.read_path(path, 100).await.unwrap().as_deref(), Some(&b"inside\n"[..]), "{path}");
    }
    assert_eq!(image.read_path("hop-39", 3).await.unwrap().as_deref(), Some(&b"pla"[..]));
    for path in
        ["etc/circle", "etc/nowhere", "etc", "etc/plain/x", "etc/plain/..", "etc/through", "", "hop-40"]
    {
        assert_eq!(image.read_path(path, 100).await.unwrap(), None, "{path}");
    }
}
