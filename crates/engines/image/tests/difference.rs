//! What differs between two images is told, with its reasons, and nothing is read that need not be.
#![allow(clippy::unwrap_used, reason = "clippy does not take the functions beside the tests for tests")]

use std::sync::Arc;

use glowplug_base::Clock;
use glowplug_image::difference::{Aspect, Change, Closeness, Difference, compare, totals};
use glowplug_image::{Image, LayerSpec, Tree as Merged, open};
use glowplug_oci::LayerFormat;
use glowplug_source::MemorySource;
use glowplug_store::{Options, Store};
use glowplug_testkit::{Entry, Layer};
use glowplug_timeline::Timeline;

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

    async fn image(&self, layers: &[Layer]) -> Image {
        let spec = |layer: &Layer| LayerSpec {
            blob: layer.digest(),
            format: LayerFormat::Tar,
            compression: layer.compression,
            diff_id: None,
            source: Arc::new(MemorySource::new("blob", layer.blob.clone())),
            annotations: layer.annotations.iter().cloned().collect(),
            external: None,
            soci: None,
        };
        let layers: Vec<LayerSpec> = layers.iter().map(spec).collect();
        open(&self.store, &layers, &Timeline::new(Clock::system())).await.unwrap().image
    }
}

/// Differences as lines: `+` added, `-` removed, `!` changed and why.
fn lines(found: &[Difference]) -> Vec<String> {
    let line = |Difference { path, change }: &Difference| {
        let path = String::from_utf8_lossy(path);
        match change {
            Change::Added(_) => format!("+ {path}"),
            Change::Removed(_) => format!("- {path}"),
            Change::Changed { why, .. } => {
                let why: Vec<String> = why.iter().map(ToString::to_string).collect();
                format!("! {path}: {}", why.join(" "))
            }
        }
    };
    found.iter().map(line).collect()
}

