//! EROFS images that hold only metadata: directories, owners, modes, links and attributes. File contents stay
//! where they are, in *data devices* (sparse files) that the kernel is given beside the image. And what images of others hold
//! that have file contents in them, as containerd's EROFS layers do.
//!
//! [`write()`] turns a tree of [`Inode`]s into such an image; [`read()`] parses one again, for checks. Both
//! are sans-IO: the writer emits bytes in order into any [`std::io::Write`] and never seeks, the reader looks
//! at a byte slice. [`contents()`] tells what others' images hold, and where; its module's documentation says which.
//!
//! Invariants of a written image:
//! - the same tree gives the same bytes, whatever the order in which directory entries were handed over;
//! - blocks are 4 KiB; every file is chunk-based with 8-byte indexes, and its chunks are as large as its
//!   extents allow, so a file without holes costs one index;
//! - the superblock carries a CRC-32C.
//!
//! Not done here: compression, writing file contents into the image, images above 16 TiB, fragments.
//!
//! Source of the format: `fs/erofs/erofs_fs.h` and `Documentation/filesystems/erofs.rst` of Linux.
#![forbid(unsafe_code)]

mod contents;
mod crc32c;
mod format;
mod model;
mod reader;
mod writer;

pub use contents::{ContentsError, Member, Piece, Source, contents};
pub use format::{BLOCK_BYTES, MAX_DEVICES, MAX_NAME_BYTES, MAX_SYMLINK_BYTES};
pub use model::{Content, DataExtent, Device, DeviceNumber, Inode};
pub use reader::{Image, ReadError, ReadLimits, read};
pub use writer::{ExtentError, Summary, WriteError, XattrError, supports_xattr, write};
