//! The fixed part of an inode, compact or extended.

use super::superblock::Superblock;
use super::{ContentsError, Source, bytes, corrupt};
use crate::format::{
    INODE_COMPACT_BYTES, INODE_EXTENDED_BYTES, INODE_SLOT_BYTES, XATTR_ENTRY_BYTES, XATTR_HEADER_BYTES,
};
use crate::reader::ReadError;
use crate::reader::bytes::Bytes;

/// In the inode's format: whether it is extended, and its layout.
const EXTENDED: u16 = 1;
const KNOWN_FORMAT: u16 = 0xf;

const OUTSIDE: ReadError = ReadError::Bounds("inode");

/// Beyond a second.
const NANOSECONDS: u32 = 1_000_000_000;

/// What is common to both forms.
pub(super) struct Inode {
    pub(super) number: u64,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime_s: i64,
    pub(super) mtime_ns: u32,
    pub(super) size: u64,
    pub(super) layout: u16,
    /// Address of the first block, a device's number, or the form of the chunks.
    pub(super) location: u32,
    /// Where its attributes lie in the image, in bytes.
    pub(super) xattrs_at: u64,
    /// How long they are, in bytes.
    pub(super) xattr_bytes: usize,
}

impl Inode {
    pub(super) fn read(
        source: &mut dyn Source,
        superblock: &Superblock,
        number: u64,
    ) -> Result<Self, ContentsError> {
        let at = number.checked_mul(INODE_SLOT_BYTES).and_then(|at| at.checked_add(superblock.meta_start));
        let at = at.ok_or(OUTSIDE)?;
        let mut raw = bytes(source, at, INODE_COMPACT_BYTES)?;
        let format = Bytes(&raw).u16(0).ok_or(OUTSIDE)?;
        let is_extended = format & EXTENDED != 0;
        if is_extended {
            raw = bytes(source, at, INODE_EXTENDED_BYTES)?;
        }
        if format & !KNOWN_FORMAT != 0 {
            return Err(ReadError::Unsupported("form of an inode").into());
        }
        let raw = Bytes(&raw);
        let (short, word) = (|at| raw.u16(at).ok_or(OUTSIDE), |at| raw.u32(at).ok_or(OUTSIDE));
        let long = |at| raw.u64(at).ok_or(OUTSIDE);
        let xattr_bytes = match usize::from(short(2)?) {
            0 => 0,
            count => XATTR_HEADER_BYTES + (count - 1) * XATTR_ENTRY_BYTES,
        };
        let (epoch, nanoseconds) = superblock.epoch;
        let (size, uid, gid, mtime_s, mtime_ns) = if is_extended {
            (long(8)?, word(24)?, word(28)?, long(32)?, word(40)?)
        } else {
            let mtime_s = epoch.wrapping_add(u64::from(word(12)?));
            (u64::from(word(8)?), u32::from(short(24)?), u32::from(short(26)?), mtime_s, nanoseconds)
        };
        if mtime_ns >= NANOSECONDS {
            return Err(corrupt(number, "impossible time"));
        }
        if i64::try_from(size).is_err() {
            return Err(corrupt(number, "impossible length"));
        }
        Ok(Self {
            number,
            mode: u32::from(short(4)?),
            uid,
            gid,
            mtime_s: mtime_s as i64,
            mtime_ns,
            size,
            layout: format >> 1 & 7,
            location: word(16)?,
            xattrs_at: at.checked_add(raw.0.len() as u64).ok_or(OUTSIDE)?,
            xattr_bytes,
        })
    }

    /// Where in the image the inode's tail or chunk table begins, but for alignment, in bytes.
    pub(super) fn body_at(&self) -> Result<u64, ContentsError> {
        let at = self.xattrs_at.checked_add(self.xattr_bytes as u64);
        at.ok_or(OUTSIDE.into())
    }
}
