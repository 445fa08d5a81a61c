//! Layers over each other, as overlayfs shows the directories that they were unpacked into.
//!
//! A name is what the uppermost layer that speaks of it says. Only directories are joined, down to the first layer where
//! the directory is opaque or the name is something else.

use std::collections::BTreeMap;
use std::iter::Peekable;

use glowplug_layer::{Entry, Kind};

use super::unpack::{Inode, InodeId, Name, ROOT, Unpacked, implied, unpack};
use super::{NodeId, Tree, TreeError};

/// Inode numbers are one above node numbers, so the last number stays free.
const MAX_NODES: usize = NodeId::MAX as usize - 1;

/// Builds a tree from layers, bottom first.
#[derive(Debug, Default)]
pub struct Merger {
    layers: Vec<Unpacked>,
}

/// An inode of a layer: number of the layer, and the inode there.
type Place = (u32, InodeId);

/// What a name of a joined directory stands for.
enum Child {
    Hidden,
    /// Something that is not a directory; `extra` if the name is not one that the inode counts.
    Other {
        place: Place,
        extra: bool,
    },
    /// A directory: where each layer has it, the uppermost first, and whether layers below still count.
    Directory {
        stack: Vec<Place>,
        open: bool,
    },
}

impl Merger {
    /// An empty root directory.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts the next layer on top.
    ///
    /// # Errors
    /// An entry that no container runtime could unpack either.
    pub fn add(&mut self, entries: &[Entry]) -> Result<(), TreeError> {
        let unpacked = unpack(entries, &self.layers)?;
        self.layers.push(unpacked);
        let count: usize = self.layers.iter().map(|layer| layer.inodes.len()).sum();
        let layer = self.layers.len() as u32 - 1;
        if count > MAX_NODES { Err(TreeError::TooMany { layer }) } else { Ok(()) }
    }

    /// The tree. Inodes without a visible name are left out.
    pub fn finish(mut self) -> Tree {
        let mut nodes = vec![implied(Tree::ROOT)];
        let mut xattrs = BTreeMap::new();
        let mut numbers: Vec<Vec<Option<NodeId>>> =
            self.layers.iter().map(|layer| vec![None; layer.inodes.len()]).collect();
        // The roots of all layers are joined, whatever is opaque.
        let roots: Vec<Place> = (0..self.layers.len() as u32).rev().map(|layer| (layer, ROOT)).collect();
        let mut queue = vec![(Tree::ROOT, roots)];
        // Breadth first by name order: numbers depend on nothing but the layers.
        let mut at = 0;
        while at < queue.len() {
            let (id, stack) = std::mem::take(&mut queue[at]);
            let (mut children, mut directories) = (Vec::new(), 0);
            for (name, child) in self.join(&stack) {
                let (place, stack, extra) = match child {
                    Child::Hidden => continue,
                    Child::Other { place, extra } => (place, None, extra),
                    Child::Directory { stack, .. } => (stack[0], Some(stack), false),
                };
                let known = &mut numbers[place.0 as usize][place.1 as usize];
                let new = *known.get_or_insert_with(|| {
                    let new = nodes.len() as NodeId;
                    let inode = self.inode(place);
                    let mut node = inode.node.clone();
                    node.parent = id;
                    nodes.push(node);
                    if !inode.xattrs.is_empty() {
                        xattrs.insert(new, std::mem::take(&mut inode.xattrs));
                    }
                    new
                });
                nodes[new as usize].links += u32::from(extra);
                if let Some(stack) = stack {
                    directories += 1;
                    queue.push((new, stack));
                }
                children.push((name, new));
            }
            let node = &mut nodes[id as usize];
            (node.children, node.links) = (children, 2 + directories);
            at += 1;
        }
        Tree { nodes, xattrs }
    }

    fn inode(&mut self, (layer, inode): Place) -> &mut Inode {
        &mut self.layers[layer as usize].inodes[inode as usize]
    }

    /// The names of a directory that the layers of `stack` have, the uppermost first. It is asked for once: the names are
    /// taken.
    fn join(&mut self, stack: &[Place]) -> Vec<(Box<[u8]>, Child)> {
        let mut joined: Vec<(Box<[u8]>, Child)> = Vec::new();
        for place in stack {
            let layer = place.0;
            let names = std::mem::take(&mut self.inode(*place).names);
            let mut below = names.into_iter().peekable();
            let mut both = Vec::with_capacity(joined.len().max(below.len()));
            for (name, mut child) in joined {
                self.until(&mut below, &name, layer, &mut both);
                if let Some((_, found)) = below.next_if(|(other, _)| *other == name) {
                    self.lower(&mut child, layer, found);
                }
                both.push((name, child));
            }
            both.extend(below.map(|(name, found)| (name, self.child(layer, found))));
            joined = both;
        }
        joined
    }

    /// Takes the names before `end`, which only this layer has so far.
    fn until(
        &self,
        below: &mut Peekable<impl Iterator<Item = (Box<[u8]>, Name)>>,
        end: &[u8],
        layer: u32,
        into: &mut Vec<(Box<[u8]>, Child)>,
    ) {
        while let Some((name, found)) = below.next_if(|(name, _)| **name < *end) {
            into.push((name, self.child(layer, found)));
        }
    }

    fn child(&self, layer: u32, name: Name) -> Child {
        match name {
            Name::Whiteout => Child::Hidden,
            Name::Lower(layer, inode) => Child::Other { place: (layer, inode), extra: true },
            Name::Inode(id) => {
                let inode = &self.layers[layer as usize].inodes[id as usize];
                let place = (layer, id);
                match inode.node.kind {
                    Kind::Directory => Child::Directory { stack: vec![place], open: !inode.opaque },
                    _ => Child::Other { place, extra: false },
                }
            }
        }
    }

    /// What a layer below has by the same name: it counts only where directories meet.
    fn lower(&self, child: &mut Child, layer: u32, name: Name) {
        let Child::Directory { stack, open } = child else { return };
        if !*open {
            return;
        }
        match self.child(layer, name) {
            Child::Directory { stack: more, open: goes_on } => {
                stack.extend(more);
                *open = goes_on;
            }
            _ => *open = false,
        }
    }
}
