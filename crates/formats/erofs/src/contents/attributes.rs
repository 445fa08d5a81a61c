//! Extended attributes: those beside an inode, and those that it shares with others.

use super::inode::Inode;
use super::{ContentsError, TEXT, Walk, bytes, corrupt};
use crate::format::{XATTR_ENTRY_BYTES, XATTR_HEADER_BYTES, XATTR_PREFIXES};
use crate::reader::attribute::Header;
use crate::reader::bytes::Bytes;
use crate::reader::{ReadError, spend};

const OUTSIDE: ReadError = ReadError::Bounds("extended attributes");
/// Shared attributes are numbered by their position in these units.
const SHARED_SLOT_BYTES: u64 = 4;

/// Full names and values.
type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

impl Walk<'_> {
    /// An inode's attributes, the shared ones first.
    pub(super) fn attributes(&mut self, inode: &Inode) -> Result<Xattrs, ContentsError> {
        let mut xattrs = Xattrs::new();
        if inode.xattr_bytes == 0 {
            return Ok(xattrs);
        }
        spend(&mut self.left.bytes, inode.xattr_bytes, TEXT)?;
        let raw = bytes(self.source, inode.xattrs_at, inode.xattr_bytes)?;
        let body = Bytes(&raw);
        let shared = usize::from(body.u8(4).ok_or(OUTSIDE)?);
        let mut offset = XATTR_HEADER_BYTES;
        for _ in 0..shared {
            let slot = body.u32(offset).ok_or(OUTSIDE)?;
            let attribute = self.shared(slot, inode.number)?;
            add(&mut xattrs, attribute, inode.number)?;
            offset += 4;
        }
        while offset < inode.xattr_bytes {
            let header = body.take(offset, XATTR_ENTRY_BYTES).and_then(Header::parse).ok_or(OUTSIDE)?;
            let raw = body.take(offset + XATTR_ENTRY_BYTES, header.body_bytes()).ok_or(OUTSIDE)?;
            add(&mut xattrs, header.attribute(raw.0, inode.number)?, inode.number)?;
            offset += header.bytes();
        }
        Ok(xattrs)
    }

    /// A shared attribute. It is counted for each inode that has it, for each gets a copy.
    fn shared(&mut self, slot: u32, number: u64) -> Result<(Vec<u8>, Vec<u8>), ContentsError> {
        let at =
            self.superblock.xattr_start.checked_add(u64::from(slot) * SHARED_SLOT_BYTES).ok_or(OUTSIDE)?;
        let raw = bytes(self.source, at, XATTR_ENTRY_BYTES)?;
        let header = Header::parse(Bytes(&raw)).ok_or(OUTSIDE)?;
        spend(&mut self.left.bytes, header.body_bytes(), TEXT)?;
        let raw = bytes(self.source, at + XATTR_ENTRY_BYTES as u64, header.body_bytes())?;
        Ok(header.attribute(&raw, number)?)
    }
}

/// Adds an attribute whose name is one, and not there yet.
fn add(xattrs: &mut Xattrs, new: (Vec<u8>, Vec<u8>), number: u64) -> Result<(), ContentsError> {
    let (name, _) = &new;
    if name.contains(&0) || !is_whole(name) {
        return Err(corrupt(number, "impossible name of an attribute"));
    }
    if xattrs.iter().any(|(known, _)| known == name) {
        return Err(corrupt(number, "attribute that is there twice"));
    }
    xattrs.push(new);
    Ok(())
}

/// Whether something follows the prefix, or nothing where nothing must.
fn is_whole(name: &[u8]) -> bool {
    XATTR_PREFIXES.iter().any(|(_, prefix, goes_on)| {
        name.strip_prefix(*prefix).is_some_and(|rest| rest.is_empty() != *goes_on)
    })
}
