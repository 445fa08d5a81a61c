//! The planned image as bytes, front to back.

use std::io::{self, BufWriter, Write};

use super::directory;
use super::plan::{Body, Placement, Plan, Planned};
use super::tree::Tree;
use super::xattr;
use crate::crc32c::crc32c;
use crate::format::{
    BLOCK, BLOCK_BITS, BLOCK_BYTES, CHUNK_INDEX_BYTES, COMPAT_CHECKSUM, COMPAT_MTIME, DEVICE_SLOT_BYTES,
    DEVICE_TABLE_OFFSET, DEVICE_TAG_BYTES, INCOMPAT_CHUNKED_FILE, INCOMPAT_DEVICE_TABLE,
    INODE_EXTENDED_BYTES, MAGIC, SUPERBLOCK_OFFSET,
};
use crate::model::{Content, Device, Inode};

/// Inodes are small, and a system call for each would cost more than all the rest.
const BUFFER_BYTES: usize = 256 << 10;
const ZEROS: [u8; BLOCK] = [0; BLOCK];

/// Counts what went out, to fill gaps up to planned positions.
struct Output<W: Write> {
    out: BufWriter<W>,
    written: u64,
}

impl<W: Write> Output<W> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    /// Zeros up to the byte offset `position`, which must not have been passed.
    fn fill_to(&mut self, position: u64) -> io::Result<()> {
        debug_assert!(self.written <= position, "{} is behind {position}", self.written);
        while self.written < position {
            let gap = (position - self.written).min(BLOCK_BYTES);
            self.put(&ZEROS[..gap as usize])?;
        }
        Ok(())
    }
}

pub(super) fn image(
    inodes: &[Inode],
    devices: &[Device],
    tree: &Tree<'_>,
    plan: &Plan,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut out = Output { out: BufWriter::with_capacity(BUFFER_BYTES, out), written: 0 };
    out.put(&head(devices, plan))?;
    let node = |index: usize| (plan.numbers[index], inodes[index].file_type());
    for planned in &plan.inodes {
        let source = &inodes[planned.index];
        out.fill_to(planned.position)?;
        out.put(&inode(source, planned))?;
        out.put(&planned.xattrs)?;
        match &planned.body {
            Body::Empty | Body::Node(_) => {}
            Body::Chunks(chunks) => {
                out.fill_to(out.written.next_multiple_of(CHUNK_INDEX_BYTES as u64))?;
                for index in chunks.indexes() {
                    out.put(&index)?;
                }
            }
            Body::Directory(blocks, placement) if placement.inline_bytes > 0 => {
                let last = blocks.ranges[blocks.ranges.len() - 1].clone();
                out.put(&directory::encode(&tree.entries[planned.index][last], node))?;
            }
            Body::Symlink(placement) if placement.inline_bytes > 0 => out.put(target(source))?,
            Body::Directory(..) | Body::Symlink(_) => {}
        }
    }
    for planned in &plan.inodes {
        match &planned.body {
            Body::Directory(blocks, placement) => {
                for (range, block) in blocks.ranges.iter().zip(placement.addresses()) {
                    out.fill_to(block)?;
                    out.put(&directory::encode(&tree.entries[planned.index][range.clone()], node))?;
                }
            }
            Body::Symlink(placement) => {
                for block in placement.addresses() {
                    out.fill_to(block)?;
                    out.put(target(&inodes[planned.index]))?;
                }
            }
            Body::Empty | Body::Node(_) | Body::Chunks(_) => {}
        }
    }
    out.fill_to(u64::from(plan.blocks) * BLOCK_BYTES)?;
    out.out.flush()
}

impl Placement {
    /// Byte offsets of the blocks that lie elsewhere.
    fn addresses(self) -> impl Iterator<Item = u64> {
        (0..self.blocks).map(move |block| (u64::from(self.first_block) + block) * BLOCK_BYTES)
    }
}

fn target(inode: &Inode) -> &[u8] {
    if let Content::Symlink(target) = &inode.content { target } else { &[] }
}

/// Writes little-endian fields at their offsets.
struct Fields<'b>(&'b mut [u8]);

impl Fields<'_> {
    fn set<const N: usize>(&mut self, offset: usize, bytes: [u8; N]) -> &mut Self {
        self.0[offset..offset + N].copy_from_slice(&bytes);
        self
    }
}

/// Everything before the first inode: superblock and device table.
fn head(devices: &[Device], plan: &Plan) -> Vec<u8> {
    let table_end = DEVICE_TABLE_OFFSET + devices.len() * DEVICE_SLOT_BYTES;
    let mut head = vec![0; table_end.next_multiple_of(BLOCK)];
    for (slot, device) in head[DEVICE_TABLE_OFFSET..].chunks_exact_mut(DEVICE_SLOT_BYTES).zip(devices) {
        slot[..device.tag.len()].copy_from_slice(&device.tag);
        let blocks = device.bytes.div_ceil(BLOCK_BYTES) as u32;
        Fields(slot).set(DEVICE_TAG_BYTES, blocks.to_le_bytes());
    }
    let incompat = INCOMPAT_CHUNKED_FILE | if devices.is_empty() { 0 } else { INCOMPAT_DEVICE_TABLE };
    let root = plan.numbers[0] as u16; // at most (MAX_DEVICES * 128 + 2 * 4096) / 32
    let table = if devices.is_empty() { 0 } else { (DEVICE_TABLE_OFFSET / DEVICE_SLOT_BYTES) as u16 };
    let mut superblock = Fields(&mut head[SUPERBLOCK_OFFSET..]);
    superblock
        .set(0, MAGIC.to_le_bytes())
        .set(8, (COMPAT_CHECKSUM | COMPAT_MTIME).to_le_bytes())
        .set(12, [BLOCK_BITS as u8])
        .set(14, root.to_le_bytes())
        .set(16, (plan.inodes.len() as u64).to_le_bytes())
        .set(36, plan.blocks.to_le_bytes())
        .set(80, incompat.to_le_bytes())
        .set(86, (devices.len() as u16).to_le_bytes())
        .set(88, table.to_le_bytes());
    let checksum = crc32c(&head[SUPERBLOCK_OFFSET..BLOCK]);
    Fields(&mut head[SUPERBLOCK_OFFSET..]).set(4, checksum.to_le_bytes());
    head
}

/// The extended form, the only one with a time of its own.
fn inode(source: &Inode, planned: &Planned) -> [u8; INODE_EXTENDED_BYTES] {
    let location = match &planned.body {
        Body::Empty => 0,
        Body::Node(number) => *number,
        Body::Chunks(chunks) => u32::from(chunks.format()),
        Body::Directory(_, placement) | Body::Symlink(placement) => placement.first_block,
    };
    let xattr_count = xattr::count(planned.xattrs.len()).unwrap_or(0); // checked when they were encoded
    let mut bytes = [0; INODE_EXTENDED_BYTES];
    Fields(&mut bytes)
        .set(0, (1 | planned.layout() << 1).to_le_bytes())
        .set(2, xattr_count.to_le_bytes())
        .set(4, (source.mode as u16).to_le_bytes())
        .set(8, planned.size.to_le_bytes())
        .set(16, location.to_le_bytes())
        .set(20, ((planned.position / crate::format::INODE_SLOT_BYTES) as u32).to_le_bytes())
        .set(24, source.uid.to_le_bytes())
        .set(28, source.gid.to_le_bytes())
        .set(32, source.mtime_s.to_le_bytes())
        .set(40, source.mtime_ns.to_le_bytes())
        .set(44, source.nlink.to_le_bytes());
    bytes
}
