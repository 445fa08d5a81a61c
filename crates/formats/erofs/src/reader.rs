//! Image in, tree out: a strict reader for checking what the writer made.
//!
//! What others write is for [`crate::contents()`]. This one understands 4 KiB blocks, extended inodes, attributes stored beside the inode, plain and inline
//! directories and links, and files with 8-byte chunk indexes. It refuses everything else: compressed files, shared attributes and
//! file contents inside the image.
//!
//! Beyond bounds it checks what the kernel takes on trust: the checksum, the order of names, `.` and `..`,
//! and that no directory has two parents.

pub(crate) mod attribute;
pub(crate) mod bytes;
pub(crate) mod dirent;
mod node;

use std::collections::HashMap;

use crate::crc32c::crc32c;
use crate::format::{
    BLOCK, BLOCK_BITS, BLOCK_BYTES, COMPAT_CHECKSUM, DEVICE_SLOT_BYTES, DEVICE_TAG_BYTES,
    INCOMPAT_CHUNKED_FILE, INCOMPAT_DEVICE_TABLE, MAGIC, SUPERBLOCK_BYTES, SUPERBLOCK_OFFSET,
};
use crate::model::{Content, Device, Inode};
use bytes::Bytes;

/// What a reader will hold in memory at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimits {
    /// Inodes.
    pub inodes: usize,
    /// Directory entries of all directories together, `.` and `..` counted.
    pub entries: usize,
    /// Chunk indexes of all files together.
    pub chunks: usize,
    /// Bytes of all names, extended attributes and link targets together.
    pub bytes: usize,
}

impl Default for ReadLimits {
    /// Room for an image with a million files.
    fn default() -> Self {
        Self { inodes: 1 << 20, entries: 1 << 22, chunks: 1 << 23, bytes: 256 << 20 }
    }
}

/// A parsed image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The tree, breadth first; the root is the first. Attributes are in the order of the image, and
    /// neighbouring extents that continue each other are joined.
    pub inodes: Vec<Inode>,
    /// The data devices, with sizes in whole blocks.
    pub devices: Vec<Device>,
}

