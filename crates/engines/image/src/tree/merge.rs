//! Merging, layer by layer from the bottom, with the rules by which containerd unpacks layers.
//!
//! - An entry replaces what has its name, except that a directory over a directory only changes its attributes.
//! - `.wh.NAME` removes NAME as the layers below left it; `.wh..wh..opq` does so for all of a directory's children. What
//!   the same layer adds stays, in whatever order it comes.
//! - Symbolic links in an entry's parent path are followed inside the image; missing parents are made, mode 0755.
//! - A hard link names a node that exists by then.

use std::collections::BTreeMap;

use glowplug_layer::{Entry, Kind};
use glowplug_tarwalk::{Whiteout, whiteout};

use super::{Node, NodeId, Tree, node_of};

/// How many symbolic links one parent path may lead through; the kernel allows 40, containerd 255.
const MAX_SYMLINKS: u32 = 255;

/// Why layers do not form a tree.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// A parent is neither a directory nor a link to one.
    #[error("layer {layer}: {path:?} lies below something that is not a directory")]
    NotDirectory {
        /// Number of the layer, from 0 at the bottom.
        layer: u32,
        /// The entry.
        path: String,
    },
    /// Symbolic links lead in a circle.
    #[error("layer {layer}: too many symbolic links on the way to {path:?}")]
    Loop {
        /// Number of the layer.
        layer: u32,
        /// The entry.
        path: String,
    },
    /// A hard link's target is missing or a directory.
    #[error("layer {layer}: hard link {path:?} has no file {target:?} to link to")]
    Target {
        /// Number of the layer.
        layer: u32,
        /// The entry.
        path: String,
        /// Its target.
        target: String,
    },
    /// A whiteout that names nothing.
    #[error("layer {layer}: whiteout {path:?} names nothing")]
    Whiteout {
        /// Number of the layer.
        layer: u32,
        /// The entry.
        path: String,
    },
    /// More nodes than numbers.
    #[error("layer {layer}: more than {} nodes", NodeId::MAX)]
    TooMany {
        /// Number of the layer.
        layer: u32,
    },
}

/// A name in a directory, and the newest layer that spoke of it.
#[derive(Debug, Clone, Copy)]
struct Name {
    node: NodeId,
    layer: u32,
}

#[derive(Debug)]
struct Draft {
    node: Node,
    /// Target of a symbolic link.
    link: Vec<u8>,
    names: BTreeMap<Box<[u8]>, Name>,
}

/// Builds a tree from layers, bottom first.
#[derive(Debug)]
pub struct Merger {
    drafts: Vec<Draft>,
    layer: u32,
}

impl Default for Merger {
    fn default() -> Self {
        Self::new()
    }
}

fn directory(parent: NodeId) -> Draft {
    let node = Node {
        kind: Kind::Directory,
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: (0, 0),
        device: (0, 0),
        size: 0,
        links: 1,
        origin: None,
        parent,
        children: Vec::new(),
    };
    Draft { node, link: Vec::new(), names: BTreeMap::new() }
}

fn text(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    path.iter().rposition(|byte| *byte == b'/').map_or((&[], path), |at| (&path[..at], &path[at + 1..]))
}

impl Merger {
    /// An empty root directory.
    pub fn new() -> Self {
        Self { drafts: vec![directory(Tree::ROOT)], layer: 0 }
    }

    /// Puts the next layer on top.
    ///
    /// # Errors
    /// An entry that no container runtime could unpack either.
    pub fn add(&mut self, entries: &[Entry]) -> Result<(), TreeError> {
        for (number, entry) in entries.iter().enumerate() {
            self.entry(entry, number as u32)?;
        }
        self.layer += 1;
        Ok(())
    }

    /// The tree. Nodes without a name are left out.
    pub fn finish(self) -> Tree {
        let mut nodes = Vec::with_capacity(self.drafts.len());
        let mut numbers: Vec<Option<NodeId>> = vec![None; self.drafts.len()];
        let (mut drafts, mut queue) = (self.drafts, vec![Tree::ROOT]);
        numbers[0] = Some(0);
        nodes.push(drafts[0].node.clone());
        // Breadth first by name order: numbers depend on nothing but the layers.
        let mut at = 0;
        while at < queue.len() {
            let names = std::mem::take(&mut drafts[queue[at] as usize].names);
            let mut children = Vec::with_capacity(names.len());
            for (name, Name { node: old, .. }) in names {
                let new = if let Some(new) = numbers[old as usize] {
                    nodes[new as usize].links += 1;
                    new
                } else {
                    let new = nodes.len() as NodeId;
                    numbers[old as usize] = Some(new);
                    nodes.push(Node { links: 1, parent: at as NodeId, ..drafts[old as usize].node.clone() });
                    queue.push(old);
                    new
                };
                children.push((name, new));
            }
            let subdirectories =
                children.iter().filter(|(_, id)| nodes[*id as usize].kind == Kind::Directory).count();
            let node = &mut nodes[at];
            node.children = children;
            if node.kind == Kind::Directory {
                node.links = 2 + subdirectories as u32;
            }
            at += 1;
        }
        Tree { nodes }
    }

