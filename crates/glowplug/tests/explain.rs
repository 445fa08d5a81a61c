//! `glowplug explain`: what it says of an index that somebody published for a layer, before and after the layer was held against it.
#![allow(clippy::unwrap_used, reason = "clippy does not take the functions beside the tests for tests")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use glowplug_base::Clock;
use glowplug_image::{Image, LayerSpec, Spare, open, soci};
use glowplug_oci::{Compression, LayerFormat};
use glowplug_source::MemorySource;
use glowplug_store::{Options, Store};
use glowplug_testkit::{ImageBuilder, Layer};
use glowplug_timeline::Timeline;
use glowplug_toc::Ztoc;
use serde_json::Value;

/// How long a fill and its audit may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn source(layer: &Layer) -> Arc<MemorySource> {
    Arc::new(MemorySource::new("blob", layer.blob.clone()))
}

/// Puts a layer with a zTOC that `change` changed into the store, and with `filled` lets it fill until `is_over`.
fn start(store: &Path, layer: &Layer, change: fn(&mut Ztoc), filled: bool, is_over: fn(&Image) -> bool) {
    // With the runtime goes whatever is still on its way and has the store open.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Arc::new(Store::open(store, Options::default()).unwrap());
        let mut ztoc =
            soci::export(&*source(layer), layer.digest(), Compression::Gzip, 1 << 20).await.unwrap();
        change(&mut ztoc);
        let size = layer.blob.len() as u64;
        let imported = soci::from_ztoc(&ztoc, layer.digest(), size, Compression::Gzip).unwrap();
        drop(soci::adopt(&store, imported).unwrap());
        let spec = LayerSpec {
            blob: layer.digest(),
            format: LayerFormat::Tar,
            compression: layer.compression,
            diff_id: Some(layer.diff_id()),
            source: source(layer),
            annotations: Default::default(),
            external: None,
            soci: None,
        };
        let image = open(&store, &[spec], &Timeline::new(Clock::system())).await.unwrap().image;
        if filled {
            image.start_prefetch(None, &(Arc::new(|| true) as Spare));
            let over = async {
                while !is_over(&image) {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(PATIENCE, over).await.expect("an audit that ends");
        }
    });
}

/// What `explain` says of the only layer of the image in `dir`, to people and to machines.
fn explain(dir: &Path) -> (String, Value) {
    let run = |json: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_glowplug"));
        command.arg("--store").arg(dir.join("store")).args(json).arg("explain");
        command.arg(format!("oci:{}", dir.join("image").display()));
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let told: Value = serde_json::from_str(&run(&["--json"])).unwrap();
    (run(&[]), told["layers"][0].clone())
}

#[test]
fn what_became_of_a_published_index_is_told() {
    let honest: fn(&mut Ztoc) = |_| ();
    let lying: fn(&mut Ztoc) = |ztoc| ztoc.entries[0].uid = 7;
    let confirmed: fn(&Image) -> bool = |image| image.layers().all(|layer| layer.is_confirmed());
    let contradicted: fn(&Image) -> bool = |image| !image.contradictions().is_empty();
    for (change, filled, is_over, said, audit) in [
        (honest, false, confirmed, "index from SOCI, not yet held against the whole layer", "pending"),
        (honest, true, confirmed, "index from SOCI, held against the whole layer", "confirmed"),
        (lying, true, contradicted, "the index published for it proved wrong", "contradicted"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let layer = Layer::gzip(|tree| _ = tree.file("a", "content").file("b", vec![b'b'; 3 << 20]));
        ImageBuilder::new().layer(layer.clone()).build().write_layout(&dir.path().join("image"), None);
        start(&dir.path().join("store"), &layer, change, filled, is_over);
        let (people, machines) = explain(dir.path());
        assert!(people.contains(said), "{people}");
        assert_eq!(machines["audit"], audit, "{machines}");
        assert_eq!(machines["lazy"], audit != "contradicted", "{machines}");
    }
}
