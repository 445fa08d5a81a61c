//! What an image holds whose file contents lie in it, as `mkfs.erofs` and containerd's EROFS layers have it: every path with its
//! attributes, and where in the image each file's bytes are.
//!
//! [`contents()`] reads superblock, inodes, directories, attributes and link targets, and never a file's bytes but those of links.
//! It asks a [`Source`] for them at any offset, so an image need not be in memory, nor all of it be here: what is missing is
//! [`ContentsError::Absent`], and whoever has more bytes asks again.
//!
//! Taken are blocks of 512 bytes to 64 KiB, compact and extended inodes, attributes beside the inode and shared ones, and
//! contents that are flat, with or without a tail beside the inode, or in chunks, with holes. Refused by name are compressed
//! files, other devices, addresses of 48 bits, metadata in an inode of its own, and prefixes of attribute names.
//!
//! The bytes are anybody's. Invariants, whatever they are: no panic; memory is bounded by [`ReadLimits`]; the walk ends, for a
//! directory has one parent; no two members have the same path; no path has a `.`, a `..` or an empty name in it. Not checked
//! is whether pieces lie within the image: only who has the whole of it knows where it ends.

mod attributes;
mod inode;
mod pieces;
mod superblock;

use std::collections::{HashMap, VecDeque};

use crate::model::{DeviceNumber, kind};
use crate::reader::bytes::Bytes;
use crate::reader::dirent::{Dirent, dirents};
use crate::reader::{ReadError, ReadLimits, spend};
use inode::Inode;
use superblock::Superblock;

/// Longest path in bytes: Linux' `PATH_MAX`.
const MAX_PATH_BYTES: usize = 4096;

/// What [`ReadLimits::bytes`] counts.
const TEXT: &str = "bytes of names, attributes and links";

/// Where an image's bytes come from, at any offset.
pub trait Source {
    /// Fills `into` with the bytes from `offset` on; `false` if not all of them are here.
    fn read(&mut self, offset: u64, into: &mut [u8]) -> bool;
}

impl Source for &[u8] {
    fn read(&mut self, offset: u64, into: &mut [u8]) -> bool {
        let here =
            usize::try_from(offset).ok().and_then(|start| self.get(start..start.checked_add(into.len())?));
        here.is_some_and(|here| {
            into.copy_from_slice(here);
            true
        })
    }
}

/// One path of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Relative to the root, names joined by single slashes; the root's is empty.
    pub path: Vec<u8>,
    /// For a further name of an inode that is no directory: the number of the member that has its first name.
    pub same_as: Option<usize>,
    /// `st_mode`: type and permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time, seconds since 1970; may be negative.
    pub mtime_s: i64,
    /// Modification time, nanoseconds within the second, below 10^9.
    pub mtime_ns: u32,
    /// Which device a character or block node stands for.
    pub rdev: DeviceNumber,
    /// Length in bytes of a regular file.
    pub size: u64,
    /// Extended attributes with full names, each name once, in the image's order.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Target of a symbolic link.
    pub target: Vec<u8>,
    /// Where the bytes of a regular file lie, in order of the file. What no piece covers is a hole.
    pub pieces: Vec<Piece>,
}

/// A range of a file that lies in one piece in the image; neighbours that continue each other are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins in the file, in bytes.
    pub file: u64,
    /// Where it begins in the image, in bytes.
    pub image: u64,
    /// Its length in bytes.
    pub len: u64,
}

/// Why the contents of an image cannot be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContentsError {
    /// The source does not have bytes that are needed.
    #[error("its metadata reaches to byte {end}, beyond its end")]
    Absent {
        /// Where they end in the image, as far as is known.
        end: u64,
    },
    /// The image is not sound, or larger than the limits.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The image has something that is not understood here.
    #[error("the image has {0}")]
    Feature(&'static str),
    /// A file is compressed.
    #[error("{path:?} is compressed in the image")]
    Compressed {
        /// Its path.
        path: String,
    },
    /// A path is longer than Linux takes.
    #[error("a path below {path:?} is longer than {MAX_PATH_BYTES} bytes")]
    Path {
        /// The directory.
        path: String,
    },
}

/// Reads what an image holds: the root first, each directory before what is in it.
///
/// # Errors
/// See [`ContentsError`].
pub fn contents(source: &mut dyn Source, limits: &ReadLimits) -> Result<Vec<Member>, ContentsError> {
    let superblock = Superblock::read(source)?;
    let mut walk = Walk { source, superblock, left: *limits, members: Vec::new(), known: HashMap::new() };
    walk.run()?;
    Ok(walk.members)
}

