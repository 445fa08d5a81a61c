//! Extended attributes stored beside their inode.

use crate::format::{XATTR_ENTRY_BYTES, XATTR_HEADER_BYTES, XATTR_PREFIXES};

/// Why extended attributes cannot be stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum XattrError {
    /// The format has no way to store a name in this namespace; see [`supports_xattr`].
    #[error("name {0:?} is in no namespace that the format knows")]
    Namespace(String),
    /// The name is longer than 255 bytes or contains a zero byte.
    #[error("impossible name {0:?}")]
    Name(String),
    /// The same name twice.
    #[error("{0:?} occurs twice")]
    Duplicate(String),
    /// The value is longer than 65 535 bytes.
    #[error("value of {name:?} has {bytes} bytes; at most 65535 are possible")]
    Value {
        /// The name.
        name: String,
        /// Length of the value.
        bytes: usize,
    },
    /// All attributes of the inode together are too large.
    #[error("{0} bytes of attributes are more than an inode can have")]
    TooLarge(usize),
}

/// Whether the format can store an attribute with this full name: `user.*`, `trusted.*`, `security.*` and the
/// two POSIX access control lists.
pub fn supports_xattr(name: &[u8]) -> bool {
    split(name).is_some()
}

/// Index of the prefix, and the rest of the name.
fn split(name: &[u8]) -> Option<(u8, &[u8])> {
    XATTR_PREFIXES.iter().find_map(|&(index, prefix, has_rest)| {
        let rest = name.strip_prefix(prefix)?;
        (rest.is_empty() != has_rest).then_some((index, rest))
    })
}

/// The bytes that follow the inode; none if there are no attributes.
pub(super) fn encode(xattrs: &[(Vec<u8>, Vec<u8>)]) -> Result<Vec<u8>, XattrError> {
    if xattrs.is_empty() {
        return Ok(Vec::new());
    }
    let text = |name: &[u8]| String::from_utf8_lossy(&name[..name.len().min(255)]).into_owned();
    let mut sorted: Vec<_> = xattrs.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
    sorted.sort_unstable();
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(XattrError::Duplicate(text(pair[0].0)));
    }
    let mut body = vec![0; XATTR_HEADER_BYTES];
    for (name, value) in sorted {
        if name.len() > 255 || name.contains(&0) {
            return Err(XattrError::Name(text(name)));
        }
        let (index, rest) = split(name).ok_or_else(|| XattrError::Namespace(text(name)))?;
        let value_bytes = u16::try_from(value.len())
            .map_err(|_| XattrError::Value { name: text(name), bytes: value.len() })?;
        body.extend([rest.len() as u8, index]);
        body.extend(value_bytes.to_le_bytes());
        body.extend_from_slice(rest);
        body.extend_from_slice(value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    match count(body.len()) {
        Some(_) => Ok(body),
        None => Err(XattrError::TooLarge(body.len())),
    }
}

/// What the inode says about the length of its attributes: 0 for none, else units of 4 bytes after the
/// header, plus 1.
pub(super) fn count(body_bytes: usize) -> Option<u16> {
    match body_bytes.checked_sub(XATTR_HEADER_BYTES) {
        None => Some(0),
        Some(entries) => u16::try_from(entries / XATTR_ENTRY_BYTES + 1).ok(),
    }
}
