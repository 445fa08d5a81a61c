//! Layers that carry a table of contents: lazy at the first start, equal to their archive, and held against it while they fill.
#![allow(clippy::unwrap_used, reason = "clippy does not take the functions beside the tests for tests")]

#[path = "../shared/contents.rs"]
mod contents;
mod external;
mod fixture;
mod lies;
#[path = "../shared/odd.rs"]
mod odd;

use std::time::Duration;

use glowplug_image::Image;
use glowplug_layer::{Entry, Origin};
use glowplug_toc::estargz;
use glowplug_toc::files::Dialect;

use fixture::{DIALECTS, MIB, Node, check, files, free, make, tar};

/// The entries of an image's only layer, without where their bytes lie and without nanoseconds, which tables of eStargz leave out.
fn entries(image: &Image) -> Vec<Entry> {
    let layer = image.layers().next().unwrap();
    let bare = |entry: &Entry| Entry { extents: vec![], mtime_ns: 0, ..entry.clone() };
    layer
        .index()
        .entries
        .iter()
        .filter(|entry| !glowplug_image::toc::is_hidden(&entry.path))
        .map(bare)
        .collect()
}

/// Returns when every byte is here and the table was held against them.
async fn fill(image: &Image) {
    image.start_prefetch(None, &free());
    let confirmed = async {
        while !image.layers().all(|layer| layer.is_complete() && layer.is_confirmed()) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), confirmed).await.expect("a fill that ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_with_a_table_are_lazy_at_the_first_start() {
    for dialect in DIALECTS {
        let made = make(&tar(), dialect, &|_| ());
        let (node, plain) = (Node::new(), Node::new());
        let opened = node.open(&made).await;
        assert_eq!((opened.known, opened.adopted, opened.streamed), (0, 1, 0), "{dialect:?}");
        let before = opened.image.moved_bytes();
        assert!(
            check(&opened.image, "m/007", 0, 10_000).await && check(&opened.image, "b/last", MIB, 100).await
        );
        let moved = opened.image.moved_bytes() - before;
        assert!(moved < 700_000, "{dialect:?}: {moved} bytes for a small file and the end of a large one");

        // The same layer without annotations streams by, and has the same entries.
        let mut unnamed = made.clone();
        unnamed.annotations.clear();
        let streamed = plain.open(&unnamed).await;
        assert_eq!((streamed.adopted, streamed.streamed), (0, 1));
        let origin = |image: &Image| image.layers().next().unwrap().index().origin;
        assert_eq!((origin(&opened.image), origin(&streamed.image)), (Origin::Toc, Origin::Streamed));
        let (table, archive) = (entries(&opened.image), entries(&streamed.image));
        assert_eq!(table.len(), archive.len(), "{dialect:?}");
        table.iter().zip(&archive).for_each(|(table, archive)| assert_eq!(table, archive, "{dialect:?}"));

        for (name, content) in files() {
            for (offset, len) in [(0, 5000), (content.len() / 2, 70_000), (0, content.len())] {
                assert!(check(&opened.image, name, offset, len).await, "{dialect:?}: {name}");
            }
        }
        assert_eq!(opened.image.contradictions(), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fill_brings_everything_and_confirms_the_table() {
    for dialect in DIALECTS {
        let made = make(&tar(), dialect, &|_| ());
        let node = Node::new();
        let image = node.open(&made).await.image;
        assert!(check(&image, "b/big", 1_000_000, 10).await);
        fill(&image).await;
        assert_eq!(image.contradictions(), [], "{dialect:?}");
        for (name, content) in files() {
            assert!(check(&image, name, 0, content.len()).await, "{dialect:?}: {name}");
        }
        // A complete image goes straight to the kernel, whatever its holes.
        let erofs = image.erofs().unwrap();
        assert!(!erofs.is_empty());
        drop(image);
        let again = node.open(&made).await;
        assert_eq!((again.known, again.adopted, again.streamed), (1, 0, 0));
        assert!(again.image.layers().all(|layer| layer.is_confirmed()), "what was found out is remembered");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_maker_wants_first_comes_first() {
    // Everything before the landmark, which itself is not shown.
    let tar = glowplug_testkit::Tree::build(|tree| {
        tree.file("first", "wanted").file("second", "as well");
        tree.file(estargz::PREFETCH_LANDMARK, [estargz::LANDMARK_CONTENT]);
        tree.file("rest", "not so much");
    });
    let node = Node::new();
    let image = node.open(&make(&tar, Dialect::Estargz, &|_| ())).await.image;
    let layer = image.layers().next().unwrap();
    assert_eq!((layer.index().prefetch.len(), layer.index().prefetch.first()), (1, Some(&(0..2))));
    assert_eq!(image.tree().find(estargz::PREFETCH_LANDMARK), None);
    assert_eq!(image.tree().find(estargz::TOC_NAME), None);
    assert!(image.tree().find("rest").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_nobody_vouches_for_is_not_read() {
    let made = make(&tar(), Dialect::Estargz, &|_| ());
    let mut broken = made.clone();
    let digest = glowplug_base::Digest::of(b"another table").to_string();
    broken.annotations.insert(estargz::TOC_DIGEST_ANNOTATION.to_owned(), digest);
    let opened = Node::new().open(&broken).await;
    assert_eq!((opened.adopted, opened.streamed), (0, 1));
    let source = made.source();
    let found = glowplug_image::toc::unvouched(&*source, made.compression).await;
    assert_eq!(found, Some(glowplug_image::toc::Kind::Estargz));
}