/// State of the walk over the tree.
struct Walk<'a> {
    source: &'a mut dyn Source,
    superblock: Superblock,
    /// What may still be used.
    left: ReadLimits,
    members: Vec<Member>,
    /// The first member of each inode number that was met.
    known: HashMap<u64, usize>,
}

/// A directory whose entries are still to be read.
struct Unread {
    number: u64,
    member: usize,
    size: u64,
    pieces: Vec<Piece>,
}

fn corrupt(number: u64, what: &'static str) -> ContentsError {
    ReadError::Corrupt { number, what }.into()
}

fn text(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// Bytes of the source.
fn bytes(source: &mut dyn Source, at: u64, len: usize) -> Result<Vec<u8>, ContentsError> {
    let mut bytes = vec![0; len];
    match source.read(at, &mut bytes) {
        true => Ok(bytes),
        false => Err(ContentsError::Absent { end: at.saturating_add(len as u64) }),
    }
}

impl Walk<'_> {
    fn run(&mut self) -> Result<(), ContentsError> {
        let root = self.superblock.root;
        let mut unread: VecDeque<Unread> = self.add(root, Vec::new())?.into_iter().collect();
        if unread.is_empty() {
            return Err(corrupt(root, "root is no directory"));
        }
        while let Some(directory) = unread.pop_front() {
            self.directory(&directory, &mut unread)?;
        }
        Ok(())
    }

    /// Adds what is in a directory.
    fn directory(&mut self, directory: &Unread, unread: &mut VecDeque<Unread>) -> Result<(), ContentsError> {
        let prefix = self.members[directory.member].path.clone();
        let block_bytes = self.superblock.block_bytes();
        let mut last: Vec<u8> = Vec::new();
        for block in 0..directory.size.div_ceil(block_bytes) {
            let start = block * block_bytes;
            let raw =
                self.part(&directory.pieces, start, (directory.size - start).min(block_bytes) as usize)?;
            let found = dirents(Bytes(&raw), directory.number)?;
            spend(&mut self.left.entries, found.len(), "directory entries")?;
            for Dirent { name, child, .. } in found {
                if *last >= *name {
                    return Err(corrupt(directory.number, "names out of order"));
                }
                last = name.to_vec();
                if matches!(name, b"." | b"..") {
                    continue;
                }
                let path = if prefix.is_empty() { name.to_vec() } else { [&prefix, name].join(&b'/') };
                if path.len() > MAX_PATH_BYTES {
                    return Err(ContentsError::Path { path: text(&prefix) });
                }
                spend(&mut self.left.bytes, path.len(), TEXT)?;
                unread.extend(self.add(child, path)?);
            }
        }
        Ok(())
    }

    /// Adds a path and what it stands for.
    fn add(&mut self, number: u64, path: Vec<u8>) -> Result<Option<Unread>, ContentsError> {
        if let Some(&first) = self.known.get(&number) {
            let known = &self.members[first];
            if known.mode & kind::MASK == kind::DIRECTORY {
                return Err(corrupt(number, "directory with two parents"));
            }
            let Member { mode, uid, gid, mtime_s, mtime_ns, rdev, size, .. } = *known;
            let (xattrs, target, pieces) = (Vec::new(), Vec::new(), Vec::new());
            self.members.push(Member {
                path,
                same_as: Some(first),
                mode,
                uid,
                gid,
                mtime_s,
                mtime_ns,
                rdev,
                size,
                xattrs,
                target,
                pieces,
            });
            return Ok(None);
        }
        spend(&mut self.left.inodes, 1, "inodes")?;
        let inode = Inode::read(self.source, &self.superblock, number)?;
        let xattrs = self.attributes(&inode)?;
        let mut member = Member {
            path,
            same_as: None,
            mode: inode.mode,
            uid: inode.uid,
            gid: inode.gid,
            mtime_s: inode.mtime_s,
            mtime_ns: inode.mtime_ns,
            rdev: DeviceNumber::default(),
            size: 0,
            xattrs,
            target: Vec::new(),
            pieces: Vec::new(),
        };
        let mut directory = None;
        match inode.mode & kind::MASK {
            kind::DIRECTORY => {
                let pieces = self.pieces(&inode, &member.path)?;
                directory = Some(Unread { number, member: self.members.len(), size: inode.size, pieces });
            }
            kind::SYMLINK => member.target = self.target(&inode, &member.path)?,
            kind::REGULAR => {
                (member.size, member.pieces) = (inode.size, self.pieces(&inode, &member.path)?);
            }
            kind::CHARACTER | kind::BLOCK => member.rdev = DeviceNumber::decode(inode.location),
            kind::FIFO | kind::SOCKET => {}
            _ => return Err(corrupt(number, "unknown type")),
        }
        self.known.insert(number, self.members.len());
        self.members.push(member);
        Ok(directory)
    }
}
