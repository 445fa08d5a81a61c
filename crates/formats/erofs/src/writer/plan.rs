//! Where everything goes: positions of inodes and of the blocks that do not fit beside them.

use super::chunks::Chunks;
use super::directory::Blocks;
use super::tree::Tree;
use super::{WriteError, xattr};
use crate::format::{
    BLOCK, BLOCK_BYTES, CHUNK_INDEX_BYTES, DEVICE_SLOT_BYTES, DEVICE_TABLE_OFFSET, INODE_EXTENDED_BYTES,
    INODE_SLOT_BYTES, LAYOUT_CHUNK_BASED, LAYOUT_FLAT_INLINE, LAYOUT_FLAT_PLAIN, MAX_SYMLINK_BYTES,
};
use crate::model::{Content, Device, Inode, kind};

/// The layout of an image.
pub(super) struct Plan {
    /// In the order in which they are written.
    pub(super) inodes: Vec<Planned>,
    /// Number of each inode of the caller; 0, which is none, for those that are left out.
    pub(super) numbers: Vec<u64>,
    /// Blocks of the whole image.
    pub(super) blocks: u32,
}

/// The layout of one inode.
pub(super) struct Planned {
    /// Index in the caller's list.
    pub(super) index: usize,
    /// Byte offset in the image.
    pub(super) position: u64,
    /// Encoded attributes, which follow the inode.
    pub(super) xattrs: Vec<u8>,
    /// Length as `stat` shows it.
    pub(super) size: u64,
    pub(super) body: Body,
}

/// What follows an inode and its attributes, and what lies elsewhere.
pub(super) enum Body {
    /// Nothing at all.
    Empty,
    /// A device node with its number.
    Node(u32),
    /// A file on data devices.
    Chunks(Chunks),
    /// A directory.
    Directory(Blocks, Placement),
    /// A symbolic link.
    Symlink(Placement),
}

/// Where the bytes of a directory or link are.
#[derive(Clone, Copy)]
pub(super) struct Placement {
    /// Bytes of the last block, if it lies beside the inode; else 0.
    pub(super) inline_bytes: usize,
    /// Number of blocks elsewhere.
    pub(super) blocks: u64,
    /// Address of the first of them.
    pub(super) first_block: u32,
}

impl Plan {
    pub(super) fn make(inodes: &[Inode], devices: &[Device], tree: &Tree<'_>) -> Result<Self, WriteError> {
        // Inodes start in a block of their own, so that the checksum of the first block needs none of them.
        // Numbers count from the start of the image; 0 must not occur, because user space takes it for
        // "deleted".
        let table_end = DEVICE_TABLE_OFFSET + devices.len() * DEVICE_SLOT_BYTES;
        let mut position = table_end.next_multiple_of(BLOCK) as u64;
        let mut numbers = vec![0; inodes.len()];
        let mut planned = Vec::with_capacity(tree.order.len());
        for &index in &tree.order {
            let mut inode = plan_inode(index, &inodes[index], devices, &tree.entries[index])?;
            inode.position = inode.place(position);
            position = (inode.position + inode.bytes()).next_multiple_of(INODE_SLOT_BYTES);
            numbers[index] = inode.position / INODE_SLOT_BYTES;
            planned.push(inode);
        }
        let mut block = position.div_ceil(BLOCK_BYTES);
        for inode in &mut planned {
            if let Some(placement) = inode.body.placement_mut() {
                placement.first_block = u32::try_from(block).map_err(|_| WriteError::TooLarge)?;
                block += placement.blocks;
            }
        }
        let blocks = u32::try_from(block).ok().filter(|&blocks| blocks < u32::MAX);
        Ok(Self { inodes: planned, numbers, blocks: blocks.ok_or(WriteError::TooLarge)? })
    }
}

impl Planned {
    /// Bytes before whatever the layout puts behind inode and attributes.
    pub(super) fn header_bytes(&self) -> usize {
        INODE_EXTENDED_BYTES + self.xattrs.len()
    }

    /// Value of the layout field.
    pub(super) fn layout(&self) -> u16 {
        match &self.body {
            Body::Chunks(_) => LAYOUT_CHUNK_BASED,
            Body::Directory(_, placement) | Body::Symlink(placement) if placement.inline_bytes > 0 => {
                LAYOUT_FLAT_INLINE
            }
            _ => LAYOUT_FLAT_PLAIN,
        }
    }

