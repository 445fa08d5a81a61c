//! Every file that a pull of the image moves, also those that it no longer shows.
//!
//! Files without bytes, directories and links are left out: they cost nothing that a diet could spare. A layer that an
//! image names twice is pulled once, and counts once.

use std::collections::{BTreeSet, HashMap};

use glowplug_base::Digest;
use glowplug_image::{NodeId, PIECE_BYTES, Profile, Tree};
use glowplug_layer::{Entry, Kind, LayerIndex};
use glowplug_tarwalk::{Whiteout, whiteout};

use super::share::{scale, shares};

/// One layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// Its blob.
    pub blob: Digest,
    /// What a pull moves, in bytes.
    pub blob_bytes: u64,
    /// How many files it brings.
    pub files: usize,
    /// The bytes of those files.
    pub bytes: u64,
}

/// What became of a file in the layers above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The image shows it.
    Shown(NodeId),
    /// A layer has something else by its name: the layer's number.
    Replaced(u32),
    /// A layer deletes it, or a directory above it: the layer's number, where it can be told.
    Deleted(Option<u32>),
}

/// One file of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path from the root, with a leading slash; what is no UTF-8 is replaced.
    pub path: String,
    /// Number of its layer, from 0 at the bottom.
    pub layer: u32,
    /// Its bytes, holes not counted.
    pub bytes: u64,
    /// Its length, holes included.
    pub size: u64,
    /// Its share of the layer's blob in bytes: an estimate.
    pub blob_bytes: u64,
    /// Whether a recorded start touched it.
    pub touched: bool,
    /// The part of that share which recorded starts touched.
    pub touched_blob_bytes: u64,
    /// Somebody may execute it.
    pub executable: bool,
    /// Whether the image shows it.
    pub fate: Fate,
}

impl File {
    /// The name behind the last slash.
    pub fn name(&self) -> &str {
        self.path.rsplit_once('/').map_or(&self.path, |(_, name)| name)
    }

    /// The directory, without a slash behind it.
    pub fn directory(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(directory, _)| directory)
    }

    /// Whether the image shows it.
    pub fn is_shown(&self) -> bool {
        matches!(self.fate, Fate::Shown(_))
    }
}

/// The files of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// The layers, bottom first.
    pub layers: Vec<Pulled>,
    /// The files in the order of layers and archives.
    pub files: Vec<File>,
    /// How many recorded starts it knows of; without any, no file is known to be touched.
    pub starts: u32,
}

impl Inventory {
    /// The files of `layers`, bottom first, which `tree` was made of, and what the starts of `profiles` touched of them.
    pub fn of(layers: &[&LayerIndex], tree: &Tree, profiles: &[Profile]) -> Self {
        let paths = paths(tree);
        let shown: HashMap<(u32, u32), NodeId> = (0..)
            .zip(tree.nodes())
            .filter(|(_, node)| node.kind == Kind::File)
            .filter_map(|(id, node)| Some((node.origin?, id)))
            .collect();
        let touched = touched(tree, profiles);
        let starts = profiles.iter().map(|profile| profile.runs).sum();
        let mut inventory = Self { starts, ..Self::default() };
        let mut hidden = Vec::new();
        for (number, index) in (0..).zip(layers) {
            let again = layers[number as usize + 1..].iter().any(|above| above.blob == index.blob);
            let (before, mut bytes) = (inventory.files.len(), 0);
            for ((at, entry), blob_bytes) in (0..).zip(&index.entries).zip(shares(index)).filter(|_| !again) {
                if entry.kind != Kind::File || entry.extents.is_empty() || !is_plain(entry) {
                    continue;
                }
                let node = shown.get(&(number, at)).copied();
                let own_path = || format!("/{}", String::from_utf8_lossy(&entry.path));
                let held: u64 = entry.extents.iter().map(|extent| extent.len).sum();
                let touched_bytes = node.and_then(|id| touched.get(&id)).map_or(0, |pieces| {
                    let of = |piece: &u64| entry.size.saturating_sub(piece * PIECE_BYTES).min(PIECE_BYTES);
                    pieces.iter().map(of).sum::<u64>()
                });
                let file = File {
                    path: node.map_or_else(own_path, |id| paths[id as usize].clone()),
                    layer: number,
                    bytes: held,
                    size: entry.size,
                    blob_bytes,
                    touched: touched_bytes > 0,
                    touched_blob_bytes: scale(touched_bytes.min(entry.size), blob_bytes, entry.size),
                    executable: entry.mode & 0o111 != 0,
                    fate: node.map_or(Fate::Deleted(None), Fate::Shown),
                };
                if node.is_none() {
                    hidden.push((inventory.files.len(), (number, at)));
                }
                bytes += file.bytes;
                inventory.files.push(file);
            }
            let files = inventory.files.len() - before;
            let blob_bytes = if again { 0 } else { index.blob_size };
            inventory.layers.push(Pulled { blob: index.blob, blob_bytes, files, bytes });
        }
        let hiding = Hiding::of(layers);
        for (file, place) in hidden {
            let path = &layers[place.0 as usize].entries[place.1 as usize].path;
            inventory.files[file].fate = hiding.fate(path, place);
        }
        inventory
    }

