//! Merging against hand-written cases and against a plain in-memory overlay.

use std::collections::BTreeMap;

use glowplug_layer::{Entry, Kind};
use proptest::prelude::*;

use super::{Merger, Tree, TreeError};

fn entry(path: &str, kind: Kind, link: &str) -> Entry {
    Entry {
        path: path.into(),
        kind,
        link: link.into(),
        mode: 0o640,
        uid: 1,
        gid: 2,
        mtime_s: 3,
        mtime_ns: 4,
        device: (0, 0),
        size: 0,
        xattrs: vec![],
        extents: vec![],
    }
}

fn file(path: &str) -> Entry {
    entry(path, Kind::File, "")
}

fn dir(path: &str) -> Entry {
    entry(path, Kind::Directory, "")
}

fn merge(layers: &[Vec<Entry>]) -> Result<Tree, TreeError> {
    let mut merger = Merger::new();
    layers.iter().try_for_each(|layer| merger.add(layer))?;
    Ok(merger.finish())
}

/// Every path of the tree with the layer its node came from; directories that no layer names come from none.
fn listing(tree: &Tree) -> BTreeMap<String, Option<u32>> {
    let mut found = BTreeMap::new();
    let mut todo = vec![(String::new(), Tree::ROOT)];
    while let Some((path, id)) = todo.pop() {
        let node = tree.node(id).unwrap();
        todo.extend(
            node.children.iter().map(|(name, id)| (format!("{path}/{}", String::from_utf8_lossy(name)), *id)),
        );
        found.insert(path, node.origin.map(|origin| origin.0));
    }
    found.remove("");
    found
}

fn paths(layers: &[Vec<Entry>]) -> Vec<String> {
    listing(&merge(layers).unwrap()).into_keys().collect()
}

#[test]
fn whiteouts_remove_what_is_below_and_nothing_else() {
    let below = vec![dir("a"), file("a/x"), file("a/y"), dir("b"), file("b/z")];
    assert_eq!(paths(&[below.clone(), vec![file("a/.wh.x")]]), ["/a", "/a/y", "/b", "/b/z"]);
    assert_eq!(paths(&[below.clone(), vec![file(".wh.a")]]), ["/b", "/b/z"]);
    let opaque = vec![file("a/new"), file("a/.wh..wh..opq")];
    assert_eq!(paths(&[below.clone(), opaque]), ["/a", "/a/new", "/b", "/b/z"], "the marker may come last");
    let replaced = vec![file(".wh.b"), dir("b"), file("b/new")];
    assert_eq!(paths(&[below.clone(), replaced]), ["/a", "/a/x", "/a/y", "/b", "/b/new"]);
    assert_eq!(
        paths(&[below, vec![file("c/.wh.x"), file(".wh..wh.plnk")]]).len(),
        5,
        "nothing to remove is no error"
    );
}

#[test]
fn links_in_parent_paths_are_followed_inside_the_image() {
    let below = vec![
        dir("usr"),
        dir("usr/lib"),
        entry("lib", Kind::Symlink, "usr/lib"),
        entry("up", Kind::Symlink, "../../usr"),
    ];
    let above =
        vec![file("lib/libc.so"), file("up/share/doc"), entry("abs", Kind::Symlink, "/lib"), file("abs/x")];
    let found = paths(&[below, above]);
    for path in ["/usr/lib/libc.so", "/usr/share/doc", "/usr/lib/x", "/lib"] {
        assert!(found.contains(&path.to_owned()), "{path} in {found:?}");
    }
}

#[test]
fn hard_links_share_a_node_across_layers() {
    let tree =
        merge(&[vec![file("a")], vec![entry("d/b", Kind::Hardlink, "a"), entry("c", Kind::Hardlink, "d/b")]])
            .unwrap();
    let ids = ["a", "d/b", "c"].map(|path| tree.find(path).unwrap());
    assert_eq!((ids[0], ids[1]), (ids[1], ids[2]));
    assert_eq!(tree.node(ids[0]).unwrap().links, 3);
    assert!(matches!(merge(&[vec![entry("b", Kind::Hardlink, "a")]]), Err(TreeError::Target { .. })));
}