    fn entry(&mut self, entry: &Entry, number: u32) -> Result<(), TreeError> {
        match whiteout(&entry.path) {
            Whiteout::None => {}
            Whiteout::Metadata => return Ok(()),
            Whiteout::Invalid => {
                return Err(TreeError::Whiteout { layer: self.layer, path: text(&entry.path) });
            }
            Whiteout::Opaque { dir } => {
                if let Some(dir) = self.resolve(&dir, &entry.path, false)? {
                    self.prune(dir);
                }
                return Ok(());
            }
            Whiteout::Remove { path } => {
                let (parent, name) = split(&path);
                if let Some(parent) = self.resolve(parent, &entry.path, false)? {
                    self.remove_lower(parent, name);
                }
                return Ok(());
            }
        }
        let origin = (self.layer, number);
        if entry.path.is_empty() {
            if entry.kind == Kind::Directory {
                let root = Tree::ROOT;
                self.drafts[0].node = node_of(entry, origin, root);
            }
            return Ok(());
        }
        let (parent, name) = split(&entry.path);
        let Some(parent) = self.resolve(parent, &entry.path, true)? else { return Ok(()) };
        let layer = self.layer;
        let node = match entry.kind {
            Kind::Hardlink => self.target(entry)?,
            Kind::Directory => match self.drafts[parent as usize].names.get(name) {
                Some(old) if self.drafts[old.node as usize].node.kind == Kind::Directory => {
                    let old = old.node;
                    self.drafts[old as usize].node = node_of(entry, origin, parent);
                    old
                }
                _ => self.push(Draft { node: node_of(entry, origin, parent), ..directory(parent) })?,
            },
            _ => self.push(Draft {
                node: node_of(entry, origin, parent),
                link: entry.link.clone(),
                names: BTreeMap::new(),
            })?,
        };
        self.drafts[parent as usize].names.insert(name.into(), Name { node, layer });
        Ok(())
    }

    fn push(&mut self, draft: Draft) -> Result<NodeId, TreeError> {
        // Inode numbers are one above node numbers, so the last number stays free.
        let id = NodeId::try_from(self.drafts.len()).ok().filter(|id| *id < NodeId::MAX - 1);
        let id = id.ok_or(TreeError::TooMany { layer: self.layer })?;
        self.drafts.push(draft);
        Ok(id)
    }

    /// The node that a hard link names.
    fn target(&mut self, entry: &Entry) -> Result<NodeId, TreeError> {
        let missing =
            || TreeError::Target { layer: self.layer, path: text(&entry.path), target: text(&entry.link) };
        let (parent, name) = split(&entry.link);
        let error = missing();
        let Some(parent) = self.resolve(parent, &entry.path, false)? else { return Err(error) };
        match self.drafts[parent as usize].names.get(name) {
            Some(found) if self.drafts[found.node as usize].node.kind != Kind::Directory => Ok(found.node),
            _ => Err(error),
        }
    }

    /// The directory at `path`, symbolic links followed within the image. With `make`, missing directories are made
    /// and every one on the way is noted as this layer's; without, a missing one gives `None`.
    fn resolve(&mut self, path: &[u8], entry: &[u8], make: bool) -> Result<Option<NodeId>, TreeError> {
        let mut left: Vec<Vec<u8>> = components(path).rev().collect();
        let (mut at, mut links) = (Tree::ROOT, 0);
        while let Some(name) = left.pop() {
            if name == b".." {
                at = self.drafts[at as usize].node.parent;
                continue;
            }
            let layer = self.layer;
            let Some(found) = self.drafts[at as usize].names.get_mut(&name[..]) else {
                if !make {
                    return Ok(None);
                }
                let node = self.push(directory(at))?;
                self.drafts[at as usize].names.insert(name.into(), Name { node, layer });
                at = node;
                continue;
            };
            let child = found.node;
            match self.drafts[child as usize].node.kind {
                Kind::Directory => {
                    if make && let Some(found) = self.drafts[at as usize].names.get_mut(&name[..]) {
                        found.layer = layer;
                    }
                    at = child;
                }
                Kind::Symlink => {
                    links += 1;
                    if links > MAX_SYMLINKS {
                        return Err(TreeError::Loop { layer, path: text(entry) });
                    }
                    let link = &self.drafts[child as usize].link;
                    if link.starts_with(b"/") {
                        at = Tree::ROOT;
                    }
                    left.extend(components(link).rev());
                }
                _ if make => return Err(TreeError::NotDirectory { layer, path: text(entry) }),
                _ => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    /// Removes what lower layers left under a name; keeps what this layer added.
    fn remove_lower(&mut self, parent: NodeId, name: &[u8]) {
        let Some(found) = self.drafts[parent as usize].names.get(name).copied() else { return };
        if found.layer < self.layer {
            self.drafts[parent as usize].names.remove(name);
        } else if self.drafts[found.node as usize].node.kind == Kind::Directory {
            self.prune(found.node);
        }
    }

    /// Removes what lower layers left in a directory. A list, not recursion: trees can be deep.
    fn prune(&mut self, directory: NodeId) {
        let mut todo = vec![directory];
        while let Some(at) = todo.pop() {
            let layer = self.layer;
            self.drafts[at as usize].names.retain(|_, name| name.layer >= layer);
            let kept: Vec<_> = self.drafts[at as usize].names.values().map(|name| name.node).collect();
            todo.extend(
                kept.into_iter().filter(|node| self.drafts[*node as usize].node.kind == Kind::Directory),
            );
        }
    }
}

fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = Vec<u8>> + '_ {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".").map(<[u8]>::to_vec)
}
