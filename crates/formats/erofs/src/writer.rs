//! Tree in, image out.
//!
//! The writer plans first (order of inodes, position of each, blocks of directories) and then emits bytes
//! from front to back. Inodes go out breadth first, so the entries of a directory lie together.

mod chunks;
mod directory;
mod emit;
mod plan;
mod tree;
mod xattr;

use std::io;

use crate::format::{BLOCK_BYTES, DEVICE_TAG_BYTES, MAX_DEVICES, MAX_NAME_BYTES, MAX_SYMLINK_BYTES};
use crate::model::{Device, Inode};

pub use chunks::ExtentError;
pub use xattr::{XattrError, supports_xattr};

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Length of the image, a multiple of 4096.
    pub bytes: u64,
    /// Inodes in the image; those that no directory leads to were left out.
    pub inodes: u64,
}

/// Why a tree cannot be an image. Inodes are named by their index in the caller's list.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// There is no inode 0, or it is not a directory.
    #[error("inode 0 is not a directory")]
    Root,
    /// A directory entry points outside the list.
    #[error("directory {directory} refers to inode {inode}, which does not exist")]
    NoSuchInode {
        /// The directory.
        directory: usize,
        /// What it refers to.
        inode: usize,
    },
    /// A name is empty, `.`, `..`, too long, or contains a slash or a zero byte.
    #[error(
        "directory {directory} has an entry with the impossible name {name:?} (at most {MAX_NAME_BYTES} bytes)"
    )]
    Name {
        /// The directory.
        directory: usize,
        /// The start of the name.
        name: String,
    },
    /// Two entries of a directory have the same name.
    #[error("directory {directory} has two entries named {name:?}")]
    DuplicateName {
        /// The directory.
        directory: usize,
        /// The name.
        name: String,
    },
    /// A directory can be reached in two ways.
    #[error("directory {inode} has more than one parent")]
    DirectoryLinkedTwice {
        /// The directory.
        inode: usize,
    },
    /// Type in `mode` and content contradict each other.
    #[error("inode {inode}: mode {mode:o} does not fit its content")]
    Mode {
        /// The inode.
        inode: usize,
        /// Its mode.
        mode: u32,
    },
    /// Nanoseconds of a second or more.
    #[error("inode {inode}: {nanoseconds} nanoseconds do not fit into a second")]
    Time {
        /// The inode.
        inode: usize,
        /// Its nanoseconds.
        nanoseconds: u32,
    },
    /// The numbers of a device node are too large.
    #[error("inode {inode}: device number {major}:{minor} does not fit into 12 and 20 bits")]
    DeviceNumber {
        /// The inode.
        inode: usize,
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// The target of a link is empty, too long, or contains a zero byte.
    #[error(
        "inode {inode}: impossible symlink target of {bytes} bytes (1 to {MAX_SYMLINK_BYTES}, no zero byte)"
    )]
    Symlink {
        /// The inode.
        inode: usize,
        /// Length of the target.
        bytes: usize,
    },
    /// An extended attribute cannot be stored.
    #[error("inode {inode}: extended attributes")]
    Xattr {
        /// The inode.
        inode: usize,
        /// Why.
        source: XattrError,
    },
    /// The extents of a file cannot be stored.
    #[error("inode {inode}: extents")]
    Extents {
        /// The inode.
        inode: usize,
        /// Why.
        source: ExtentError,
    },
    /// More data devices than [`MAX_DEVICES`].
    #[error("{0} data devices are more than {MAX_DEVICES}")]
    TooManyDevices(usize),
    /// The tag of a device is too long.
    #[error("tag of data device {device} is longer than {DEVICE_TAG_BYTES} bytes")]
    DeviceTag {
        /// Index of the device.
        device: usize,
    },
    /// A device has more than 2^32 - 1 blocks.
    #[error("data device {device} of {bytes} bytes is too large for 32-bit block addresses")]
    DeviceSize {
        /// Index of the device.
        device: usize,
        /// Its size.
        bytes: u64,
    },
    /// The metadata needs more than 2^32 - 1 blocks.
    #[error("the image would be larger than 16 TiB")]
    TooLarge,
    /// The output did not take the bytes.
    #[error("write the image")]
    Io(#[from] io::Error),
}

/// Writes the image of the tree that begins at `inodes[0]` and whose file contents lie on `devices`.
///
/// The devices must be handed to `mount` in the same order. Inodes that no directory leads to are left out.
///
/// # Errors
/// [`WriteError`] if the tree is not one or does not fit the format; then nothing has been written. Only
/// [`WriteError::Io`] can come after some bytes went out.
pub fn write(inodes: &[Inode], devices: &[Device], out: &mut impl io::Write) -> Result<Summary, WriteError> {
    check_devices(devices)?;
    let tree = tree::Tree::walk(inodes)?;
    let plan = plan::Plan::make(inodes, devices, &tree)?;
    emit::image(inodes, devices, &tree, &plan, out)?;
    Ok(Summary { bytes: u64::from(plan.blocks) * BLOCK_BYTES, inodes: plan.inodes.len() as u64 })
}

fn check_devices(devices: &[Device]) -> Result<(), WriteError> {
    if devices.len() > MAX_DEVICES {
        return Err(WriteError::TooManyDevices(devices.len()));
    }
    for (index, device) in devices.iter().enumerate() {
        if device.tag.len() > DEVICE_TAG_BYTES {
            return Err(WriteError::DeviceTag { device: index });
        }
        // The last address is the mark of a hole.
        if device.bytes.div_ceil(BLOCK_BYTES) >= u64::from(u32::MAX) {
            return Err(WriteError::DeviceSize { device: index, bytes: device.bytes });
        }
    }
    Ok(())
}