#[test]
fn impossible_trees_are_refused() {
    assert!(matches!(merge(&[vec![file("a"), file("a/b")]]), Err(TreeError::NotDirectory { .. })));
    let circle = vec![entry("a", Kind::Symlink, "b"), entry("b", Kind::Symlink, "a"), file("a/x")];
    assert!(matches!(merge(&[circle]), Err(TreeError::Loop { .. })));
}

#[test]
fn attributes_of_a_directory_change_and_its_children_stay() {
    let mut changed = dir("a");
    changed.mode = 0o1777;
    let tree = merge(&[vec![dir("a"), file("a/x"), dir("a/s")], vec![changed]]).unwrap();
    let node = tree.node(tree.find("a").unwrap()).unwrap();
    assert_eq!((node.mode, node.children.len(), node.links), (0o1777, 2, 3));
}

/// What one layer does, over a small set of names so that layers meet.
fn layer() -> impl Strategy<Value = Vec<Entry>> {
    let path = prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4)
        .prop_map(|names| names.join("/"));
    let one = (path, 0..6).prop_map(|(path, what)| {
        let (parent, name) =
            path.rsplit_once('/').map_or(("", path.as_str()), |(parent, name)| (parent, name));
        let joined =
            |name: &str| if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") };
        match what {
            0 | 1 => file(&path),
            2 | 3 => dir(&path),
            4 => file(&joined(&format!(".wh.{name}"))),
            _ => file(&joined(".wh..wh..opq")),
        }
    });
    prop::collection::vec(one, 0..8)
}

/// A plain overlay: a map from paths to (is a directory, layer that made it), whiteouts of a layer applied to the map
/// as lower layers left it before the layer's entries are.
fn model(layers: &[Vec<Entry>]) -> Option<BTreeMap<String, bool>> {
    let mut all: BTreeMap<String, bool> = BTreeMap::new();
    for layer in layers {
        let text = |entry: &Entry| String::from_utf8(entry.path.clone()).unwrap();
        for entry in layer {
            let path = text(entry);
            let (parent, name) =
                path.rsplit_once('/').map_or(("", path.as_str()), |(parent, name)| (parent, name));
            let removed = match name.strip_prefix(".wh.") {
                Some(".wh..opq") if parent.is_empty() => String::new(),
                Some(".wh..opq") => format!("{parent}/"),
                Some(name) if parent.is_empty() => name.to_owned(),
                Some(name) => format!("{parent}/{name}"),
                None => continue,
            };
            let below = if removed.is_empty() || removed.ends_with('/') {
                removed.clone()
            } else {
                format!("{removed}/")
            };
            all.retain(|path, _| !(path.starts_with(&below) || *path == removed));
        }
        for entry in layer.iter().filter(|entry| !text(entry).contains(".wh.")) {
            let path = text(entry);
            let parts: Vec<_> = path.split('/').collect();
            for depth in 1..parts.len() {
                if !*all.entry(parts[..depth].join("/")).or_insert(true) {
                    return None;
                }
            }
            let is_dir = entry.kind == Kind::Directory;
            if !(is_dir && all.get(&path) == Some(&true)) {
                all.retain(|old, _| !old.starts_with(&format!("{path}/")));
                all.insert(path, is_dir);
            }
        }
    }
    Some(all)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn agrees_with_a_plain_overlay(layers in prop::collection::vec(layer(), 1..4)) {
        // Whiteouts first, so that the model's order is the layer's.
        let sorted: Vec<Vec<_>> = layers
            .into_iter()
            .map(|mut layer| {
                layer.sort_by_key(|entry| !String::from_utf8_lossy(&entry.path).contains(".wh."));
                layer
            })
            .collect();
        match (merge(&sorted), model(&sorted)) {
            (Ok(tree), Some(model)) => {
                let found: Vec<_> = listing(&tree).into_keys().collect();
                let expected: Vec<_> = model.keys().map(|path| format!("/{path}")).collect();
                prop_assert_eq!(found, expected);
            }
            (Err(_), None) => {}
            (merged, model) => prop_assert!(false, "{:?} against {:?}", merged.map(|tree| listing(&tree)), model),
        }
    }
}
