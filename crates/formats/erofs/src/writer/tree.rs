//! Checks that the inodes form a tree, and brings it into the order in which it is written.

use super::WriteError;
use crate::format::MAX_NAME_BYTES;
use crate::model::{Content, Inode};

/// A checked tree.
pub(super) struct Tree<'a> {
    /// Indexes of the reachable inodes, breadth first; the root is the first.
    pub(super) order: Vec<usize>,
    /// For each inode of the caller that is a reachable directory: its entries with `.` and `..`, sorted by
    /// bytes of the name, as lookups in the kernel need them. Empty for all others.
    pub(super) entries: Vec<Vec<(&'a [u8], usize)>>,
}

impl<'a> Tree<'a> {
    pub(super) fn walk(inodes: &'a [Inode]) -> Result<Self, WriteError> {
        if !inodes.first().is_some_and(Inode::is_directory) {
            return Err(WriteError::Root);
        }
        let mut parents: Vec<Option<usize>> = vec![None; inodes.len()];
        let mut entries: Vec<Vec<(&[u8], usize)>> = vec![Vec::new(); inodes.len()];
        let mut order = vec![0];
        parents[0] = Some(0);
        let mut next = 0;
        while let Some(&directory) = order.get(next) {
            next += 1;
            let Content::Directory(children) = &inodes[directory].content else { continue };
            let mut sorted = Vec::with_capacity(children.len() + 2);
            for (name, inode) in children {
                check_name(directory, name)?;
                sorted.push((name.as_slice(), *inode));
            }
            sorted.push((b".", directory));
            sorted.push((b"..", parents[directory].unwrap_or(0)));
            sorted.sort_unstable();
            if let Some(pair) = sorted.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                return Err(WriteError::DuplicateName { directory, name: text(pair[0].0) });
            }
            for &(name, inode) in &sorted {
                if name == b"." || name == b".." {
                    continue;
                }
                let child = inodes.get(inode).ok_or(WriteError::NoSuchInode { directory, inode })?;
                if parents[inode].is_none() {
                    parents[inode] = Some(directory);
                    order.push(inode);
                } else if child.is_directory() {
                    return Err(WriteError::DirectoryLinkedTwice { inode });
                }
            }
            entries[directory] = sorted;
        }
        Ok(Self { order, entries })
    }
}

fn check_name(directory: usize, name: &[u8]) -> Result<(), WriteError> {
    let possible = !name.is_empty()
        && name.len() <= MAX_NAME_BYTES
        && name != b"."
        && name != b".."
        && !name.iter().any(|&byte| byte == b'/' || byte == 0);
    if possible { Ok(()) } else { Err(WriteError::Name { directory, name: text(name) }) }
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(&name[..name.len().min(MAX_NAME_BYTES)]).into_owned()
}