/// Why bytes are not an image that this reader takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The magic number is missing.
    #[error("not an EROFS image")]
    Magic,
    /// The checksum of the superblock is wrong.
    #[error("superblock has checksum {stored:08x} but its bytes give {computed:08x}")]
    Checksum {
        /// As the image says.
        stored: u32,
        /// As it is.
        computed: u32,
    },
    /// Something valid that this reader does not understand.
    #[error("unsupported {0}")]
    Unsupported(&'static str),
    /// Something is outside the image.
    #[error("{0} outside the image")]
    Bounds(&'static str),
    /// Something contradicts the format.
    #[error("inode number {number}: {what}")]
    Corrupt {
        /// The inode's number in the image.
        number: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A limit was reached.
    #[error("more {0} than allowed")]
    Limit(&'static str),
}

/// Parses an image.
///
/// # Errors
/// [`ReadError`] for anything that is not a sound image in the subset that this reader understands, or is
/// larger than `limits`. Memory use is bounded by the limits and the length of `image`.
pub fn read(image: &[u8], limits: &ReadLimits) -> Result<Image, ReadError> {
    let image = Bytes(image);
    let superblock = Superblock::parse(image)?;
    let devices = superblock.devices(image)?;
    let mut walk = Walk {
        image,
        meta_start: superblock.meta_start,
        devices: devices.len(),
        left: *limits,
        inodes: Vec::new(),
        found: HashMap::new(),
    };
    walk.run(superblock.root)?;
    if walk.inodes.len() as u64 != superblock.inodes {
        return Err(ReadError::Corrupt { number: superblock.root, what: "count of inodes is wrong" });
    }
    Ok(Image { inodes: walk.inodes, devices })
}

struct Superblock {
    root: u64,
    inodes: u64,
    meta_start: u64,
    device_count: usize,
    device_table: usize,
}

impl Superblock {
    fn parse(image: Bytes<'_>) -> Result<Self, ReadError> {
        let raw = image.take(SUPERBLOCK_OFFSET, SUPERBLOCK_BYTES).ok_or(ReadError::Magic)?;
        let field = |offset| raw.u32(offset).ok_or(ReadError::Bounds("superblock"));
        let short = |offset| raw.u16(offset).ok_or(ReadError::Bounds("superblock"));
        if field(0)? != MAGIC {
            return Err(ReadError::Magic);
        }
        let bits = raw.u8(12).ok_or(ReadError::Bounds("superblock"))?;
        if u32::from(bits) != BLOCK_BITS || raw.u8(90) != Some(0) {
            return Err(ReadError::Unsupported("block size"));
        }
        let incompat = field(80)?;
        if incompat & !(INCOMPAT_CHUNKED_FILE | INCOMPAT_DEVICE_TABLE) != 0 {
            return Err(ReadError::Unsupported("feature"));
        }
        if u64::from(field(36)?) * BLOCK_BYTES > image.0.len() as u64 {
            return Err(ReadError::Bounds("last block"));
        }
        if field(8)? & COMPAT_CHECKSUM != 0 {
            let covered = BLOCK - SUPERBLOCK_OFFSET;
            let block = image.take(SUPERBLOCK_OFFSET, covered).ok_or(ReadError::Bounds("superblock"))?;
            let mut block = block.0.to_vec();
            let stored = field(4)?;
            block[4..8].fill(0);
            let computed = crc32c(&block);
            if stored != computed {
                return Err(ReadError::Checksum { stored, computed });
            }
        }
        let with_devices = incompat & INCOMPAT_DEVICE_TABLE != 0;
        Ok(Self {
            root: u64::from(short(14)?),
            inodes: raw.u64(16).ok_or(ReadError::Bounds("superblock"))?,
            meta_start: u64::from(field(40)?) * BLOCK_BYTES,
            device_count: if with_devices { usize::from(short(86)?) } else { 0 },
            device_table: usize::from(short(88)?) * DEVICE_SLOT_BYTES,
        })
    }

    fn devices(&self, image: Bytes<'_>) -> Result<Vec<Device>, ReadError> {
        let table = image
            .take(self.device_table, self.device_count * DEVICE_SLOT_BYTES)
            .ok_or(ReadError::Bounds("device table"))?;
        let slot = |raw: &[u8]| {
            let tag = &raw[..DEVICE_TAG_BYTES];
            let end = tag.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
            let blocks = Bytes(raw).u32(DEVICE_TAG_BYTES).unwrap_or(0);
            Device { bytes: u64::from(blocks) * BLOCK_BYTES, tag: tag[..end].to_vec() }
        };
        Ok(table.0.chunks_exact(DEVICE_SLOT_BYTES).map(slot).collect())
    }
}

/// State of the walk over the tree.
struct Walk<'a> {
    image: Bytes<'a>,
    meta_start: u64,
    devices: usize,
    /// What may still be used.
    left: ReadLimits,
    inodes: Vec<Inode>,
    /// Index of each inode number already met.
    found: HashMap<u64, usize>,
}

impl Walk<'_> {
    fn run(&mut self, root: u64) -> Result<(), ReadError> {
        self.add(root)?;
        // Directories still to be listed: number, index and the parent's number.
        let mut pending = vec![(root, 0, root)];
        let mut next = 0;
        while let Some(&(number, index, parent)) = pending.get(next) {
            next += 1;
            let mut children = Vec::new();
            for (name, child, file_type) in self.directory(number)? {
                let wrong = |what| Err(ReadError::Corrupt { number, what });
                match name.as_slice() {
                    b"." if child == number && file_type == 2 => continue,
                    b".." if child == parent && file_type == 2 => continue,
                    b"." | b".." => return wrong("wrong . or .."),
                    _ => {}
                }
                let known = self.found.get(&child).copied();
                let child_index = match known {
                    Some(index) => index,
                    None => self.add(child)?,
                };
                let inode = &self.inodes[child_index];
                if inode.file_type() != file_type {
                    return wrong("type of an entry differs from its inode");
                }
                if inode.is_directory() {
                    if known.is_some() {
                        return wrong("directory with two parents");
                    }
                    pending.push((child, child_index, number));
                }
                children.push((name, child_index));
            }
            if let Content::Directory(entries) = &mut self.inodes[index].content {
                *entries = children;
            } else {
                return Err(ReadError::Corrupt { number, what: "root is no directory" });
            }
        }
        Ok(())
    }

    fn add(&mut self, number: u64) -> Result<usize, ReadError> {
        spend(&mut self.left.inodes, 1, "inodes")?;
        let inode = self.inode(number)?;
        let index = self.inodes.len();
        self.found.insert(number, index);
        self.inodes.push(inode);
        Ok(index)
    }
}

pub(crate) fn spend(left: &mut usize, amount: usize, what: &'static str) -> Result<(), ReadError> {
    *left = left.checked_sub(amount).ok_or(ReadError::Limit(what))?;
    Ok(())
}
