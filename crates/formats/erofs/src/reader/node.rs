//! Single inodes and what hangs on them: attributes, chunk tables, directory blocks, link targets.

use super::attribute::Header;
use super::bytes::Bytes;
use super::dirent::{Dirent, dirents};
use super::{ReadError, Walk, spend};
use crate::format::{
    BLOCK, BLOCK_BITS, BLOCK_BYTES, CHUNK_BITS_MASK, CHUNK_INDEX_BYTES, CHUNK_INDEXES, INODE_EXTENDED_BYTES,
    INODE_SLOT_BYTES, LAYOUT_CHUNK_BASED, LAYOUT_FLAT_INLINE, LAYOUT_FLAT_PLAIN, MAX_SYMLINK_BYTES,
    NULL_BLOCK, XATTR_ENTRY_BYTES, XATTR_HEADER_BYTES,
};
use crate::model::{Content, DataExtent, DeviceNumber, Inode, kind};

const OUTSIDE: ReadError = ReadError::Bounds("inode");

/// Full names and values.
type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// The fixed part of an inode.
struct Head {
    position: usize,
    xattr_bytes: usize,
    layout: u16,
    size: u64,
    location: u32,
}

impl Walk<'_> {
    fn head(&self, number: u64) -> Result<(Head, Bytes<'_>), ReadError> {
        let position =
            number.checked_mul(INODE_SLOT_BYTES).and_then(|offset| offset.checked_add(self.meta_start));
        let position = position.and_then(|position| usize::try_from(position).ok()).ok_or(OUTSIDE)?;
        let raw = self.image.take(position, INODE_EXTENDED_BYTES).ok_or(OUTSIDE)?;
        let format = raw.u16(0).ok_or(OUTSIDE)?;
        if format & 1 == 0 {
            return Err(ReadError::Unsupported("compact inode"));
        }
        let xattr_bytes = match usize::from(raw.u16(2).ok_or(OUTSIDE)?) {
            0 => 0,
            count => XATTR_HEADER_BYTES + (count - 1) * XATTR_ENTRY_BYTES,
        };
        let head = Head {
            position,
            xattr_bytes,
            layout: format >> 1 & 7,
            size: raw.u64(8).ok_or(OUTSIDE)?,
            location: raw.u32(16).ok_or(OUTSIDE)?,
        };
        Ok((head, raw))
    }

    /// The inode; of a directory without its entries.
    pub(super) fn inode(&mut self, number: u64) -> Result<Inode, ReadError> {
        let (head, raw) = self.head(number)?;
        let (short, word) =
            (|offset| raw.u16(offset).ok_or(OUTSIDE), |offset| raw.u32(offset).ok_or(OUTSIDE));
        let mut inode = Inode {
            mode: u32::from(short(4)?),
            uid: word(24)?,
            gid: word(28)?,
            mtime_s: raw.u64(32).ok_or(OUTSIDE)? as i64,
            mtime_ns: word(40)?,
            nlink: word(44)?,
            rdev: DeviceNumber::default(),
            size: 0,
            xattrs: Vec::new(),
            content: Content::None,
        };
        inode.xattrs = self.xattrs(number, &head)?;
        match inode.mode & kind::MASK {
            kind::DIRECTORY => inode.content = Content::Directory(Vec::new()),
            kind::SYMLINK => inode.content = Content::Symlink(self.symlink(number, &head)?),
            kind::REGULAR => {
                inode.size = head.size;
                inode.content = Content::Data(self.extents(number, &head)?);
            }
            kind::CHARACTER | kind::BLOCK => inode.rdev = DeviceNumber::decode(head.location),
            kind::FIFO | kind::SOCKET => {}
            _ => return Err(ReadError::Corrupt { number, what: "unknown type" }),
        }
        Ok(inode)
    }

    fn xattrs(&mut self, number: u64, head: &Head) -> Result<Xattrs, ReadError> {
        let mut xattrs = Vec::new();
        if head.xattr_bytes == 0 {
            return Ok(xattrs);
        }
        spend(&mut self.left.bytes, head.xattr_bytes, "bytes of names, attributes and links")?;
        let outside = ReadError::Bounds("extended attributes");
        let body =
            self.image.take(head.position + INODE_EXTENDED_BYTES, head.xattr_bytes).ok_or(outside.clone())?;
        if body.u8(4) != Some(0) {
            return Err(ReadError::Unsupported("shared extended attributes"));
        }
        let mut offset = XATTR_HEADER_BYTES;
        while offset < head.xattr_bytes {
            let header =
                body.take(offset, XATTR_ENTRY_BYTES).and_then(Header::parse).ok_or(outside.clone())?;
            let raw = body.take(offset + XATTR_ENTRY_BYTES, header.body_bytes()).ok_or(outside.clone())?;
            xattrs.push(header.attribute(raw.0, number)?);
            offset += header.bytes();
        }
        Ok(xattrs)
    }

    fn extents(&mut self, number: u64, head: &Head) -> Result<Vec<DataExtent>, ReadError> {
        if head.size == 0 {
            return Ok(Vec::new());
        }
        let corrupt = |what| ReadError::Corrupt { number, what };
        let format = head.location as u16;
        if head.layout != LAYOUT_CHUNK_BASED || format & !CHUNK_BITS_MASK != CHUNK_INDEXES {
            return Err(ReadError::Unsupported("file layout"));
        }
        let bits = BLOCK_BITS + u32::from(format & CHUNK_BITS_MASK);
        let count = usize::try_from(head.size.div_ceil(1 << bits)).map_err(|_| OUTSIDE)?;
        spend(&mut self.left.chunks, count, "chunks")?;
        let start =
            (head.position + INODE_EXTENDED_BYTES + head.xattr_bytes).next_multiple_of(CHUNK_INDEX_BYTES);
        let bytes = count.checked_mul(CHUNK_INDEX_BYTES).ok_or(OUTSIDE)?;
        let table = self.image.take(start, bytes).ok_or(ReadError::Bounds("chunk table"))?;
        let mut extents: Vec<DataExtent> = Vec::new();
        for chunk in 0..count {
            let offset = chunk * CHUNK_INDEX_BYTES;
            let device_id = table.u16(offset + 2).ok_or(OUTSIDE)?;
            let block = table.u32(offset + 4).ok_or(OUTSIDE)?;
            if block == NULL_BLOCK {
                continue;
            }
            if usize::from(device_id) > self.devices {
                return Err(corrupt("chunk on a device that does not exist"));
            }
            let device =
                device_id.checked_sub(1).ok_or(ReadError::Unsupported("file contents in the image"))?;
            let file_offset = (chunk as u64) << bits;
            let len = (head.size - file_offset).min(1 << bits);
            let next = DataExtent { file_offset, device, device_offset: u64::from(block) * BLOCK_BYTES, len };
            match extents.last_mut() {
                Some(last)
                    if last.device == device
                        && last.file_offset + last.len == file_offset
                        && last.device_offset + last.len == next.device_offset =>
                {
                    last.len += len;
                }
                _ => extents.push(next),
            }
        }
        Ok(extents)
    }

    /// Block `block` of a directory or link of `head.size` bytes.
    fn flat_block(&self, head: &Head, block: u64) -> Result<Bytes<'_>, ReadError> {
        let outside = ReadError::Bounds("block");
        let bytes = (head.size - block * BLOCK_BYTES).min(BLOCK_BYTES) as usize;
        let inline = match head.layout {
            LAYOUT_FLAT_PLAIN => false,
            LAYOUT_FLAT_INLINE => (block + 1) * BLOCK_BYTES > head.size,
            _ => return Err(ReadError::Unsupported("layout of a directory or link")),
        };
        let start = if inline {
            let start = head.position + INODE_EXTENDED_BYTES + head.xattr_bytes;
            if start % BLOCK + bytes > BLOCK {
                return Err(ReadError::Bounds("inline bytes across blocks"));
            }
            start
        } else {
            let address =
                u64::from(head.location).checked_add(block).and_then(|at| at.checked_mul(BLOCK_BYTES));
            address.and_then(|address| usize::try_from(address).ok()).ok_or(outside.clone())?
        };
        self.image.take(start, bytes).ok_or(outside)
    }

    fn symlink(&mut self, number: u64, head: &Head) -> Result<Vec<u8>, ReadError> {
        if head.size == 0 || head.size > MAX_SYMLINK_BYTES as u64 {
            return Err(ReadError::Corrupt { number, what: "impossible length of a link" });
        }
        spend(&mut self.left.bytes, head.size as usize, "bytes of names, attributes and links")?;
        Ok(self.flat_block(head, 0)?.0.to_vec())
    }

    /// Names, inode numbers and types of all entries.
    pub(super) fn directory(&mut self, number: u64) -> Result<Vec<(Vec<u8>, u64, u8)>, ReadError> {
        let (head, _) = self.head(number)?;
        let corrupt = |what| ReadError::Corrupt { number, what };
        let mut entries: Vec<(Vec<u8>, u64, u8)> = Vec::new();
        let mut left = self.left;
        for block in 0..head.size.div_ceil(BLOCK_BYTES) {
            let raw = self.flat_block(&head, block)?;
            let found = dirents(raw, number)?;
            spend(&mut left.entries, found.len(), "directory entries")?;
            for Dirent { name, child, file_type } in found {
                if entries.last().is_some_and(|(last, ..)| last.as_slice() >= name) {
                    return Err(corrupt("names out of order"));
                }
                spend(&mut left.bytes, name.len(), "bytes of names, attributes and links")?;
                entries.push((name.to_vec(), child, file_type));
            }
        }
        self.left = left;
        if !entries.iter().any(|(name, ..)| name == b".") || !entries.iter().any(|(name, ..)| name == b"..") {
            return Err(corrupt("without . or .."));
        }
        Ok(entries)
    }
}
