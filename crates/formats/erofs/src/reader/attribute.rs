//! One extended attribute as it lies beside an inode or in the area that inodes share.

use super::ReadError;
use super::bytes::Bytes;
use crate::format::{XATTR_ENTRY_BYTES, XATTR_PREFIXES};

/// In an attribute's prefix: the name continues one of the image's own prefixes.
const LONG_PREFIX: u8 = 0x80;

/// Lengths and prefix of an attribute: what its header says.
pub(crate) struct Header {
    name_bytes: usize,
    prefix: u8,
    value_bytes: usize,
}

impl Header {
    /// The header at the beginning of `raw`.
    pub(crate) fn parse(raw: Bytes<'_>) -> Option<Self> {
        Some(Self {
            name_bytes: usize::from(raw.u8(0)?),
            prefix: raw.u8(1)?,
            value_bytes: usize::from(raw.u16(2)?),
        })
    }

    /// Bytes of name and value, which follow the header.
    pub(crate) const fn body_bytes(&self) -> usize {
        self.name_bytes + self.value_bytes
    }

    /// Bytes of header, name and value, and what fills them up to where the next header is.
    pub(crate) const fn bytes(&self) -> usize {
        (XATTR_ENTRY_BYTES + self.body_bytes()).next_multiple_of(4)
    }

    /// Full name and value, of inode number `number`; `body` are [`Self::body_bytes`] bytes.
    pub(crate) fn attribute(&self, body: &[u8], number: u64) -> Result<(Vec<u8>, Vec<u8>), ReadError> {
        if self.prefix & LONG_PREFIX != 0 {
            return Err(ReadError::Unsupported("long prefix of an attribute's name"));
        }
        let prefix = XATTR_PREFIXES.iter().find(|(index, ..)| *index == self.prefix);
        let (_, prefix, _) =
            prefix.ok_or(ReadError::Corrupt { number, what: "unknown namespace of an attribute" })?;
        let (name, value) =
            body.split_at_checked(self.name_bytes).ok_or(ReadError::Bounds("extended attributes"))?;
        Ok(([prefix, name].concat(), value.to_vec()))
    }
}
