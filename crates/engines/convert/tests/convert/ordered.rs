//! Files of an order come first, in the layer that shows them, and nothing else changes.

use glowplug_convert::{Dialect, Encoding, Settings};
use glowplug_layer::Origin;
use glowplug_testkit::{Entry, Layer, Tree};
use glowplug_toc::estargz::{NO_PREFETCH_LANDMARK, PREFETCH_LANDMARK, TOC_NAME};

use crate::fixture::{ENCODINGS, at, convert, decode, image, layer, noise, open, settings, varied, walk};
use crate::looked::look;

fn ordered(encoding: Encoding, order: &[&str]) -> Settings {
    Settings { order: order.iter().map(|path| (*path).to_owned()).collect(), ..settings(encoding) }
}

fn base() -> Layer {
    layer(Tree::build(|tree| {
        tree.add(Entry::dir("./").mode(0o755)).add(Entry::dir("./lib").mode(0o750).mtime(7, 0));
        tree.file("./lib/a", noise(1, 40_000)).file("./lib/b", noise(2, 20_000)).file("./first", "first");
        tree.hardlink("./lib/again", "lib/b").file("./lib/c", noise(3, 30_000)).symlink("./link", "lib/a");
        tree.dir("./etc").file("./etc/gone", "gone").file("./etc/hidden", "below").file("./etc/kept", "kept");
    }))
}

fn over() -> Layer {
    layer(Tree::build(|tree| {
        tree.dir("etc").whiteout("etc/gone").file("etc/new", "new").file("etc/hidden", "above");
        tree.file("z", noise(5, 50_000));
    }))
}

/// Names of a tar's entries in their order.
fn names(tar: &[u8]) -> Vec<String> {
    walk(tar).into_iter().map(|(entry, _)| String::from_utf8(entry.path).unwrap()).collect()
}

const ORDER: [&str; 7] = ["lib/c", "z", "etc/hidden", "nowhere", "etc/gone", "lib/again", "first"];

