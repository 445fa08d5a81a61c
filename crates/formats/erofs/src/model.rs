//! A file tree as the writer takes it and the reader gives it back.

/// One inode. Hard links are several directory entries that name the same inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inode {
    /// `st_mode`: type and permission bits. The type must fit `content`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time, seconds since 1970; may be negative.
    pub mtime_s: i64,
    /// Modification time, nanoseconds within the second, below 10^9.
    pub mtime_ns: u32,
    /// Number of links as `stat` shall show it. The writer stores it as it is.
    pub nlink: u32,
    /// Which device a character or block node stands for; ignored for all other types.
    pub rdev: DeviceNumber,
    /// Length in bytes of a regular file; ignored for all other types.
    pub size: u64,
    /// Extended attributes with full names such as `security.capability`, in any order.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// What the inode holds.
    pub content: Content,
}

/// What an inode holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A directory: names and the indexes of their inodes, in any order, without `.` and `..`.
    Directory(Vec<(Vec<u8>, usize)>),
    /// A symbolic link and its target.
    Symlink(Vec<u8>),
    /// A regular file: extents in order of file offset. What no extent covers is a hole and reads as zeros.
    Data(Vec<DataExtent>),
    /// Nothing: device nodes, FIFOs, sockets, and regular files of length zero.
    None,
}

/// A range of a file that lies in one piece on a data device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataExtent {
    /// Where the range begins in the file, in bytes; a multiple of 4096.
    pub file_offset: u64,
    /// Index of the data device, counted from 0.
    pub device: u16,
    /// Where the range begins on the device, in bytes; a multiple of 4096.
    pub device_offset: u64,
    /// Length in bytes; a multiple of 4096 unless the range ends with the file. The kernel reads whole
    /// blocks, so the device should be readable up to the end of the last block.
    pub len: u64,
}

/// A file or block device with contents of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Size in bytes; rounded up to whole blocks in the image.
    pub bytes: u64,
    /// Free text of at most 64 bytes. The kernel takes it as the path of the device if the mount names none.
    pub tag: Vec<u8>,
}

/// The number of a character or block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeviceNumber {
    /// Which driver; at most 12 bits.
    pub major: u32,
    /// Which device of that driver; at most 20 bits.
    pub minor: u32,
}

/// Types of inodes, as in `st_mode`.
pub(crate) mod kind {
    pub(crate) const MASK: u32 = 0o170_000;
    pub(crate) const FIFO: u32 = 0o010_000;
    pub(crate) const CHARACTER: u32 = 0o020_000;
    pub(crate) const DIRECTORY: u32 = 0o040_000;
    pub(crate) const BLOCK: u32 = 0o060_000;
    pub(crate) const REGULAR: u32 = 0o100_000;
    pub(crate) const SYMLINK: u32 = 0o120_000;
    pub(crate) const SOCKET: u32 = 0o140_000;
}

impl Inode {
    /// Whether the inode is a directory by its content.
    pub(crate) fn is_directory(&self) -> bool {
        matches!(self.content, Content::Directory(_))
    }

    /// The type byte of a directory entry that names this inode.
    pub(crate) fn file_type(&self) -> u8 {
        match self.mode & kind::MASK {
            kind::REGULAR => 1,
            kind::DIRECTORY => 2,
            kind::CHARACTER => 3,
            kind::BLOCK => 4,
            kind::FIFO => 5,
            kind::SOCKET => 6,
            kind::SYMLINK => 7,
            _ => 0,
        }
    }
}

impl DeviceNumber {
    const MAX_MAJOR: u32 = (1 << 12) - 1;
    const MAX_MINOR: u32 = (1 << 20) - 1;

    /// The 32-bit form in which the kernel stores device numbers, if the parts fit.
    pub(crate) fn encode(self) -> Option<u32> {
        (self.major <= Self::MAX_MAJOR && self.minor <= Self::MAX_MINOR)
            .then_some((self.minor & 0xff) | self.major << 8 | (self.minor & !0xff) << 12)
    }

    /// The inverse of [`Self::encode`].
    pub(crate) fn decode(raw: u32) -> Self {
        Self { major: raw >> 8 & 0xfff, minor: raw & 0xff | raw >> 12 & 0xf_ff00 }
    }
}
