//! What differs between two images, as a container sees them: their merged trees, path by path, whatever layers they are made of.
//!
//! ```text
//! compare      both trees at once, from what the indexes say; nothing is read
//! decide       files whose contents those cannot tell, read from both sides at once
//! ```
//!
//! Files are known to be the same where both images have them from one entry of one layer; and, unless asked otherwise, where size and
//! modification time are equal. Not looked at: sizes and times of directories that no layer names, and which names of a file are hard links.

mod contents;

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;

use glowplug_base::Digest;
use glowplug_layer::Kind;

use crate::tree::{Node, NodeId, Tree};
use crate::{Image, ReadError};

/// How closely to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Closeness {
    /// Modification times count, too.
    pub times: bool,
    /// Files of equal size and time are read, too.
    pub contents: bool,
}

/// In what the two sides of a path differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aspect {
    /// File, directory, link or device.
    Type,
    /// Length of a file, and therefore its contents.
    Size,
    /// Contents of files of equal size.
    Contents,
    /// Permission bits.
    Mode,
    /// User or group.
    Owner,
    /// Target of a symbolic link.
    Link,
    /// Number of a device.
    Device,
    /// Extended attributes.
    Xattrs,
    /// Modification time.
    Time,
}

impl fmt::Display for Aspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Type => "type",
            Self::Size => "size",
            Self::Contents => "contents",
            Self::Mode => "mode",
            Self::Owner => "owner",
            Self::Link => "link",
            Self::Device => "device",
            Self::Xattrs => "xattrs",
            Self::Time => "time",
        })
    }
}

/// One path that is not the same on both sides. The nodes are numbers in the tree before or after, whichever has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// From the root, without a leading slash; the root is empty.
    pub path: Vec<u8>,
    /// What became of it.
    pub change: Change,
}

/// What became of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Only the image after has it.
    Added(NodeId),
    /// Only the image before has it.
    Removed(NodeId),
    /// Both have it.
    Changed {
        /// In the image before.
        before: NodeId,
        /// In the image after.
        after: NodeId,
        /// In what they differ, never empty once all is decided.
        why: Vec<Aspect>,
    },
}

/// Reading an image failed while its files were compared.
#[derive(Debug, thiserror::Error)]
#[error("compare {path}")]
pub struct CompareError {
    /// The file.
    pub path: String,
    /// Why.
    #[source]
    pub source: ReadError,
}

/// The differences between two images as far as they are known without reading, and the files that have to be read.
#[derive(Debug)]
pub struct Comparison<'a> {
    before: &'a Image,
    after: &'a Image,
    found: Vec<Difference>,
    /// Positions in `found` whose contents nobody knows yet.
    doubtful: Vec<usize>,
}

/// Compares two images, and reads nothing.
pub fn compare<'a>(before: &'a Image, after: &'a Image, closeness: Closeness) -> Comparison<'a> {
    let mut comparison = Comparison { before, after, found: Vec::new(), doubtful: Vec::new() };
    // The next one last. Paths can be deeper than a call stack.
    let mut open = vec![(Vec::new(), Some(Tree::ROOT), Some(Tree::ROOT))];
    while let Some((path, was, is)) = open.pop() {
        let children = |image: &'a Image, id: Option<NodeId>| {
            id.and_then(|id| image.tree().node(id)).map_or(&[][..], |node| &node.children)
        };
        for (name, was, is) in joined(children(before, was), children(after, is)).into_iter().rev() {
            let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
            open.push(([&path, slash, name].concat(), was, is));
        }
        match (was, is) {
            (Some(was), Some(is)) => comparison.both(path, was, is, closeness),
            (Some(was), None) => comparison.found.push(Difference { path, change: Change::Removed(was) }),
            (None, Some(is)) => comparison.found.push(Difference { path, change: Change::Added(is) }),
            (None, None) => {}
        }
    }
    comparison
}

/// A directory's names, in order.
type Children = [(Box<[u8]>, NodeId)];

/// The names of two directories in order, and whom they name in each.
fn joined<'a>(old: &'a Children, new: &'a Children) -> Vec<(&'a [u8], Option<NodeId>, Option<NodeId>)> {
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    let mut joined = Vec::with_capacity(old.len().max(new.len()));
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return joined,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((a, _)), Some((b, _))) => a.cmp(b),
        };
        let (gone, come) = (old.next_if(|_| order.is_le()), new.next_if(|_| order.is_ge()));
        let name = gone.or(come).map(|(name, _)| &**name);
        joined.extend(name.map(|name| (name, gone.map(|(_, id)| *id), come.map(|(_, id)| *id))));
    }
}

