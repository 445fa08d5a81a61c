//! Merging against hand-written cases and against a plain in-memory overlay. What containerd shows of the same is compared
//! end to end, by `garden/e2e`.

use std::collections::BTreeMap;

use glowplug_layer::{Entry, Kind};
use proptest::prelude::*;

use super::{Merger, Node, Tree, TreeError};

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

fn link(path: &str, target: &str) -> Entry {
    entry(path, Kind::Hardlink, target)
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

fn node<'a>(tree: &'a Tree, path: &str) -> &'a Node {
    tree.node(tree.find(path).unwrap()).unwrap()
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
    let renewed = vec![file(".wh.b"), dir("b"), file("b/new")];
    assert_eq!(
        paths(&[below.clone(), renewed]),
        ["/a", "/a/x", "/a/y", "/b", "/b/new", "/b/z"],
        "a directory takes the whiteout's place, and over a directory it is joined with it"
    );
    let late = vec![dir("b"), file("b/new"), file(".wh.b")];
    assert_eq!(paths(&[below.clone(), late]), ["/a", "/a/x", "/a/y", "/b", "/b/new"]);
    let device = Entry { device: (0, 0), ..entry("a/x", Kind::Char, "") };
    assert_eq!(
        paths(&[below.clone(), vec![device]]),
        ["/a", "/a/y", "/b", "/b/z"],
        "overlayfs's own whiteout"
    );
    assert_eq!(
        paths(&[below, vec![file("c/.wh.x"), file(".wh..wh.plnk"), file(".wh..wh..opq")]]),
        ["/a", "/a/x", "/a/y", "/b", "/b/z", "/c"],
        "nothing to remove is no error, but where it would be is made; the root cannot be opaque"
    );
}

#[test]
fn in_the_lowest_layer_whiteouts_remove_what_came_before() {
    let layer =
        vec![dir("a"), file("a/x"), file("a/.wh.x"), file("a/.wh.y"), file("a/y"), dir("b"), file(".wh.b")];
    assert_eq!(paths(&[layer]), ["/a", "/a/y"]);
    let layer =
        vec![file("a/x"), file("a/sub/y"), dir("a/listed"), file("a/listed/sub/z"), file("a/.wh..wh..opq")];
    assert_eq!(paths(&[layer]), ["/a", "/a/listed", "/a/x"]);
}

#[test]
fn links_in_parent_paths_are_followed_inside_the_image() {
    let layer = [
        dir("usr"),
        dir("usr/lib"),
        entry("lib", Kind::Symlink, "usr/lib"),
        entry("up", Kind::Symlink, "../../usr"),
        entry("abs", Kind::Symlink, "/lib"),
        entry("odd", Kind::Symlink, "no/../usr"),
        entry("new", Kind::Symlink, "made/here"),
    ];
    let through = ["lib/libc.so", "up/share/doc", "abs/x", "odd/y", "new/z"].map(file);
    let found = paths(&[[&layer[..], &through[..]].concat()]);
    for path in ["/usr/lib/libc.so", "/usr/share/doc", "/usr/lib/x", "/usr/y", "/made/here/z", "/lib"] {
        assert!(found.contains(&path.to_owned()), "{path} in {found:?}");
    }
    assert!(!found.contains(&"/no".to_owned()), "{found:?}");
}

#[test]
fn a_directory_takes_the_place_of_a_lower_layers_link_in_a_parent_path() {
    let lib = Entry { mode: 0o700, ..dir("usr/lib") };
    let below = vec![dir("usr"), lib, file("usr/lib/old"), entry("lib", Kind::Symlink, "usr/lib")];
    let tree = merge(&[below, vec![file("lib/new")]]).unwrap();
    let found: Vec<_> = listing(&tree).into_keys().collect();
    assert_eq!(found, ["/lib", "/lib/new", "/usr", "/usr/lib", "/usr/lib/old"]);
    assert_eq!(node(&tree, "lib").mode, 0o700, "as what the link leads to");
}

