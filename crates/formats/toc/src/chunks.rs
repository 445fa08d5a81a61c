//! The chunk table of one large file: digests of its equal pieces, so that each can be checked by itself.
//!
//! ```text
//! 0   8  magic "GPCHUNKS"
//! 8   4  version, little-endian
//! 12  4  length of a chunk in bytes, a power of two
//! 16  8  length of the file in bytes
//! 24  …  SHA-256 of each chunk, the last of which may be shorter
//! ```
//!
//! A table goes by its own digest, which whoever refers to it names: so it needs no checksum, and two tables of one digest
//! are of the same bytes. How long chunks are depends on the file's length alone, so that equal files have equal tables.
//! A reader refuses any version but its own.

use glowplug_base::{ByteRange, Digest, Hasher};

const MAGIC: &[u8; 8] = b"GPCHUNKS";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 24;
const DIGEST_BYTES: usize = 32;
/// Shortest chunk that is made, in bytes: what a reader of one byte fetches, 4 ms of a 1 Gbit/s link.
const SHORTEST_MADE_BYTES: u64 = 512 << 10;
/// Chunks of a table that is made, unless they would be longer than [`LONGEST_BYTES`]: 2 MiB of digests, and files up to
/// 32 GiB have the shortest chunks.
const CHUNKS_MADE: u64 = 1 << 16;
/// Shortest chunk that is read, in bytes: a block of the store.
const SHORTEST_BYTES: u64 = 4 << 10;
/// Longest chunk, in bytes: it is checked in memory.
const LONGEST_BYTES: u64 = 32 << 20;
/// Longest table that is read, in bytes.
pub const MAX_TABLE_BYTES: u64 = 16 << 20;

/// The table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkTable {
    /// Length of the file in bytes; never 0.
    pub size: u64,
    /// Length of all chunks but the last, in bytes.
    pub chunk_bytes: u64,
    /// Their digests, as many as the file has chunks.
    pub digests: Vec<Digest>,
}

/// Why bytes are no chunk table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChunkTableError {
    /// Something else, or cut short.
    #[error("not a chunk table")]
    Magic,
    /// Written by another version.
    #[error("chunk table version {0}, this program reads version {VERSION}")]
    Version(u32),
    /// Lengths that no table has.
    #[error(
        "chunk table of a file of {size} bytes in chunks of {chunk_bytes}, with {digests_bytes} bytes of digests"
    )]
    Lengths {
        /// Length of the file as it says.
        size: u64,
        /// Length of a chunk as it says.
        chunk_bytes: u64,
        /// Bytes behind the header.
        digests_bytes: usize,
    },
}

impl ChunkTable {
    /// Reads a table.
    ///
    /// # Errors
    /// See [`ChunkTableError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ChunkTableError> {
        let (header, rest) = bytes.split_at_checked(HEADER_BYTES).ok_or(ChunkTableError::Magic)?;
        let word =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        if !header.starts_with(MAGIC) {
            return Err(ChunkTableError::Magic);
        }
        if word(8) != VERSION {
            return Err(ChunkTableError::Version(word(8)));
        }
        let chunk_bytes = u64::from(word(12));
        let size = u64::from(word(16)) | u64::from(word(20)) << 32;
        let fits = chunk_bytes.is_power_of_two()
            && (SHORTEST_BYTES..=LONGEST_BYTES).contains(&chunk_bytes)
            && bytes.len() as u64 <= MAX_TABLE_BYTES
            && size > 0
            && size.div_ceil(chunk_bytes) == (rest.len() / DIGEST_BYTES) as u64
            && rest.len().is_multiple_of(DIGEST_BYTES);
        if !fits {
            return Err(ChunkTableError::Lengths { size, chunk_bytes, digests_bytes: rest.len() });
        }
        let (digests, _) = rest.as_chunks::<DIGEST_BYTES>();
        Ok(Self { size, chunk_bytes, digests: digests.iter().copied().map(Digest::from_bytes).collect() })
    }

    /// The table as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.digests.len() * DIGEST_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        // A chunk is at most 32 MiB long.
        bytes.extend_from_slice(&(self.chunk_bytes as u32).to_le_bytes());
        bytes.extend_from_slice(&self.size.to_le_bytes());
        self.digests.iter().for_each(|digest| bytes.extend_from_slice(digest.as_bytes()));
        bytes
    }

    /// The chunks: where each lies in the file, and its digest.
    pub fn chunks(&self) -> impl Iterator<Item = (ByteRange, Digest)> + '_ {
        let starts = (0..self.size).step_by(self.chunk_bytes as usize);
        let range = |start: u64| ByteRange::new(start, start.saturating_add(self.chunk_bytes).min(self.size));
        starts.map(range).zip(self.digests.iter().copied())
    }
}