impl Comparison<'_> {
    /// Files that have to be read on both sides, each counted once however many names it has: how many, and their bytes on one side.
    pub fn doubtful(&self) -> (usize, u64) {
        let pairs = self.doubtful.iter().filter_map(|at| match self.found[*at].change {
            Change::Changed { before, after, .. } => Some((before, after)),
            _ => None,
        });
        let files: HashSet<(NodeId, NodeId)> = pairs.collect();
        let sizes =
            files.iter().filter_map(|(before, _)| self.before.tree().node(*before)).map(|node| node.size);
        (files.len(), sizes.sum())
    }

    /// The differences, in the order of the paths: each directory before what is in it. Files whose contents are in doubt are read, no
    /// further than to their first difference.
    ///
    /// # Errors
    /// The first file that cannot be read.
    pub async fn decide(mut self) -> Result<Vec<Difference>, CompareError> {
        let pairs = self.doubtful.iter().filter_map(|at| match &self.found[*at].change {
            Change::Changed { before, after, .. } => Some((*at, (*before, *after))),
            _ => None,
        });
        for at in contents::differing(self.before, self.after, pairs.collect(), &self.found).await? {
            if let Change::Changed { why, .. } = &mut self.found[at].change {
                // It is what people look for first, where the type is the same.
                why.insert(0, Aspect::Contents);
            }
        }
        let differs = |difference: &Difference| !matches!(&difference.change, Change::Changed { why, .. } if why.is_empty());
        self.found.retain(differs);
        Ok(self.found)
    }

    /// A path that both have.
    fn both(&mut self, path: Vec<u8>, before: NodeId, after: NodeId, closeness: Closeness) {
        let (Some(was), Some(is)) = (self.before.tree().node(before), self.after.tree().node(after)) else {
            return;
        };
        let why = self.aspects((before, was), (after, is), closeness.times);
        let doubtful =
            was.kind == is.kind && was.size == is.size && self.is_doubtful(was, is, closeness.contents);
        if doubtful || !why.is_empty() {
            self.doubtful.extend(doubtful.then_some(self.found.len()));
            self.found.push(Difference { path, change: Change::Changed { before, after, why } });
        }
    }

    /// In what two nodes differ, contents aside.
    fn aspects(
        &self,
        (before, was): (NodeId, &Node),
        (after, is): (NodeId, &Node),
        times: bool,
    ) -> Vec<Aspect> {
        let same_kind = was.kind == is.kind;
        let target = |image: &Image, id: NodeId| image.link(id).map(<[u8]>::to_vec);
        // A link is as long as its target.
        let sized = same_kind && was.kind == Kind::File;
        let named = was.origin.is_some() && is.origin.is_some();
        let differ = [
            (Aspect::Type, !same_kind),
            (Aspect::Size, sized && was.size != is.size),
            (Aspect::Mode, was.mode != is.mode && was.kind != Kind::Symlink),
            (Aspect::Owner, (was.uid, was.gid) != (is.uid, is.gid)),
            (Aspect::Link, same_kind && target(self.before, before) != target(self.after, after)),
            (Aspect::Device, same_kind && was.device != is.device),
            (Aspect::Xattrs, self.before.tree().xattrs(before) != self.after.tree().xattrs(after)),
            (Aspect::Time, times && named && was.mtime != is.mtime),
        ];
        differ.into_iter().filter(|(_, differs)| *differs).map(|(aspect, _)| aspect).collect()
    }

    /// Whether two nodes of the same type and size may have different contents.
    fn is_doubtful(&self, was: &Node, is: &Node, always: bool) -> bool {
        let maybe = was.kind == Kind::File && was.size > 0 && (always || was.mtime != is.mtime);
        maybe && source(self.before, was) != source(self.after, is)
    }
}

/// Where a file's bytes are: in which blob, and where in the stream. They are the same bytes if it is the same place.
fn source(image: &Image, node: &Node) -> Option<(Digest, Vec<(u64, u64)>)> {
    let (layer, _) = node.origin?;
    let places = image.entry(node)?.extents.iter().map(|extent| (extent.file, extent.stream));
    image.layers().nth(layer as usize).map(|layer| (layer.index().blob, places.collect()))
}

/// What a tree holds: files, each counted once however many names it has, and their bytes.
pub fn totals(tree: &Tree) -> (u64, u64) {
    let files = tree.nodes().iter().filter(|node| node.kind == Kind::File);
    files.fold((0, 0), |(count, bytes), node| (count + 1, bytes + node.size))
}
