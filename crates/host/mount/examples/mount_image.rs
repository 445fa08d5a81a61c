//! Mounts an image of this machine until standard input ends; prints the door and the root once it is there.
//!
//! `cargo xtask bench read` reads through it:
//! `cargo run --release -p glowplug-mount --example mount_image -- LAYOUT STORE WORK fuse|lazy|erofs`
//! With `fuse` and `lazy` the image is mounted while its bytes are missing and they are brought then.
#![allow(clippy::unwrap_used)]

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use glowplug_base::Clock;
use glowplug_image::{Image, LayerSpec, open};
use glowplug_mount::{Door, Rootfs, Wish};
use glowplug_oci::{Limits, Platform, Source};
use glowplug_registry::{Client, Target, resolve};
use glowplug_store::{Options, Store};
use glowplug_timeline::Timeline;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [layout, root, work, door] = &words[..] else {
        panic!("usage: mount_image LAYOUT STORE WORK fuse|lazy|erofs")
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let store = Arc::new(Store::open(Path::new(root), Options::default()).unwrap());
    let rootfs = runtime.block_on(async {
        let source: Source = format!("oci:{layout}").parse().unwrap();
        let client = Client::new(glowplug_registry::Options::default()).unwrap();
        let repository = client.open(&source).await.unwrap();
        let found = resolve(&*repository, Target::from(&source), &Platform::host(), &Limits::default())
            .await
            .unwrap();
        let layers = found.layers.iter().map(|layer| LayerSpec {
            blob: layer.descriptor.digest,
            format: layer.kind.format,
            compression: layer.kind.compression,
            diff_id: Some(layer.diff_id),
            source: repository.resilient_blob(&layer.descriptor),
            annotations: layer.descriptor.annotations.clone(),
            external: None,
            soci: None,
        });
        let layers: Vec<_> = layers.collect();
        let image = opened(&store, &layers).await;
        let runtime = tokio::runtime::Handle::current();
        if door == "erofs" {
            complete(&image).await;
            return Rootfs::mount(&image, Path::new(work), &runtime, Wish::Fastest).unwrap();
        }
        drop(image);
        for layer in &layers {
            store.drop_data(&layer.blob).unwrap();
        }
        let image = opened(&store, &layers).await;
        let wish = if door == "fuse" { Wish::Fuse } else { Wish::Watched };
        let rootfs = Rootfs::mount(&image, Path::new(work), &runtime, wish).unwrap();
        complete(&image).await;
        rootfs
    });
    let door = match rootfs.door() {
        Door::Fuse => "fuse",
        Door::Lazy => "lazy",
        Door::Erofs => "erofs",
    };
    println!("{door} {}", rootfs.path().display());
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    drop(rootfs);
}

async fn opened(store: &Arc<Store>, layers: &[LayerSpec]) -> Arc<Image> {
    Arc::new(open(store, layers, &Timeline::new(Clock::system())).await.unwrap().image)
}

/// Brings every byte and makes it durable, so that nothing is written while it is measured.
async fn complete(image: &Image) {
    image.start_prefetch(None, &(Arc::new(|| true) as glowplug_image::Spare));
    while !image.is_complete() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    image.layers().for_each(|layer| layer.flush().unwrap());
}