/// Makes the table of a file as its bytes go by.
#[derive(Debug)]
pub struct Chunker {
    size: u64,
    chunk_bytes: u64,
    digests: Vec<Digest>,
    hasher: Hasher,
    /// Bytes of the open chunk.
    filled: u64,
}

impl Chunker {
    /// For a file of `size` bytes.
    pub fn new(size: u64) -> Self {
        let mut chunk_bytes = SHORTEST_MADE_BYTES;
        while size.div_ceil(chunk_bytes) > CHUNKS_MADE && chunk_bytes < LONGEST_BYTES {
            chunk_bytes *= 2;
        }
        Self { size, chunk_bytes, digests: Vec::new(), hasher: Hasher::new(), filled: 0 }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = usize::try_from(self.chunk_bytes - self.filled).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.hasher.update(now);
            self.filled += now.len() as u64;
            if self.filled == self.chunk_bytes {
                self.close();
            }
            bytes = later;
        }
    }

    fn close(&mut self) {
        self.digests.push(std::mem::take(&mut self.hasher).finish());
        self.filled = 0;
    }

    /// The table; nothing if there were more or fewer bytes than the file has, or more than a table can tell.
    pub fn finish(mut self) -> Option<ChunkTable> {
        if self.filled > 0 {
            self.close();
        }
        let table = ChunkTable { size: self.size, chunk_bytes: self.chunk_bytes, digests: self.digests };
        ChunkTable::parse(&table.encode()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(bytes: &[u8], piece: usize) -> ChunkTable {
        let mut chunker = Chunker::new(bytes.len() as u64);
        bytes.chunks(piece).for_each(|piece| chunker.push(piece));
        chunker.finish().unwrap()
    }

    #[test]
    fn a_table_says_the_same_however_its_file_came() {
        let bytes: Vec<u8> = (0..(1_u32 << 20) + 5).map(|number| (number >> 8) as u8).collect();
        let made = table(&bytes, 1000);
        assert_eq!(made, table(&bytes, bytes.len()));
        assert_eq!(ChunkTable::parse(&made.encode()), Ok(made.clone()));
        let chunks: Vec<_> = made.chunks().collect();
        assert_eq!(chunks.len(), 3);
        for (range, digest) in chunks {
            assert_eq!(Digest::of(&bytes[range.start as usize..range.end as usize]), digest);
        }
    }

    #[test]
    fn long_files_have_longer_chunks() {
        for (size, chunk_bytes) in
            [(1, 512 << 10), (32 << 30, 512 << 10), (33 << 30, 1 << 20), (1 << 45, 32 << 20)]
        {
            assert_eq!(Chunker::new(size).chunk_bytes, chunk_bytes);
        }
    }

    #[test]
    fn what_is_no_table_is_refused() {
        let whole = table(&[7; 5000], 5000).encode();
        let with = |at: usize, byte: u8| {
            let mut bytes = whole.clone();
            bytes[at] = byte;
            ChunkTable::parse(&bytes)
        };
        assert_eq!(with(0, 0), Err(ChunkTableError::Magic));
        assert_eq!(with(8, 2), Err(ChunkTableError::Version(2)));
        for wrong in [with(12, 1), with(14, 0), with(23, 1), with(18, 9)] {
            assert!(matches!(wrong, Err(ChunkTableError::Lengths { .. })), "{wrong:?}");
        }
        for len in [0, HEADER_BYTES - 1, HEADER_BYTES, whole.len() - 1] {
            ChunkTable::parse(&whole[..len]).unwrap_err();
        }
        let empty = [&whole[..16], &[0; 8]].concat();
        ChunkTable::parse(&empty).unwrap_err();
        let mut short = Chunker::new(10);
        short.push(&[1; 600_000]);
        assert_eq!(short.finish(), None, "more bytes than the file has");
    }
}