    /// The files that the image shows, with their numbers.
    pub fn shown(&self) -> impl Iterator<Item = (usize, &File)> {
        self.files.iter().enumerate().filter(|(_, file)| file.is_shown())
    }

    /// What a pull moves, in bytes.
    pub fn blob_bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.blob_bytes).sum()
    }

    /// The bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.bytes).sum()
    }
}

/// Whether an entry is a file of the image and not a message to whoever unpacks the layer.
fn is_plain(entry: &Entry) -> bool {
    matches!(whiteout(&entry.path), Whiteout::None)
}

/// The path of every node, one of them where it has several.
fn paths(tree: &Tree) -> Vec<String> {
    let mut paths = vec![String::new(); tree.nodes().len()];
    let mut queue = vec![Tree::ROOT];
    while let Some(directory) = queue.pop() {
        let Some(node) = tree.node(directory) else { continue };
        for (name, child) in &node.children {
            let path = format!("{}/{}", paths[directory as usize], String::from_utf8_lossy(name));
            if tree.node(*child).is_some_and(|node| node.kind == Kind::Directory) {
                queue.push(*child);
            }
            paths[*child as usize] = path;
        }
    }
    paths
}

/// The pieces of files that starts touched, by node.
fn touched(tree: &Tree, profiles: &[Profile]) -> HashMap<NodeId, BTreeSet<u64>> {
    let mut touched: HashMap<NodeId, BTreeSet<u64>> = HashMap::new();
    for touch in profiles.iter().flat_map(|profile| &profile.touches) {
        if let Some(node) = tree.find(&touch.path)
            && touch.piece <= u64::MAX / PIECE_BYTES
        {
            touched.entry(node).or_default().insert(touch.piece);
        }
    }
    touched
}

/// A layer and an entry of it.
type Place = (u32, u32);

/// What layers hide of those below them.
struct Hiding<'a> {
    /// Where each path is named, lowest layer first.
    named: HashMap<&'a [u8], Vec<Place>>,
    /// Which layers delete a path, or all that is below it.
    deleted: HashMap<Vec<u8>, Vec<u32>>,
}

impl<'a> Hiding<'a> {
    fn of(layers: &[&'a LayerIndex]) -> Self {
        let mut hiding = Self { named: HashMap::new(), deleted: HashMap::new() };
        for (number, index) in (0..).zip(layers) {
            for (at, entry) in (0..).zip(&index.entries) {
                match whiteout(&entry.path) {
                    Whiteout::Remove { path } | Whiteout::Opaque { dir: path } => {
                        hiding.deleted.entry(path).or_default().push(number);
                    }
                    Whiteout::None if entry.kind != Kind::Directory => {
                        hiding.named.entry(&entry.path).or_default().push((number, at));
                    }
                    _ => {}
                }
            }
        }
        hiding
    }

    /// What became of the hidden file at `path` that `place` brought.
    fn fate(&self, path: &[u8], place: Place) -> Fate {
        let by =
            |layers: Option<&Vec<u32>>| layers.and_then(|all| all.iter().copied().find(|by| *by > place.0));
        let above = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| &path[..end]);
        let deleted = above.chain([path]).filter_map(|path| by(self.deleted.get(path))).min();
        let named = self.named.get(path).and_then(|all| all.iter().copied().find(|by| *by > place));
        match (named, deleted) {
            // Deleted first and made again later counts as deleted.
            (Some((by, _)), Some(layer)) if by > layer => Fate::Deleted(Some(layer)),
            (Some((by, _)), _) => Fate::Replaced(by),
            (None, deleted) => Fate::Deleted(deleted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{inventory, layer};
    use super::*;

    fn fates(inventory: &Inventory) -> Vec<(&str, u32, Fate)> {
        let hidden = inventory.files.iter().filter(|file| !file.is_shown());
        hidden.map(|file| (&*file.path, file.layer, file.fate)).collect()
    }

    #[test]
    fn what_layers_hide_of_each_other_is_told_apart() {
        let inventory = inventory(&[
            layer(&[("a", 10), ("b", 10), ("dir/c", 10), ("dir/d", 10), ("kept", 10)]),
            layer(&[("a", 20), (".wh.b", 0), ("dir/.wh..wh..opq", 0), ("dir/e", 5)]),
            layer(&[("b", 30)]),
        ]);
        assert_eq!(
            fates(&inventory),
            [
                ("/a", 0, Fate::Replaced(1)),
                ("/b", 0, Fate::Deleted(Some(1))),
                ("/dir/c", 0, Fate::Deleted(Some(1))),
                ("/dir/d", 0, Fate::Deleted(Some(1))),
            ]
        );
        assert_eq!(
            inventory.shown().map(|(_, file)| &*file.path).collect::<Vec<_>>(),
            ["/kept", "/a", "/dir/e", "/b"]
        );
        assert_eq!(inventory.bytes(), 50 + 25 + 30);
    }

    #[test]
    fn a_layer_named_twice_counts_once() {
        let twice = layer(&[("a", 10)]);
        let inventory = inventory(&[twice.clone(), layer(&[("b", 10)]), twice.clone()]);
        assert_eq!(inventory.files.len(), 2);
        assert_eq!(inventory.blob_bytes(), twice.blob_size + inventory.layers[1].blob_bytes);
        assert!(fates(&inventory).is_empty());
    }
}
