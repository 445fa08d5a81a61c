//! Long layers become several, which give the same tree.

use glowplug_convert::{ConvertError, Encoding, LEAST_LAYER_BYTES, Settings, Watch};
use glowplug_tarwalk::Kind;
use glowplug_testkit::{Entry, Layer, Tree};
use glowplug_toc::estargz::{NO_PREFETCH_LANDMARK, PREFETCH_LANDMARK};

use crate::fixture::{
    ENCODINGS, at, convert, convert_watched, decode, image, layer, noise, open, settings, walk,
};
use crate::looked::look;

const LEAST: usize = LEAST_LAYER_BYTES as usize;

fn repacked(encoding: Encoding) -> Settings {
    Settings { layer_bytes: Some(LEAST_LAYER_BYTES), ..settings(encoding) }
}

/// Layers of which the first and the last have to be split: with links, whiteouts, a directory that is opaque, attributes
/// and times of directories, and a file that is longer than a layer may be.
fn layers() -> Vec<Layer> {
    let low = Tree::build(|tree| {
        tree.add(Entry::dir("d").mode(0o2750).owner(3, 4).mtime(11, 0).xattr("user.a", "b"));
        tree.add(Entry::dir("d/deep").mode(0o700).mtime(12, 0)).add(Entry::dir("empty").mtime(13, 0));
        for number in 0..12 {
            tree.file(&format!("d/deep/{number}"), noise(number, LEAST / 5));
            tree.file(&format!("d/implied/{number}"), noise(100 + number, LEAST / 9));
        }
        tree.file("whole", noise(50, 3 * LEAST)).dir("gone").file("gone/x", "x").file("old/y", "y");
        tree.hardlink("d/one more", "d/deep/1").hardlink("and another", "d/one more").symlink("to", "d/deep");
        tree.add(Entry::char_device("null", 1, 3)).add(Entry::fifo("fifo"));
    });
    let high = Tree::build(|tree| {
        tree.add(Entry::dir("d").mode(0o755).mtime(21, 0)).whiteout("gone").dir("old").opaque("old");
        for number in 0..6 {
            tree.file(&format!("old/{number}"), noise(200 + number, LEAST / 3));
        }
        tree.whiteout("d/deep/3").add(Entry::file("d/deep/4", "new").mode(0o4755));
    });
    vec![
        layer(low),
        layer(Tree::build(|_| ())),
        layer(Tree::build(|tree| _ = tree.dir("small"))),
        layer(high),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pieces_give_the_tree_of_the_layer_in_every_format() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("from");
    let history = serde_json::json!([
        { "created_by": "one" }, { "created_by": "ENV", "empty_layer": true }, { "created_by": "two" },
        { "created_by": "three" }, { "created_by": "four" }]);
    let built = layers().into_iter().fold(image([]), glowplug_testkit::ImageBuilder::layer);
    built.config(|config| config["history"] = history).build().write_layout(&from, None);
    let before = look(&from).await;
    let shown = before.files();
    for encoding in ENCODINGS {
        for (name, order) in [("in order", shown.iter().rev().cloned().collect()), ("as it was", vec![])] {
            let what = format!("{encoding:?} {name}");
            let to = dir.path().join(&what);
            let settings = Settings { order, ..repacked(encoding) };
            let converted = convert(&at(&from, ""), &at(&to, ""), &settings).await.unwrap();
            look(&to).await.assert_same(&before, &what).await;
            let made = open(&to, &converted.new);
            let pieces: Vec<(usize, usize)> =
                converted.layers.iter().map(|layer| (layer.piece, layer.pieces)).collect();
            let (first, last) = (pieces[0].1, pieces[pieces.len() - 1].1);
            assert!(first > 5 && last > 2, "{what}: {pieces:?}");
            assert_eq!(pieces.len(), first + 2 + last, "an empty layer is one, and so is a short one");
            assert_eq!(converted.images[0].layers, (0..pieces.len()).collect::<Vec<_>>());
            assert_eq!(made.config["rootfs"]["diff_ids"].as_array().unwrap().len(), pieces.len());
            let history = made.config["history"].as_array().unwrap();
            assert_eq!(history.len(), pieces.len() + 1);
            assert_eq!(history[0]["comment"], format!("repacked 1 of {first}"));
            assert_eq!(
                (&history[first - 1]["created_by"], &history[first]["empty_layer"]),
                (&"one".into(), &true.into())
            );
            assert_eq!(history[first + 1], serde_json::json!({ "created_by": "two" }));
            for (number, blob) in made.layers.iter().enumerate() {
                check_piece(&decode(blob, encoding), &format!("{what} {number}"));
            }
            if encoding == Encoding::Estargz {
                let landmark =
                    if settings.order.is_empty() { NO_PREFETCH_LANDMARK } else { PREFETCH_LANDMARK };
                let tar = decode(&made.layers[0], encoding);
                assert!(walk(&tar).iter().any(|(entry, _)| entry.path == landmark.as_bytes()), "{what}");
            }
            let again = dir.path().join(format!("{what} again"));
            let again = convert(&at(&from, ""), &at(&again, ""), &settings).await.unwrap();
            assert_eq!(again.new, converted.new, "{what}");
            let twice = dir.path().join(format!("{what} twice"));
            let twice = convert(&at(&to, ""), &at(&twice, ""), &settings).await.unwrap();
            assert_eq!(twice.new, converted.new, "{what}: what is short enough stays");
        }
    }
}

/// A piece is no longer than it may be, unless it is one long file, and unpacks by itself.
fn check_piece(tar: &[u8], what: &str) {
    let entries = walk(tar);
    let names: Vec<String> =
        entries.iter().map(|(entry, _)| String::from_utf8_lossy(&entry.path).into_owned()).collect();
    let contents: usize = entries.iter().map(|(_, contents)| contents.len().next_multiple_of(512)).sum();
    let long = entries.iter().filter(|(_, contents)| contents.len() > LEAST).count();
    let own = |name: &&String| name.contains("landmark") || name.contains("stargz");
    let own: usize = entries
        .iter()
        .zip(&names)
        .filter(|(_, name)| own(name))
        .map(|((_, contents), _)| contents.len().next_multiple_of(512))
        .sum();
    assert!(contents - own <= LEAST || long == 1, "{what}: {names:?}");
    for (number, (entry, _)) in entries.iter().enumerate() {
        if entry.kind == Kind::Hardlink {
            let target = String::from_utf8_lossy(&entry.link).into_owned();
            assert!(names[..number].contains(&target), "{what}: {} to {target}", names[number]);
        }
        if names[number].starts_with("d/") {
            assert!(names[..number].contains(&"d".to_owned()), "{what}: {names:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_layers_than_engines_take_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let many = Tree::build(|tree| {
        for number in 0..126 {
            tree.file(&format!("{number}"), noise(number, LEAST));
        }
    });
    image([layer(many)]).build().write_layout(&from, None);
    let error = convert(&at(&from, ""), &at(&to, ""), &repacked(Encoding::Zstd)).await.unwrap_err();
    assert!(matches!(error, ConvertError::Layers { layers: 126, .. }), "{error:?}");
    let less = Settings { layer_bytes: Some(LEAST_LAYER_BYTES - 1), ..repacked(Encoding::Zstd) };
    let error = convert(&at(&from, ""), &at(&to, ""), &less).await.unwrap_err();
    assert!(matches!(error, ConvertError::Settings(_)), "{error:?}");
    let left = std::fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(left.collect::<Vec<_>>().iter().all(|name| !name.starts_with(".glowplug")), "nothing is left");
}

/// Notes what it is told.
#[derive(Debug, Default)]
struct Told(std::sync::Mutex<Vec<String>>);

impl Watch for Told {
    fn unpacked(&self, dir: &std::path::Path, bytes: u64) {
        self.0.lock().unwrap().push(format!("{bytes} in {}", dir.display()));
    }

    fn fixed(&self, number: usize, why: &str) {
        self.0.lock().unwrap().push(format!("{number}: {why}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disk_that_it_takes_and_what_stays_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let twice = Tree::build(|tree| _ = tree.file("a", noise(1, LEAST)).file("a", "2").file("b", "3"));
    let hides = Tree::build(|tree| _ = tree.file("a", noise(1, 2 * LEAST)).whiteout("b"));
    let bytes = twice.len() + hides.len();
    image([layer(hides), layer(twice)]).build().write_layout(&from, None);
    let told = Told::default();
    convert_watched(&at(&from, ""), &at(&to, ""), &repacked(Encoding::Zstd), &told).await.unwrap();
    assert_eq!(
        told.0.into_inner().unwrap(),
        [
            format!("{bytes} in {}", to.display()),
            "0: the lowest layer has whiteouts".to_owned(),
            "1: a path is in it twice".to_owned()
        ]
    );
    look(&to).await.assert_same(&look(&from).await, "as it was").await;
}
