//! What a tree means, independent of inode order, entry order and how extents are cut.

use std::collections::{BTreeMap, HashMap};

use glowplug_erofs::{Content, DataExtent, Inode};

/// Path to what is there.
pub type Model = BTreeMap<Vec<u8>, Node>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub mode: u32,
    pub owner: (u32, u32),
    pub mtime: (i64, u32),
    pub nlink: u32,
    pub rdev: (u32, u32),
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The first path of the same inode.
    pub same_as: Vec<u8>,
    pub body: Body,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    Directory,
    Symlink(Vec<u8>),
    /// Length, and the extents cut into blocks: file offset, device, device offset.
    File(u64, Vec<(u64, u16, u64)>),
    Other,
}

pub fn of(inodes: &[Inode]) -> Model {
    let mut model = Model::new();
    let mut first_path = HashMap::new();
    let mut pending = vec![(Vec::new(), 0)];
    while let Some((path, index)) = pending.pop() {
        let inode = &inodes[index];
        if let Content::Directory(entries) = &inode.content {
            for (name, child) in entries {
                pending.push(([&path, &b"/"[..], name].concat(), *child));
            }
        }
        // Paths come in no particular order, so the smallest one stands for the inode.
        let first: &mut Vec<u8> = first_path.entry(index).or_insert_with(|| path.clone());
        if path < *first {
            first.clone_from(&path);
        }
        model.insert(path, node(inode, index));
    }
    for node in model.values_mut() {
        let index = usize::from_ne_bytes(node.same_as.as_slice().try_into().unwrap());
        node.same_as.clone_from(&first_path[&index]);
    }
    model
}

fn node(inode: &Inode, index: usize) -> Node {
    Node {
        mode: inode.mode,
        owner: (inode.uid, inode.gid),
        mtime: (inode.mtime_s, inode.mtime_ns),
        nlink: inode.nlink,
        rdev: (inode.rdev.major, inode.rdev.minor),
        xattrs: inode.xattrs.iter().cloned().collect(),
        same_as: index.to_ne_bytes().to_vec(),
        body: match &inode.content {
            Content::Directory(_) => Body::Directory,
            Content::Symlink(target) => Body::Symlink(target.clone()),
            Content::Data(extents) => Body::File(inode.size, blocks(extents)),
            Content::None if inode.mode & 0o170_000 == 0o100_000 => Body::File(0, Vec::new()),
            Content::None => Body::Other,
        },
    }
}

fn blocks(extents: &[DataExtent]) -> Vec<(u64, u16, u64)> {
    let cut = |extent: &DataExtent| {
        let extent = *extent;
        (0..extent.len.div_ceil(4096))
            .map(move |i| (extent.file_offset + i * 4096, extent.device, extent.device_offset + i * 4096))
    };
    extents.iter().flat_map(cut).collect()
}