#[test]
fn unlisted_directories_have_the_attributes_of_the_layer_below() {
    let mut listed = Entry { mode: 0o2710, uid: 7, ..dir("a") };
    listed.xattrs = vec![(b"user.x".to_vec(), b"1".to_vec())];
    let hidden = vec![file(".wh.a")];
    let tree = merge(&[vec![listed.clone(), file("c")], vec![file("a/b/x"), file("c/x")]]).unwrap();
    let id = tree.find("a").unwrap();
    assert_eq!((node(&tree, "a").mode, node(&tree, "a").uid), (0o2710, 7));
    assert_eq!(tree.xattrs(id), &listed.xattrs[..]);
    assert_eq!(
        (node(&tree, "a/b").mode, node(&tree, "a/b").gid),
        (0o755, 2),
        "the group of a set-gid parent"
    );
    assert_eq!((node(&tree, "c").kind, node(&tree, "c").mode), (Kind::Directory, 0o755), "over a file");
    let tree = merge(&[vec![listed], hidden, vec![file("a/x")]]).unwrap();
    assert_eq!((node(&tree, "a").mode, node(&tree, "a").uid), (0o755, 0));
}

#[test]
fn hard_links_share_a_node_and_bring_their_attributes() {
    let capable = |mut entry: Entry| {
        entry.xattrs =
            vec![(b"security.capability".to_vec(), b"c".to_vec()), (b"user.x".to_vec(), b"1".to_vec())];
        entry
    };
    let changed = Entry { mode: 0o4755, uid: 9, mtime_s: 77, ..link("b", "a") };
    let tree = merge(&[vec![capable(file("a")), changed, link("d/c", "b")], vec![file(".wh.b")]]).unwrap();
    assert_eq!(tree.find("a"), tree.find("d/c"));
    let a = node(&tree, "a");
    assert_eq!((a.mode, a.uid, a.mtime), (0o640, 1, (3, 4)), "those of the last");
    assert_eq!(a.links, 3, "also the name that is hidden");
    assert_eq!(tree.xattrs(tree.find("a").unwrap()), [(b"user.x".to_vec(), b"1".to_vec())], "no capability");
    let replaced = vec![file("a"), link("b", "a"), file("a")];
    let tree = merge(&[replaced]).unwrap();
    assert_ne!(tree.find("a"), tree.find("b"));
}

#[test]
fn hard_links_may_name_files_of_lower_layers() {
    let tree = merge(&[vec![file("a")], vec![link("d/b", "a"), link("c", "d/b")]]).unwrap();
    let ids = ["a", "d/b", "c"].map(|path| tree.find(path).unwrap());
    assert_eq!((ids[0], ids[1]), (ids[1], ids[2]));
    assert_eq!(tree.node(ids[0]).unwrap().links, 3);
    assert!(matches!(merge(&[vec![link("b", "a")]]), Err(TreeError::Target { .. })));
    assert!(matches!(merge(&[vec![dir("a")], vec![link("b", "a")]]), Err(TreeError::Target { .. })));
}

#[test]
fn impossible_trees_are_refused() {
    assert!(matches!(merge(&[vec![file("a"), file("a/b")]]), Err(TreeError::NotDirectory { .. })));
    let circle = vec![entry("a", Kind::Symlink, "b"), entry("b", Kind::Symlink, "a"), file("a/x")];
    assert!(matches!(merge(&[circle]), Err(TreeError::Loop { .. })));
}

#[test]
fn attributes_of_a_directory_change_and_its_children_stay() {
    let changed = Entry { mode: 0o1777, ..dir("a") };
    let tree = merge(&[vec![dir("a"), file("a/x"), dir("a/s")], vec![changed]]).unwrap();
    let node = node(&tree, "a");
    assert_eq!((node.mode, node.children.len(), node.links), (0o1777, 2, 3));
}

