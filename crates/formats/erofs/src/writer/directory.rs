//! Blocks of directories: fixed-size entries first, then the names.

use std::ops::Range;

use crate::format::{BLOCK, DIRENT_BYTES};

/// How the sorted entries of a directory are spread over blocks.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Blocks {
    /// Which entries go into which block; never empty.
    pub(super) ranges: Vec<Range<usize>>,
    /// Bytes used in the last block.
    pub(super) last_bytes: usize,
}

impl Blocks {
    pub(super) fn split(entries: &[(&[u8], usize)]) -> Self {
        let mut ranges = Vec::new();
        let (mut first, mut used) = (0, 0);
        for (position, (name, _)) in entries.iter().enumerate() {
            let bytes = DIRENT_BYTES + name.len();
            if used + bytes > BLOCK {
                ranges.push(first..position);
                (first, used) = (position, 0);
            }
            used += bytes;
        }
        ranges.push(first..entries.len());
        Self { ranges, last_bytes: used }
    }

    /// Length of the directory as `stat` shows it.
    pub(super) fn size(&self) -> u64 {
        ((self.ranges.len() - 1) * BLOCK + self.last_bytes) as u64
    }
}

/// The used bytes of one block. `node` gives number and type of an entry's inode.
pub(super) fn encode(entries: &[(&[u8], usize)], node: impl Fn(usize) -> (u64, u8)) -> Vec<u8> {
    let mut block = Vec::with_capacity(BLOCK);
    let mut name_offset = entries.len() * DIRENT_BYTES;
    for &(name, inode) in entries {
        let (number, file_type) = node(inode);
        block.extend(number.to_le_bytes());
        block.extend((name_offset as u16).to_le_bytes());
        block.extend([file_type, 0]);
        name_offset += name.len();
    }
    for (name, _) in entries {
        block.extend_from_slice(name);
    }
    block
}
