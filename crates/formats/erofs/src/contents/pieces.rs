//! Where the bytes of an inode lie in the image.

use super::inode::Inode;
use super::{ContentsError, Piece, TEXT, Walk, bytes, corrupt, text};
use crate::format::{
    CHUNK_ADDRESS_BYTES, CHUNK_BITS_MASK, CHUNK_INDEX_BYTES, CHUNK_INDEXES, LAYOUT_CHUNK_BASED,
    LAYOUT_COMPRESSED_COMPACT, LAYOUT_COMPRESSED_FULL, LAYOUT_FLAT_INLINE, LAYOUT_FLAT_PLAIN,
    MAX_SYMLINK_BYTES, NULL_BLOCK,
};
use crate::reader::bytes::Bytes;
use crate::reader::{ReadError, spend};

/// Entries of a chunk table that are read at a time.
const CHUNKS_AT_ONCE: u64 = 4096;

impl Walk<'_> {
    /// The pieces of an inode's bytes, in their order.
    pub(super) fn pieces(&mut self, inode: &Inode, path: &[u8]) -> Result<Vec<Piece>, ContentsError> {
        match inode.layout {
            LAYOUT_COMPRESSED_FULL | LAYOUT_COMPRESSED_COMPACT => {
                Err(ContentsError::Compressed { path: text(path) })
            }
            _ if inode.size == 0 => Ok(Vec::new()),
            LAYOUT_FLAT_PLAIN => self.flat(inode, 0),
            LAYOUT_FLAT_INLINE => {
                let whole = (inode.size - 1) / self.superblock.block_bytes() * self.superblock.block_bytes();
                self.flat(inode, inode.size - whole)
            }
            LAYOUT_CHUNK_BASED => self.chunks(inode),
            _ => Err(ReadError::Unsupported("layout of a file").into()),
        }
    }

    /// Blocks in a row, and a tail of `tail` bytes beside the inode.
    fn flat(&self, inode: &Inode, tail: u64) -> Result<Vec<Piece>, ContentsError> {
        let mut pieces = Vec::new();
        let plain = inode.size - tail;
        // A file that is one hole has no address.
        if plain > 0 && (inode.location != NULL_BLOCK || tail > 0) {
            let image = u64::from(inode.location) << self.superblock.block_bits;
            image.checked_add(plain).ok_or(ReadError::Bounds("file"))?;
            pieces.push(Piece { file: 0, image, len: plain });
        }
        if tail > 0 {
            let image = inode.body_at()?;
            if image % self.superblock.block_bytes() + tail > self.superblock.block_bytes() {
                return Err(ReadError::Bounds("inline bytes across blocks").into());
            }
            pieces.push(Piece { file: plain, image, len: tail });
        }
        Ok(pieces)
    }

    /// Chunks, each with its address.
    fn chunks(&mut self, inode: &Inode) -> Result<Vec<Piece>, ContentsError> {
        let form = inode.location as u16;
        if form & !(CHUNK_BITS_MASK | CHUNK_INDEXES) != 0 {
            return Err(ReadError::Unsupported("form of chunks").into());
        }
        let bits = self.superblock.block_bits + u32::from(form & CHUNK_BITS_MASK);
        let count = inode.size.div_ceil(1 << bits);
        spend(&mut self.left.chunks, usize::try_from(count).unwrap_or(usize::MAX), "chunks")?;
        let with_indexes = form & CHUNK_INDEXES != 0;
        let entry_bytes = if with_indexes { CHUNK_INDEX_BYTES } else { CHUNK_ADDRESS_BYTES };
        let table = inode.body_at()?.checked_next_multiple_of(entry_bytes as u64);
        let table = table.ok_or(ReadError::Bounds("chunk table"))?;
        let mut pieces: Vec<Piece> = Vec::new();
        let mut first = 0;
        while first < count {
            let here = (count - first).min(CHUNKS_AT_ONCE) as usize;
            let at = table.checked_add(first * entry_bytes as u64).ok_or(ReadError::Bounds("chunk table"))?;
            let raw = bytes(self.source, at, here * entry_bytes)?;
            for (chunk, raw) in (first..).zip(raw.chunks_exact(entry_bytes)) {
                let raw = Bytes(raw);
                let (device, block) = match with_indexes {
                    true => (raw.u16(2).unwrap_or(0), raw.u32(4)),
                    false => (0, raw.u32(0)),
                };
                let Some(block) = block.filter(|block| *block != NULL_BLOCK) else { continue };
                if device != 0 {
                    return Err(corrupt(inode.number, "chunk on a device that does not exist"));
                }
                let file = chunk << bits;
                let image = u64::from(block) << self.superblock.block_bits;
                let len = (inode.size - file).min(1 << bits);
                match pieces.last_mut() {
                    Some(last) if last.file + last.len == file && last.image + last.len == image => {
                        last.len += len;
                    }
                    _ => pieces.push(Piece { file, image, len }),
                }
            }
            first += here as u64;
        }
        Ok(pieces)
    }

    /// The target of a symbolic link.
    pub(super) fn target(&mut self, inode: &Inode, path: &[u8]) -> Result<Vec<u8>, ContentsError> {
        if inode.size == 0 || inode.size > MAX_SYMLINK_BYTES as u64 {
            return Err(corrupt(inode.number, "impossible length of a link"));
        }
        spend(&mut self.left.bytes, inode.size as usize, TEXT)?;
        let pieces = self.pieces(inode, path)?;
        let mut target = Vec::with_capacity(inode.size as usize);
        for piece in &pieces {
            target.extend(bytes(self.source, piece.image, piece.len as usize)?);
        }
        if target.len() as u64 != inode.size || target.contains(&0) {
            return Err(corrupt(inode.number, "impossible target of a link"));
        }
        Ok(target)
    }

    /// Bytes from `start` on, which lie in one of the pieces.
    pub(super) fn part(
        &mut self,
        pieces: &[Piece],
        start: u64,
        len: usize,
    ) -> Result<Vec<u8>, ContentsError> {
        let holds = |piece: &&Piece| piece.file <= start && start + len as u64 <= piece.file + piece.len;
        let at = pieces.partition_point(|piece| piece.file + piece.len <= start);
        let piece = pieces.get(at).filter(holds).ok_or(ReadError::Bounds("directory"))?;
        bytes(self.source, piece.image + (start - piece.file), len)
    }
}
