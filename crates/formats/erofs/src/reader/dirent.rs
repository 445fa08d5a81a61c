//! One block of a directory: its entries, each with a name that lies in the block.

use super::ReadError;
use super::bytes::Bytes;
use crate::format::{DIRENT_BYTES, MAX_NAME_BYTES};

/// One entry.
pub(crate) struct Dirent<'a> {
    pub(crate) name: &'a [u8],
    /// Number of its inode.
    pub(crate) child: u64,
    /// Type of the inode, as the entry says.
    pub(crate) file_type: u8,
}

/// The entries of a block of directory number `number`, in its order, which is for the caller to check.
pub(crate) fn dirents(raw: Bytes<'_>, number: u64) -> Result<Vec<Dirent<'_>>, ReadError> {
    let corrupt = |what| ReadError::Corrupt { number, what };
    let truncated = || corrupt("truncated directory");
    let names_start = usize::from(raw.u16(8).ok_or_else(truncated)?);
    let count = names_start / DIRENT_BYTES;
    if count == 0 || !names_start.is_multiple_of(DIRENT_BYTES) || names_start > raw.0.len() {
        return Err(corrupt("impossible count of entries"));
    }
    let entry = |entry: usize| {
        let at = entry * DIRENT_BYTES;
        let start = raw.u16(at + 8).map_or(0, usize::from);
        let end = if entry + 1 == count { None } else { raw.u16(at + DIRENT_BYTES + 8).map(usize::from) };
        let name = raw.0.get(start..end.unwrap_or(raw.0.len())).filter(|_| start >= names_start);
        let mut name = name.ok_or_else(|| corrupt("name outside its block"))?;
        if end.is_none() {
            // The last name of a block ends with the block or at the first zero.
            name = name.split(|&byte| byte == 0).next().unwrap_or(name);
        }
        if name.is_empty() || name.len() > MAX_NAME_BYTES || name.iter().any(|byte| matches!(byte, 0 | b'/'))
        {
            return Err(corrupt("impossible name"));
        }
        let child = raw.u64(at).ok_or_else(truncated)?;
        Ok(Dirent { name, child, file_type: raw.u8(at + 10).ok_or_else(truncated)? })
    };
    (0..count).map(entry).collect()
}
