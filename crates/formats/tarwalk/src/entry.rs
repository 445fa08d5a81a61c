//! What the walker says of one entry.

/// One entry of a tar stream. Byte strings are as written, without their terminator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Stream offset of the first header block that belongs to the entry, pax and long-name headers included.
    pub header_offset: u64,
    /// Stream offset behind the last header block (and behind a sparse map kept in the payload): where the
    /// payload begins, or would begin.
    pub payload_offset: u64,
    /// The path as written; not to be trusted, see [`normalise`](crate::normalise).
    pub path: Vec<u8>,
    /// What the entry is.
    pub kind: Kind,
    /// Target of a symbolic link as written, or path of the entry a hard link repeats; else as found.
    pub link: Vec<u8>,
    /// Permission, set-id and sticky bits (07777).
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Name of the owner; often empty.
    pub uname: Vec<u8>,
    /// Name of the group; often empty.
    pub gname: Vec<u8>,
    /// Time of modification in whole seconds since 1970, rounded down.
    pub mtime_s: i64,
    /// Nanoseconds to add to `mtime_s`; below 10^9.
    pub mtime_ns: u32,
    /// Major number of a device.
    pub dev_major: u32,
    /// Minor number of a device.
    pub dev_minor: u32,
    /// Length of the file in bytes, holes included; 0 for anything but files.
    pub size: u64,
    /// Where the contents lie, in order of both offsets, none of them empty: one extent for a file that is
    /// neither empty nor sparse. What no extent covers reads as zeros.
    pub extents: Vec<Extent>,
    /// Extended attributes, sorted by name: full name (such as `security.capability`) and value.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A run of a file's bytes in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Offset in the file, in bytes.
    pub file_offset: u64,
    /// Offset in the tar stream, in bytes.
    pub stream_offset: u64,
    /// Length in bytes.
    pub len: u64,
}

/// The kind of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// One more name of an earlier entry.
    Hardlink,
    /// A character device.
    Char,
    /// A block device.
    Block,
    /// A named pipe.
    Fifo,
}
