//! What is below a directory, in an order that depends on the names only.

use super::{NodeId, Tree};

/// Children of a directory that are still to come.
type Children<'a> = std::slice::Iter<'a, (Box<[u8]>, NodeId)>;

/// Everything below a directory: paths relative to it, each directory before what is in it, names in the order of their bytes.
#[derive(Debug)]
pub struct Below<'a> {
    tree: &'a Tree,
    /// For each directory that is open: its children, and the length of the path to it.
    open: Vec<(Children<'a>, usize)>,
    path: Vec<u8>,
}

impl Tree {
    /// Everything below a node; nothing if it is no directory.
    pub fn below(&self, id: NodeId) -> Below<'_> {
        let children = self.node(id).map(|node| (node.children.iter(), 0));
        Below { tree: self, open: children.into_iter().collect(), path: Vec::new() }
    }
}

impl Iterator for Below<'_> {
    type Item = (Vec<u8>, NodeId);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (children, length) = self.open.last_mut()?;
            let Some((name, id)) = children.next() else {
                self.open.pop();
                continue;
            };
            self.path.truncate(*length);
            if *length > 0 {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(name);
            if let Some(node) = self.tree.node(*id).filter(|node| !node.children.is_empty()) {
                self.open.push((node.children.iter(), self.path.len()));
            }
            return Some((self.path.clone(), *id));
        }
    }
}