#[tokio::test(flavor = "multi_thread")]
async fn each_layer_begins_with_what_it_shows_of_the_order() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("from");
    let built = image([base(), over()]).build();
    built.write_layout(&from, None);
    let before = look(&from).await;
    for encoding in ENCODINGS {
        let to = dir.path().join(format!("{encoding:?}"));
        let converted = convert(&at(&from, ""), &at(&to, ""), &ordered(encoding, &ORDER)).await.unwrap();
        let made = open(&to, &converted.new);
        let tars: Vec<Vec<u8>> = made.layers.iter().map(|blob| decode(blob, encoding)).collect();
        // Parents come along, what hides comes before, and of hard links the file and all its names.
        let (mut low, mut high) = (
            vec!["./", "./lib", "./lib/c", "./lib/b", "./lib/again", "./first"],
            vec!["etc", "etc/.wh.gone", "z", "etc/hidden"],
        );
        if encoding == Encoding::Estargz {
            low.push(PREFETCH_LANDMARK);
            high.push(PREFETCH_LANDMARK);
        }
        low.extend(["./lib/a", "./link", "./etc", "./etc/gone", "./etc/hidden", "./etc/kept"]);
        high.extend(["etc/new"]);
        if encoding == Encoding::Estargz {
            low.push(TOC_NAME);
            high.push(TOC_NAME);
        }
        assert_eq!(names(&tars[0]), low, "{encoding:?}");
        assert_eq!(names(&tars[1]), high, "{encoding:?}");
        look(&to).await.assert_same(&before, &format!("{encoding:?}")).await;
        // Headers move as they are.
        for (old, new) in built.layers.iter().zip(&tars) {
            let header = |tar: &[u8], entry: &glowplug_tarwalk::Entry| {
                tar[entry.header_offset as usize..entry.payload_offset as usize].to_vec()
            };
            let new: Vec<_> = walk(new).into_iter().map(|(entry, it)| (header(new, &entry), it)).collect();
            for (entry, contents) in walk(&old.tar) {
                assert!(new.contains(&(header(&old.tar, &entry), contents)));
            }
        }
        // Once more changes nothing, and another order does.
        let again = dir.path().join(format!("{encoding:?} again"));
        let again = convert(&at(&to, ""), &at(&again, ""), &ordered(encoding, &ORDER)).await.unwrap();
        assert_eq!(again.new, converted.new, "{encoding:?}");
        let other = dir.path().join(format!("{encoding:?} other"));
        let other = convert(&at(&from, ""), &at(&other, ""), &ordered(encoding, &ORDER[1..])).await.unwrap();
        assert_ne!(other.new, converted.new, "{encoding:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_first_is_what_readers_are_told_to_fetch_first() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    image([base(), layer(Tree::build(|tree| _ = tree.file("of no order", "x"))), over()])
        .build()
        .write_layout(&from, None);
    convert(&at(&from, ""), &at(&to, ""), &ordered(Encoding::Estargz, &ORDER)).await.unwrap();
    let looked = look(&to).await;
    let first: Vec<Vec<String>> = looked
        .image
        .layers()
        .map(|layer| {
            let index = layer.index();
            assert_eq!(index.origin, Origin::Toc);
            let wanted = |stream: u64| {
                let span = index.spans.partition_point(|span| span.stream.end <= stream) as u32;
                index.prefetch.iter().any(|range| range.contains(&span))
            };
            let files = index.entries.iter().filter(|entry| {
                !entry.extents.is_empty() && entry.extents.iter().all(|extent| wanted(extent.stream))
            });
            files.map(|entry| String::from_utf8(entry.path.clone()).unwrap()).collect()
        })
        .collect();
    assert_eq!(
        first,
        [vec!["lib/c", "lib/b", "first"], vec![], vec!["z", "etc/hidden"]],
        "no landmark, no file that is hidden, and no layer without a file of the order"
    );
    assert_eq!(looked.image.tree().find(PREFETCH_LANDMARK), None);
    assert_eq!(looked.image.tree().find(NO_PREFETCH_LANDMARK), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tar_in_which_the_order_says_something_stays_in_its_order() {
    let twice = Tree::build(|tree| _ = tree.file("a", "1").file("b", "2").file("a", "3"));
    let through_link =
        Tree::build(|tree| _ = tree.dir("usr").symlink("lib", "usr").file("lib/x", "x").file("y", "y"));
    let late = Tree::build(|tree| _ = tree.file("d/x", "x").add(Entry::dir("d").mode(0o700)).file("y", "y"));
    let hides_own = Tree::build(|tree| _ = tree.whiteout("d").dir("d").file("d/x", "x").file("y", "y"));
    let mut global = Tree::build(|tree| _ = tree.file("a", "1"));
    global.truncate(1024);
    let mut header = Tree::build(|tree| _ = tree.file("g", "13 comment=x\n").file("y", "2"));
    header[156] = b'g';
    header[148..156].fill(b' ');
    let sum: u32 = header[..512].iter().map(|&byte| u32::from(byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    global.extend(header);
    let dir = tempfile::tempdir().unwrap();
    for (number, tar) in [twice, through_link, late, hides_own, global].into_iter().enumerate() {
        let (from, to) = (dir.path().join(format!("{number} from")), dir.path().join(format!("{number}")));
        let below = layer(Tree::build(|tree| _ = tree.dir("d").file("d/below", "b")));
        image([below, layer(tar.clone())]).build().write_layout(&from, None);
        let settings = ordered(Encoding::ZstdChunked(Dialect::Stargz), &["y", "b", "d/x", "d/below"]);
        let converted = convert(&at(&from, ""), &at(&to, ""), &settings).await.unwrap();
        let made = open(&to, &converted.new);
        assert!(decode(&made.layers[1], settings.encoding) == tar, "{number}");
        look(&to).await.assert_same(&look(&from).await, &number.to_string()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_a_layer_can_have_may_move() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("from");
    let below =
        layer(Tree::build(|tree| _ = tree.dir("bin").file("bin/below", "hidden").file("data/gone", "x")));
    image([below, layer(varied())]).build().write_layout(&from, None);
    let before = look(&from).await;
    let order = ["last", "bin/special", "data/many", "links/7", "bin/again", "data/less.text"];
    // The tables of the other formats have whole seconds.
    for encoding in [Encoding::Gzip, Encoding::Zstd, Encoding::ZstdChunked(Dialect::Storage)] {
        let to = dir.path().join(format!("{encoding:?}"));
        let converted = convert(&at(&from, ""), &at(&to, ""), &ordered(encoding, &order)).await.unwrap();
        look(&to).await.assert_same(&before, &format!("{encoding:?}")).await;
        let made = open(&to, &converted.new);
        let first = ["data/", "data/.wh.gone", "bin", "bin/.wh..wh..opq", "last", "bin/special", "data/many"];
        assert_eq!(names(&decode(&made.layers[1], encoding))[..7], first);
        if matches!(encoding, Encoding::ZstdChunked(_)) {
            let listed = &made.manifest.layers[1].annotations;
            assert!(listed.keys().any(|key| key.ends_with("tarsplit-position")), "{listed:?}");
        }
    }
}