    fn inline_bytes(&self) -> usize {
        match &self.body {
            Body::Directory(_, placement) | Body::Symlink(placement) => placement.inline_bytes,
            _ => 0,
        }
    }

    /// Bytes of everything that lies at the inode's position.
    fn bytes(&self) -> u64 {
        let header = self.header_bytes();
        match &self.body {
            Body::Chunks(chunks) => header.next_multiple_of(CHUNK_INDEX_BYTES) as u64 + chunks.bytes(),
            _ => (header + self.inline_bytes()) as u64,
        }
    }

    /// The first place from `position` on where neither the inode itself nor its inline bytes cross a block.
    fn place(&self, position: u64) -> u64 {
        let whole = if self.inline_bytes() > 0 { self.header_bytes() } else { 0 };
        let needed = (whole + self.inline_bytes()).max(INODE_EXTENDED_BYTES) as u64;
        if position % BLOCK_BYTES + needed <= BLOCK_BYTES {
            position
        } else {
            position.next_multiple_of(BLOCK_BYTES)
        }
    }
}

impl Body {
    fn placement_mut(&mut self) -> Option<&mut Placement> {
        match self {
            Self::Directory(_, placement) | Self::Symlink(placement) if placement.blocks > 0 => {
                Some(placement)
            }
            _ => None,
        }
    }
}

impl Placement {
    /// Places `size` bytes, the last block of them beside the inode if they fit into one block with it.
    fn of(size: u64, header_bytes: usize) -> Self {
        let tail = (size % BLOCK_BYTES) as usize;
        let inline_bytes = if header_bytes + tail <= BLOCK { tail } else { 0 };
        let blocks = (size - inline_bytes as u64).div_ceil(BLOCK_BYTES);
        Self { inline_bytes, blocks, first_block: 0 }
    }
}

fn plan_inode(
    index: usize,
    inode: &Inode,
    devices: &[Device],
    entries: &[(&[u8], usize)],
) -> Result<Planned, WriteError> {
    if inode.mtime_ns >= 1_000_000_000 {
        return Err(WriteError::Time { inode: index, nanoseconds: inode.mtime_ns });
    }
    let xattrs = xattr::encode(&inode.xattrs).map_err(|source| WriteError::Xattr { inode: index, source })?;
    let header_bytes = INODE_EXTENDED_BYTES + xattrs.len();
    let wrong_mode = WriteError::Mode { inode: index, mode: inode.mode };
    if inode.mode > u32::from(u16::MAX) {
        return Err(wrong_mode);
    }
    let (size, body) = match (&inode.content, inode.mode & kind::MASK) {
        (Content::Directory(_), kind::DIRECTORY) => {
            let blocks = Blocks::split(entries);
            let size = blocks.size();
            (size, Body::Directory(blocks, Placement::of(size, header_bytes)))
        }
        (Content::Symlink(target), kind::SYMLINK) => {
            if target.is_empty() || target.len() > MAX_SYMLINK_BYTES || target.contains(&0) {
                return Err(WriteError::Symlink { inode: index, bytes: target.len() });
            }
            let size = target.len() as u64;
            (size, Body::Symlink(Placement::of(size, header_bytes)))
        }
        (Content::Data(extents), kind::REGULAR) if inode.size > 0 || !extents.is_empty() => {
            let chunks = Chunks::plan(inode.size, extents, devices)
                .map_err(|source| WriteError::Extents { inode: index, source })?;
            (inode.size, Body::Chunks(chunks))
        }
        (Content::Data(_) | Content::None, kind::REGULAR) if inode.size == 0 => (0, Body::Empty),
        (Content::None, kind::CHARACTER | kind::BLOCK) => {
            let number = inode.rdev.encode().ok_or(WriteError::DeviceNumber {
                inode: index,
                major: inode.rdev.major,
                minor: inode.rdev.minor,
            })?;
            (0, Body::Node(number))
        }
        (Content::None, kind::FIFO | kind::SOCKET) => (0, Body::Empty),
        _ => return Err(wrong_mode),
    };
    Ok(Planned { index, position: 0, xattrs, size, body })
}
