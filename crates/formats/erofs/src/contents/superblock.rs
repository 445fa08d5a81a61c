//! The superblock: where everything begins, and what the reader must understand.

use super::{ContentsError, Source, bytes};
use crate::crc32c::crc32c;
use crate::format::{
    COMPAT_CHECKSUM, INCOMPAT_CHUNKED_FILE, INCOMPAT_COMPRESSED_TAILS, INCOMPAT_COMPRESSION_SETTINGS,
    INCOMPAT_DEVICE_TABLE, INCOMPAT_FRAGMENTS, INCOMPAT_ZERO_PADDING, MAGIC, SUPERBLOCK_BYTES,
    SUPERBLOCK_OFFSET,
};
use crate::reader::ReadError;
use crate::reader::bytes::Bytes;

/// Blocks are of 512 bytes, as tar has them, to 64 KiB, the largest page that Linux has.
const BLOCK_BITS: std::ops::RangeInclusive<u8> = 9..=16;

/// Features that change nothing about a file that is not compressed. Files that are, tell by their layout.
const HARMLESS: u32 = INCOMPAT_ZERO_PADDING
    | INCOMPAT_COMPRESSION_SETTINGS
    | INCOMPAT_CHUNKED_FILE
    | INCOMPAT_COMPRESSED_TAILS
    | INCOMPAT_FRAGMENTS;

/// Features that are refused, with their names.
const REFUSED: [(u32, &str); 3] = [
    (0x40, "prefixes of attribute names of its own"),
    (0x80, "addresses of 48 bits"),
    (0x100, "metadata in an inode of its own"),
];

const OUTSIDE: ReadError = ReadError::Bounds("superblock");

/// What is needed of it.
pub(super) struct Superblock {
    pub(super) block_bits: u32,
    /// Number of the root directory's inode.
    pub(super) root: u64,
    /// Where inodes are counted from, in bytes.
    pub(super) meta_start: u64,
    /// Where shared attributes are counted from, in bytes.
    pub(super) xattr_start: u64,
    /// The modification time that compact inodes count from: seconds and nanoseconds.
    pub(super) epoch: (u64, u32),
}

impl Superblock {
    pub(super) fn read(source: &mut dyn Source) -> Result<Self, ContentsError> {
        let offset = SUPERBLOCK_OFFSET as u64;
        let raw = bytes(source, offset, SUPERBLOCK_BYTES)?;
        let raw = Bytes(&raw);
        let (short, word) = (|at| raw.u16(at).ok_or(OUTSIDE), |at| raw.u32(at).ok_or(OUTSIDE));
        if word(0)? != MAGIC {
            return Err(ReadError::Magic.into());
        }
        let bits = raw.u8(12).filter(|bits| BLOCK_BITS.contains(bits) && raw.u8(90) == Some(0));
        let block_bits = u32::from(bits.ok_or(ReadError::Unsupported("block size"))?);
        if word(8)? & COMPAT_CHECKSUM != 0 {
            checksum(source, 1 << block_bits, word(4)?)?;
        }
        let incompat = word(80)?;
        if let Some((_, what)) = REFUSED.iter().find(|(bit, _)| incompat & bit != 0) {
            return Err(ContentsError::Feature(what));
        }
        if incompat & !(HARMLESS | INCOMPAT_DEVICE_TABLE) != 0 {
            return Err(ContentsError::Feature("features that are newer than this program"));
        }
        if incompat & INCOMPAT_DEVICE_TABLE != 0 && short(86)? != 0 {
            return Err(ContentsError::Feature("file contents on other devices"));
        }
        Ok(Self {
            block_bits,
            root: u64::from(short(14)?),
            meta_start: u64::from(word(40)?) << block_bits,
            xattr_start: u64::from(word(44)?) << block_bits,
            epoch: (raw.u64(24).ok_or(OUTSIDE)?, word(32)?),
        })
    }

    pub(super) const fn block_bytes(&self) -> u64 {
        1 << self.block_bits
    }
}

/// Checks the bytes from the superblock to the end of its block.
fn checksum(source: &mut dyn Source, block_bytes: usize, stored: u32) -> Result<(), ContentsError> {
    // Where blocks are so small that the superblock has one of its own, all of that.
    let covered = if block_bytes > SUPERBLOCK_OFFSET { block_bytes - SUPERBLOCK_OFFSET } else { block_bytes };
    let mut block = bytes(source, SUPERBLOCK_OFFSET as u64, covered)?;
    if let Some(field) = block.get_mut(4..8) {
        field.fill(0);
    }
    let computed = crc32c(&block);
    if stored == computed { Ok(()) } else { Err(ReadError::Checksum { stored, computed }.into()) }
}