async fn told(before: &Image, after: &Image, times: bool, contents: bool) -> Vec<String> {
    lines(&compare(before, after, Closeness { times, contents }).decide().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_difference_is_told_with_its_reason() {
    let base = Layer::gzip(|tree| {
        tree.dir("d").file("d/gone", "12345").file("d/stays", "same").dir("d/sub").file("d/sub/x", "x");
        tree.file("grows", "1")
            .file("mode", "m")
            .file("owner", "o")
            .file("turns", "file")
            .file("hidden", "h");
        tree.symlink("link", "d/stays").file("text", "old text");
        tree.add(Entry::char_device("null", 1, 3)).add(Entry::file("tagged", "t").xattr("user.a", "1"));
    });
    let over = Layer::zstd(|tree| {
        tree.whiteout("d/gone").whiteout("d/sub").whiteout("hidden").dir("d/new").file("d/new/y", "yy");
        tree.file("grows", "12").symlink("link", "d/elsewhere").dir("turns").file("turns/inside", "i");
        tree.add(Entry::file("mode", "m").mode(0o4755)).add(Entry::file("owner", "o").owner(5, 6));
        tree.add(Entry::file("text", "new text").mtime(5, 0)).add(Entry::char_device("null", 1, 5));
        tree.add(Entry::file("tagged", "t").xattr("user.a", "2"));
    });
    let node = Node::new();
    let (before, after) = (node.image(std::slice::from_ref(&base)).await, node.image(&[base, over]).await);
    let forth = told(&before, &after, false, false).await;
    let expected = [
        "- d/gone",
        "+ d/new",
        "+ d/new/y",
        "- d/sub",
        "- d/sub/x",
        "! grows: size",
        "- hidden",
        "! link: link",
        "! mode: mode",
        "! null: device",
        "! owner: owner",
        "! tagged: xattrs",
        "! text: contents",
        "! turns: type mode",
        "+ turns/inside",
    ];
    assert_eq!(forth, expected);
    let back = told(&after, &before, false, false).await;
    let swapped = |line: &str| match line.split_at(1) {
        ("+", rest) => format!("-{rest}"),
        ("-", rest) => format!("+{rest}"),
        _ => line.to_owned(),
    };
    assert_eq!(back, expected.map(swapped));
    assert!(told(&before, &before, true, true).await.is_empty());
    assert_eq!(totals(before.tree()), (10, 5 + 4 + 1 + 1 + 1 + 1 + 4 + 1 + 8 + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn times_are_a_hint_unless_they_count() {
    let file = |name: &str, text: &str, mtime| Entry::file(name, text).mtime(mtime, 0);
    let before = Layer::gzip(|tree| {
        tree.add(file("alike", "aaa", 1)).add(file("sly", "bbb", 1)).add(file("touched", "ccc", 1));
        tree.add(file("edited", "ddd", 1)).add(file("empty", "", 1));
        tree.add(Entry::hardlink("other-name", "edited").mtime(1, 0));
    });
    let after = Layer::plain(|tree| {
        tree.add(file("alike", "aaa", 1)).add(file("sly", "BBB", 1)).add(file("touched", "ccc", 2));
        tree.add(file("edited", "DDD", 2)).add(file("empty", "", 2));
        tree.add(Entry::hardlink("other-name", "edited").mtime(2, 0));
    });
    let node = Node::new();
    let (before, after) = (node.image(&[before]).await, node.image(&[after]).await);
    assert_eq!(compare(&before, &after, Closeness::default()).doubtful(), (2, 6), "two names are one file");
    let edited = ["! edited: contents", "! other-name: contents"];
    assert_eq!(told(&before, &after, false, false).await, edited);
    assert_eq!(told(&before, &after, false, true).await, [edited[0], edited[1], "! sly: contents"]);
    assert_eq!(
        told(&before, &after, true, false).await,
        ["! edited: contents time", "! empty: time", "! other-name: contents time", "! touched: time"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_to_be_the_same_is_not_read() {
    let big = Layer::gzip(|tree| {
        tree.file("big", vec![7; 3_000_000]).file("other", vec![1; 2_000_000]).hardlink("second", "big");
    });
    let small = Layer::gzip(|tree| {
        tree.file("small", "s");
    });
    let node = Node::new();
    drop(node.image(&[big.clone(), small.clone()]).await);
    for layer in [&big, &small] {
        node.store.drop_data(&layer.digest()).unwrap();
    }
    let (before, after) = (node.image(std::slice::from_ref(&big)).await, node.image(&[big, small]).await);
    let comparison = compare(&before, &after, Closeness { times: true, contents: true });
    assert_eq!(comparison.doubtful(), (0, 0), "the layer is the same");
    assert_eq!(lines(&comparison.decide().await.unwrap()), ["+ small"]);
    assert_eq!(before.moved_bytes() + after.moved_bytes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_bytes_and_paths_may_be_deep() {
    let deep = vec!["d"; 1500].join("/");
    let before = Layer::gzip(|tree| {
        tree.file(&deep, "deep").add(Entry::file(b"\xff\xfe", "not text"));
    });
    let after = Layer::gzip(|tree| {
        tree.add(Entry::file(b"\xff\xfd", "not text"));
    });
    let node = Node::new();
    let (before, after) = (node.image(&[before]).await, node.image(&[after]).await);
    let found = compare(&before, &after, Closeness::default()).decide().await.unwrap();
    assert_eq!(found.len(), 1502);
    assert_eq!(found[1499], Difference { path: deep.clone().into(), change: found[1499].change.clone() });
    assert_eq!(found[1500].path, b"\xff\xfd");
    assert!(matches!((&found[1500].change, &found[1501].change), (Change::Added(_), Change::Removed(_))));
    let listed: Vec<Vec<u8>> = before.tree().below(Merged::ROOT).map(|(path, _)| path).collect();
    assert_eq!((listed.len(), &listed[1499]), (1501, &deep.into_bytes()));
    assert_eq!(listed[1500], b"\xff\xfe");
    assert_eq!(before.tree().path_bytes(before.tree().find("d/d").unwrap()), b"/d/d");
}

#[test]
fn reasons_have_names() {
    assert_eq!([Aspect::Type, Aspect::Contents].map(|aspect| aspect.to_string()), ["type", "contents"]);
}
