//! All layers merged into one tree, entry by entry as containerd's unpack shows them: each layer unpacked alone
//! (`unpack`), then overlaid (`merge`).
//!
//! Whiteouts, opaque directories, hard links and symbolic links in parent paths are resolved while merging, so a lookup
//! is one step. Node numbers are a pure function of the layers: the same image gives the same numbers in every process.

mod below;
mod error;
mod merge;
mod near;
#[cfg(test)]
mod tests;
mod unpack;

use std::collections::BTreeMap;

use glowplug_layer::Kind;

pub use below::Below;
pub use error::TreeError;
pub use merge::Merger;

/// Number of a node; the root is 0.
pub type NodeId = u32;

/// Extended attributes: full names and values.
type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// One file, directory, link or device of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Never [`Kind::Hardlink`]: those are further names of a node.
    pub kind: Kind,
    /// Low 12 bits of `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time: seconds since the Unix epoch, and nanoseconds.
    pub mtime: (i64, u32),
    /// Device number: major and minor.
    pub device: (u32, u32),
    /// Length in bytes; for a symbolic link that of its target.
    pub size: u64,
    /// Number of names in its layer, also of those that a layer above hides, as the overlay of unpacked layers has it; of
    /// a directory, 2 and one for each directory in it.
    pub links: u32,
    /// Where the bytes are: number of the layer and of its entry; none for directories that no layer names.
    pub origin: Option<(u32, u32)>,
    /// The directory that holds it (one of them for a hard-linked file).
    pub parent: NodeId,
    /// The entries of a directory, sorted by name.
    pub children: Vec<(Box<[u8]>, NodeId)>,
}

/// The merged tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    nodes: Vec<Node>,
    /// Of the nodes that have any.
    xattrs: BTreeMap<NodeId, Xattrs>,
}

impl Tree {
    /// Number of the root.
    pub const ROOT: NodeId = 0;

    /// The node with a number, if there is one.
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id as usize)
    }

    /// The extended attributes of a node, sorted by name: those that a file system keeps when a layer is unpacked.
    pub fn xattrs(&self, id: NodeId) -> &[(Vec<u8>, Vec<u8>)] {
        self.xattrs.get(&id).map_or(&[], Vec::as_slice)
    }

    /// Whether any node has extended attributes.
    pub fn has_xattrs(&self) -> bool {
        !self.xattrs.is_empty()
    }

    /// The child of a directory with a name.
    pub fn lookup(&self, parent: NodeId, name: &[u8]) -> Option<NodeId> {
        let children = &self.node(parent)?.children;
        let at = children.binary_search_by(|(child, _)| (**child).cmp(name)).ok()?;
        Some(children[at].1)
    }

    /// The node at a path, symbolic links not followed.
    pub fn find(&self, path: &str) -> Option<NodeId> {
        let mut names = path.split('/').filter(|name| !name.is_empty());
        names.try_fold(Self::ROOT, |node, name| self.lookup(node, name.as_bytes()))
    }

    /// All nodes, the root first.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// A path of the node, for people.
    pub fn path(&self, id: NodeId) -> String {
        String::from_utf8_lossy(&self.path_bytes(id)).into_owned()
    }

    /// A path of the node, from the root's slash on.
    pub fn path_bytes(&self, mut id: NodeId) -> Vec<u8> {
        let mut names: Vec<&[u8]> = Vec::new();
        while id != Self::ROOT {
            let Some(node) = self.node(id) else { break };
            let name = self
                .node(node.parent)
                .and_then(|parent| parent.children.iter().find(|(_, child)| *child == id));
            names.push(name.map_or(b"?", |(name, _)| name));
            id = node.parent;
        }
        names.reverse();
        [b"/", &*names.join(&b'/')].concat()
    }
}
