//! Sizes, offsets and flags of the on-disk format that writer and reader share.

/// Size of a block in bytes as it is written here, and in images that [`crate::read()`] takes.
pub const BLOCK_BYTES: u64 = 4096;
/// Longest name in a directory, in bytes.
pub const MAX_NAME_BYTES: usize = 255;
/// Longest target of a symbolic link, in bytes; Linux follows no longer one.
pub const MAX_SYMLINK_BYTES: usize = 4095;
/// Most data devices that an image may have. The format has room for 65 535; a container image has one for
/// each layer, so more than this is a mistake of the caller.
pub const MAX_DEVICES: usize = 4096;

pub(crate) const BLOCK: usize = BLOCK_BYTES as usize;
pub(crate) const BLOCK_BITS: u32 = BLOCK_BYTES.trailing_zeros();

pub(crate) const SUPERBLOCK_OFFSET: usize = 1024;
pub(crate) const SUPERBLOCK_BYTES: usize = 128;
pub(crate) const MAGIC: u32 = 0xe0f5_e1e2;

/// The superblock is covered by a checksum.
pub(crate) const COMPAT_CHECKSUM: u32 = 0x1;
/// Inodes carry modification times, not change times.
pub(crate) const COMPAT_MTIME: u32 = 0x2;
/// Compressed data begins with zeros; says nothing about files that are not compressed, as all but the next three.
pub(crate) const INCOMPAT_ZERO_PADDING: u32 = 0x1;
pub(crate) const INCOMPAT_COMPRESSION_SETTINGS: u32 = 0x2;
pub(crate) const INCOMPAT_CHUNKED_FILE: u32 = 0x4;
/// File contents on other devices, or a second kind of compression; the count of devices tells which.
pub(crate) const INCOMPAT_DEVICE_TABLE: u32 = 0x8;
pub(crate) const INCOMPAT_COMPRESSED_TAILS: u32 = 0x10;
pub(crate) const INCOMPAT_FRAGMENTS: u32 = 0x20;

/// Unit in which the superblock says where the device table begins, and size of one of its slots.
pub(crate) const DEVICE_SLOT_BYTES: usize = 128;
pub(crate) const DEVICE_TAG_BYTES: usize = 64;
/// The table follows the superblock.
pub(crate) const DEVICE_TABLE_OFFSET: usize = SUPERBLOCK_OFFSET + SUPERBLOCK_BYTES;

/// Inodes are numbered by their position in these units.
pub(crate) const INODE_SLOT_BYTES: u64 = 32;
pub(crate) const INODE_COMPACT_BYTES: usize = 32;
pub(crate) const INODE_EXTENDED_BYTES: usize = 64;

pub(crate) const LAYOUT_FLAT_PLAIN: u16 = 0;
pub(crate) const LAYOUT_COMPRESSED_FULL: u16 = 1;
pub(crate) const LAYOUT_FLAT_INLINE: u16 = 2;
pub(crate) const LAYOUT_COMPRESSED_COMPACT: u16 = 3;
pub(crate) const LAYOUT_CHUNK_BASED: u16 = 4;

/// In the chunk format: the low bits say by how many bits a chunk is larger than a block.
pub(crate) const CHUNK_BITS_MASK: u16 = 0x1f;
/// In the chunk format: 8-byte indexes instead of bare block addresses.
pub(crate) const CHUNK_INDEXES: u16 = 0x20;
pub(crate) const CHUNK_INDEX_BYTES: usize = 8;
/// Size of a bare block address.
pub(crate) const CHUNK_ADDRESS_BYTES: usize = 4;
/// Address of a chunk that is a hole.
pub(crate) const NULL_BLOCK: u32 = u32::MAX;

pub(crate) const DIRENT_BYTES: usize = 12;

pub(crate) const XATTR_HEADER_BYTES: usize = 12;
pub(crate) const XATTR_ENTRY_BYTES: usize = 4;

/// Prefixes of attribute names that the format abbreviates: index, prefix, whether something must follow it.
pub(crate) const XATTR_PREFIXES: [(u8, &[u8], bool); 5] = [
    (1, b"user.", true),
    (2, b"system.posix_acl_access", false),
    (3, b"system.posix_acl_default", false),
    (4, b"trusted.", true),
    (6, b"security.", true),
];
