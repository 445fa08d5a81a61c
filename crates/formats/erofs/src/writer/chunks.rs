//! Extents of a file as a table of equally large chunks.

use crate::format::{BLOCK_BITS, BLOCK_BYTES, CHUNK_BITS_MASK, CHUNK_INDEX_BYTES, CHUNK_INDEXES, NULL_BLOCK};
use crate::model::{DataExtent, Device};

/// Most indexes of one file (32 MiB of them). Only a huge file with finely scattered holes needs more.
const MAX_INDEXES: u64 = 1 << 22;

/// Why the extents of a file cannot be stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExtentError {
    /// The extent is empty, overlaps the one before or ends after the file.
    #[error("extent {index} is empty, out of order or outside the file")]
    Range {
        /// Position in the list of extents.
        index: usize,
    },
    /// The extent begins, or ends before the end of the file, within a block.
    #[error("extent {index} is not aligned to {BLOCK_BYTES} bytes")]
    Unaligned {
        /// Position in the list of extents.
        index: usize,
    },
    /// The extent names a data device that does not exist or ends after it.
    #[error("extent {index} is not on data device {device}")]
    Device {
        /// Position in the list of extents.
        index: usize,
        /// Index of the device.
        device: u16,
    },
    /// The table of chunks would be too large.
    #[error("{0} chunks are more than {MAX_INDEXES}")]
    TooManyChunks(u64),
}

/// The chunk table of one file.
#[derive(Debug)]
pub(super) struct Chunks {
    /// Base-2 logarithm of the bytes of a chunk.
    bits: u32,
    /// Number of indexes.
    count: u64,
    /// Extents, with neighbours that continue each other joined.
    extents: Vec<DataExtent>,
}

impl Chunks {
    /// The table for a file of `size` > 0 bytes.
    pub(super) fn plan(size: u64, extents: &[DataExtent], devices: &[Device]) -> Result<Self, ExtentError> {
        let mut joined: Vec<DataExtent> = Vec::with_capacity(extents.len());
        for (index, extent) in extents.iter().enumerate() {
            check(index, extent, joined.last(), size, devices)?;
            match joined.last_mut() {
                Some(last) if continues(last, extent) => last.len += extent.len,
                _ => joined.push(*extent),
            }
        }
        let bits = chunk_bits(size, &joined);
        let count = size.div_ceil(1 << bits);
        if count > MAX_INDEXES {
            return Err(ExtentError::TooManyChunks(count));
        }
        Ok(Self { bits, count, extents: joined })
    }

    /// Bytes of the table.
    pub(super) fn bytes(&self) -> u64 {
        self.count * CHUNK_INDEX_BYTES as u64
    }

    /// The chunk format field of the inode.
    pub(super) fn format(&self) -> u16 {
        (self.bits - BLOCK_BITS) as u16 | CHUNK_INDEXES
    }

    /// The indexes, in order.
    pub(super) fn indexes(&self) -> impl Iterator<Item = [u8; CHUNK_INDEX_BYTES]> + '_ {
        let mut extents = self.extents.iter().peekable();
        (0..self.count).map(move |chunk| {
            let offset = chunk << self.bits;
            while extents.next_if(|extent| extent.file_offset + extent.len <= offset).is_some() {}
            match extents.peek() {
                Some(extent) if extent.file_offset <= offset => {
                    let address = (extent.device_offset + (offset - extent.file_offset)) / BLOCK_BYTES;
                    // Device 0 is the image itself.
                    index(extent.device + 1, address as u32)
                }
                _ => index(0, NULL_BLOCK),
            }
        })
    }
}

fn check(
    index: usize,
    extent: &DataExtent,
    before: Option<&DataExtent>,
    size: u64,
    devices: &[Device],
) -> Result<(), ExtentError> {
    let start = before.map_or(0, |before| before.file_offset + before.len);
    let end = extent.file_offset.checked_add(extent.len).filter(|&end| end <= size);
    let Some(end) = end.filter(|_| extent.len > 0 && extent.file_offset >= start) else {
        return Err(ExtentError::Range { index });
    };
    let aligned = |offset: u64| offset.is_multiple_of(BLOCK_BYTES);
    if !aligned(extent.file_offset) || !aligned(extent.device_offset) || (end != size && !aligned(end)) {
        return Err(ExtentError::Unaligned { index });
    }
    let on_device = devices.get(usize::from(extent.device)).is_some_and(|device| {
        extent.device_offset.checked_add(extent.len).is_some_and(|end| end <= device.bytes)
    });
    if on_device { Ok(()) } else { Err(ExtentError::Device { index, device: extent.device }) }
}

fn continues(last: &DataExtent, next: &DataExtent) -> bool {
    last.device == next.device
        && last.file_offset + last.len == next.file_offset
        && last.device_offset + last.len == next.device_offset
}

/// The largest chunk at whose multiples alone the mapping changes, and no larger than the file needs.
fn chunk_bits(size: u64, extents: &[DataExtent]) -> u32 {
    let largest = BLOCK_BITS + u32::from(CHUNK_BITS_MASK);
    let whole_file = u64::BITS - (size - 1).leading_zeros();
    let edges = extents
        .iter()
        .flat_map(|extent| [extent.file_offset, extent.file_offset + extent.len])
        .filter(|&edge| edge != size)
        .map(u64::trailing_zeros)
        .min();
    whole_file.min(edges.unwrap_or(u64::BITS)).clamp(BLOCK_BITS, largest)
}

fn index(device_id: u16, block: u32) -> [u8; CHUNK_INDEX_BYTES] {
    let mut bytes = [0; CHUNK_INDEX_BYTES];
    bytes[2..4].copy_from_slice(&device_id.to_le_bytes());
    bytes[4..].copy_from_slice(&block.to_le_bytes());
    bytes
}