#[test]
fn attributes_are_those_that_a_file_system_keeps() {
    let names = ["security.x", "trusted.overlay.opaque", "user.x", "foreign"];
    let xattrs: Vec<_> = names.iter().map(|name| (name.as_bytes().to_vec(), b"1".to_vec())).collect();
    let with = |entry: Entry| Entry { xattrs: xattrs.clone(), device: (0x1_0005, 6), mtime_s: -1, ..entry };
    let layer = vec![
        with(dir("")),
        with(file("file")),
        with(entry("link", Kind::Symlink, "x")),
        with(entry("device", Kind::Char, "")),
        Entry { mtime_s: i64::MAX, ..file("late") },
    ];
    let tree = merge(&[layer]).unwrap();
    let kept = |path: &str| {
        let names = tree.xattrs(tree.find(path).unwrap()).iter();
        names.map(|(name, _)| String::from_utf8(name.clone()).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(kept("file"), ["security.x", "user.x"]);
    assert_eq!(
        (kept("link"), kept("device")),
        (vec!["security.x".to_owned()], vec!["security.x".to_owned()])
    );
    assert!(kept("").is_empty() && node(&tree, "").mode == 0o755, "the root's own entry does not count");
    assert_eq!(node(&tree, "link").mode, 0o777);
    assert_eq!((node(&tree, "file").device, node(&tree, "device").device), ((0, 0), (5, 6)));
    assert_eq!(
        (node(&tree, "file").mtime, node(&tree, "late").mtime),
        ((0, 0), (0, 0)),
        "not before 1970, nor too late"
    );
}

#[test]
fn what_displaces_a_directory_gets_its_time() {
    let listed = Entry { mtime_s: 50, ..dir("a") };
    let tree = merge(&[vec![listed, file("a")]]).unwrap();
    assert_eq!(node(&tree, "a").mtime, (50, 4));
}

/// What one layer does, over a small set of names so that layers meet.
fn layer() -> impl Strategy<Value = Vec<Entry>> {
    let path = || {
        prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4)
            .prop_map(|names| names.join("/"))
    };
    let one = (path(), path(), 0..8, 0_u32..8).prop_map(|(path, other, what, mode)| {
        let (parent, name) =
            path.rsplit_once('/').map_or(("", path.as_str()), |(parent, name)| (parent, name));
        let joined =
            |name: &str| if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") };
        let entry = match what {
            0 | 1 => file(&path),
            2 | 3 => dir(&path),
            4 => file(&joined(&format!(".wh.{name}"))),
            5 => file(&joined(".wh..wh..opq")),
            _ => link(&path, &other),
        };
        Entry { mode, ..entry }
    });
    prop::collection::vec(one, 0..9)
}

/// One layer's directory as a map from paths.
#[derive(Default)]
struct Disk {
    things: BTreeMap<String, Thing>,
    /// The modes of the files, by their numbers.
    files: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Thing {
    Directory { mode: u32, opaque: bool, listed: bool },
    File(usize),
    Whiteout,
}

fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

impl Disk {
    /// Does what an entry says; `None` if it cannot be.
    fn apply(&mut self, entry: &Entry, lowers: &[Self]) -> Option<()> {
        let path = String::from_utf8(entry.path.clone()).unwrap();
        for parent in parents(&path) {
            self.imply(parent, lowers)?;
        }
        let (parent, name) = path.rsplit_once('/').map_or(("", path.as_str()), |both| both);
        if name == ".wh..wh..opq" {
            if lowers.is_empty() {
                let below = |other: &String| parent.is_empty() || other.starts_with(&format!("{parent}/"));
                let unlisted = |thing: &Thing| matches!(thing, Thing::Directory { listed: false, .. });
                let swept = self.things.iter().filter(|(other, thing)| below(other) && unlisted(thing));
                let swept: Vec<String> = swept.map(|(other, _)| other.clone()).collect();
                swept.iter().for_each(|other| self.remove(other));
            } else if let Some(Thing::Directory { opaque, .. }) = self.things.get_mut(parent) {
                *opaque = true;
            }
            return Some(());
        }
        if let Some(name) = name.strip_prefix(".wh.") {
            let path = if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") };
            if lowers.is_empty() {
                self.remove(&path);
            } else if let Thing::Directory { opaque, .. } = self.things.entry(path).or_insert(Thing::Whiteout)
            {
                *opaque = true;
            }
            return Some(());
        }
        let mode = entry.mode;
        let thing = match (entry.kind, self.things.get(&path)) {
            (Kind::Directory, Some(&Thing::Directory { opaque, .. })) => {
                self.things.insert(path, Thing::Directory { mode, opaque, listed: true });
                return Some(());
            }
            (Kind::Directory, _) => Thing::Directory { mode, opaque: false, listed: true },
            (Kind::Hardlink, _) => {
                let target = self.things[std::str::from_utf8(&entry.link).unwrap()];
                if let Thing::File(number) = target {
                    self.files[number] = mode;
                }
                target
            }
            _ => {
                self.files.push(mode);
                Thing::File(self.files.len() - 1)
            }
        };
        self.remove(&path);
        self.things.insert(path, thing);
        Some(())
    }

    fn imply(&mut self, path: &str, lowers: &[Self]) -> Option<()> {
        let opaque = match self.things.get(path) {
            Some(Thing::Directory { .. }) => return Some(()),
            Some(Thing::File(_)) => return None,
            found => found.is_some(),
        };
        let barred = |lower: &Self| {
            parents(path)
                .chain([path])
                .any(|at| lower.things.get(at).is_some_and(|thing| !matches!(thing, Thing::Directory { .. })))
        };
        let speaks = lowers.iter().rev().find(|lower| barred(lower) || lower.things.contains_key(path));
        let mode = match speaks.filter(|lower| !opaque && !barred(lower)).map(|lower| lower.things[path]) {
            Some(Thing::Directory { mode, .. }) => mode,
            _ => 0o755,
        };
        self.things.insert(path.to_owned(), Thing::Directory { mode, opaque, listed: false });
        Some(())
    }

    fn remove(&mut self, path: &str) {
        self.things.retain(|other, _| other != path && !other.starts_with(&format!("{path}/")));
    }

    /// Whether a hard link may be made: what the layer's own names do not have is another test's.
    fn has_target(&self, entry: &Entry) -> bool {
        let target = std::str::from_utf8(&entry.link).unwrap();
        let found =
            self.things.get(target).filter(|_| !entry.path.starts_with(format!("{target}/").as_bytes()));
        entry.kind != Kind::Hardlink || matches!(found, Some(Thing::File(_) | Thing::Whiteout))
    }
}

/// What is seen of a path: mode, and, if it is a file, the number of its names.
type Seen = (u32, Option<u32>);

/// A plain overlay: of each path counts the uppermost layer that has it, unless a layer above has something else than an
/// open directory on the way to it.
fn overlay(disks: &[Disk]) -> BTreeMap<String, Seen> {
    let mut seen = BTreeMap::new();
    for (layer, disk) in disks.iter().enumerate() {
        for (path, thing) in &disk.things {
            let above = &disks[layer + 1..];
            let covers = |disk: &Disk, at: &str| {
                let thing = disk.things.get(at);
                thing.is_some_and(|thing| !matches!(thing, Thing::Directory { opaque: false, .. }))
            };
            let is_covered = above.iter().any(|disk| parents(path).any(|at| covers(disk, at)));
            let is_uppermost = above.iter().all(|disk| !disk.things.contains_key(path));
            if is_covered || !is_uppermost {
                continue;
            }
            let names = |number| disk.things.values().filter(|other| **other == Thing::File(number)).count();
            match thing {
                Thing::Directory { mode, .. } => _ = seen.insert(path.clone(), (*mode, None)),
                Thing::File(number) => {
                    seen.insert(path.clone(), (disk.files[*number], Some(names(*number) as u32)));
                }
                Thing::Whiteout => {}
            }
        }
    }
    seen
}

fn shown(tree: &Tree) -> BTreeMap<String, Seen> {
    let of = |path: &String| {
        let node = node(tree, path);
        (node.mode, (node.kind == Kind::File).then_some(node.links))
    };
    listing(tree).keys().map(|path| (path[1..].to_owned(), of(path))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn agrees_with_a_plain_overlay(mut layers in prop::collection::vec(layer(), 1..4)) {
        let (mut disks, mut possible) = (Vec::new(), true);
        for layer in &mut layers {
            let mut disk = Disk::default();
            layer.retain(|entry| {
                let taken = disk.has_target(entry);
                if taken && possible {
                    possible = disk.apply(entry, &disks).is_some();
                }
                taken
            });
            disks.push(disk);
        }
        match merge(&layers) {
            Ok(tree) if possible => prop_assert_eq!(shown(&tree), overlay(&disks)),
            Err(_) if !possible => {}
            merged => prop_assert!(false, "{:?}, but possible: {possible}", merged.map(|tree| listing(&tree))),
        }
    }
}
