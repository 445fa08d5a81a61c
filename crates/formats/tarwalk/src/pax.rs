//! The records of pax extended headers (POSIX pax, "pax Header Block").

use std::collections::BTreeMap;

use crate::TarError;
use crate::header::{Header, owner};
use crate::number;

const SCHILY_XATTR: &[u8] = b"SCHILY.xattr.";
const LIBARCHIVE_XATTR: &[u8] = b"LIBARCHIVE.xattr.";

/// The records that one or more pax headers amount to: the last of a keyword counts, and an empty value takes
/// the keyword back.
#[derive(Debug, Clone, Default)]
pub(crate) struct Records {
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Offsets and lengths in turn, of sparse format 0.0, which repeats its keywords.
    sparse_pairs: Vec<Vec<u8>>,
}

impl Records {
    /// Reads the payload of a pax header whose block stands at `at`.
    pub(crate) fn read(mut bytes: &[u8], at: u64) -> Result<Self, TarError> {
        let bad = || TarError::PaxRecord { at };
        let mut records = Self::default();
        while !bytes.is_empty() {
            let (key, value, rest) = record(bytes).ok_or_else(bad)?;
            bytes = rest;
            let pair_at = match key {
                b"GNU.sparse.offset" => Some(0),
                b"GNU.sparse.numbytes" => Some(1),
                _ => None,
            };
            match pair_at {
                Some(turn) if records.sparse_pairs.len() % 2 == turn => {
                    records.sparse_pairs.push(value.to_vec())
                }
                Some(_) => return Err(bad()),
                None => {
                    records.values.insert(key.to_vec(), value.to_vec());
                }
            }
        }
        Ok(records)
    }

    /// Lays the global records `newer` over these. Only what may well hold for many entries is kept: a name, a
    /// size or an attribute would be repeated for every entry, which nobody means but an attacker.
    pub(crate) fn merge_global(&mut self, newer: Self) {
        let shared = |key: &[u8]| matches!(key, b"uid" | b"gid" | b"uname" | b"gname" | b"mtime");
        self.values.extend(newer.values.into_iter().filter(|(key, _)| shared(key)));
    }

    /// The value of a keyword, unless it is empty.
    pub(crate) fn get(&self, key: &str) -> Option<&[u8]> {
        self.values.get(key.as_bytes()).map(Vec::as_slice).filter(|value| !value.is_empty())
    }

    /// The numbers of a sparse map in the records, format 0.0 or 0.1, as written.
    pub(crate) fn sparse_numbers(&self) -> Vec<&[u8]> {
        if !self.sparse_pairs.is_empty() {
            return self.sparse_pairs.iter().map(Vec::as_slice).collect();
        }
        self.get("GNU.sparse.map").map_or_else(Vec::new, |map| map.split(|&byte| byte == b',').collect())
    }

    /// Applies what is not about sparse files or extended attributes; gives the nanoseconds of the mtime if
    /// there is one. Empty values leave what the header says.
    pub(crate) fn apply(&self, header: &mut Header, at: u64) -> Result<Option<u32>, TarError> {
        self.apply_except(&Self::default(), header, at)
    }

    /// As [`Self::apply`], without the keywords of `local`, be their values empty.
    pub(crate) fn apply_except(
        &self,
        local: &Self,
        header: &mut Header,
        at: u64,
    ) -> Result<Option<u32>, TarError> {
        let mut nanos = None;
        for (key, value) in &self.values {
            if value.is_empty() || local.values.contains_key(key) {
                continue;
            }
            let bad = |field| TarError::Field { at, field };
            match &key[..] {
                b"path" => header.path.clone_from(value),
                b"linkpath" => header.link.clone_from(value),
                b"uname" => header.uname.clone_from(value),
                b"gname" => header.gname.clone_from(value),
                b"uid" => header.uid = owner(number::decimal(value).ok_or(bad("pax uid"))?),
                b"gid" => header.gid = owner(number::decimal(value).ok_or(bad("pax gid"))?),
                b"size" => header.size = number::decimal_size(value).ok_or(bad("pax size"))?,
                b"mtime" => {
                    let (seconds, fraction) = number::time(value).ok_or(bad("pax mtime"))?;
                    header.mtime_s = seconds;
                    nanos = Some(fraction);
                }
                _ => {}
            }
        }
        Ok(nanos)
    }

    /// The extended attributes. SCHILY's win over libarchive's, which bsdtar writes beside them.
    pub(crate) fn xattrs(&self, limit: usize, at: u64) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, TarError> {
        let mut xattrs = BTreeMap::new();
        let bad = || TarError::Field { at, field: "LIBARCHIVE.xattr" };
        for (key, value) in self.having(LIBARCHIVE_XATTR) {
            xattrs.insert(percent_decode(key).ok_or_else(bad)?, base64_decode(value).ok_or_else(bad)?);
        }
        for (key, value) in self.having(SCHILY_XATTR) {
            xattrs.insert(key.to_vec(), value.to_vec());
        }
        if xattrs.len() > limit {
            return Err(TarError::TooLarge {
                at,
                what: "number of extended attributes",
                limit: limit as u64,
            });
        }
        Ok(xattrs)
    }

    /// The records whose keyword is `prefix` and something more, which comes without the prefix. An empty value is one: it
    /// takes nothing back, as container tools read it.
    fn having<'a>(&'a self, prefix: &'a [u8]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.values.iter().filter_map(move |(key, value)| {
            let key = key.strip_prefix(prefix)?;
            (!key.is_empty()).then_some((key, &value[..]))
        })
    }
}

/// Splits off one record, `LEN KEY=VALUE\n`, where LEN counts all of it: key, value, rest.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().position(|&byte| byte == b' ')?;
    let len = usize::try_from(number::decimal_size(&bytes[..space])?).ok()?;
    let (whole, rest) = bytes.split_at_checked(len)?;
    let body = whole.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|&byte| byte == b'=')?;
    let (key, value) = (&body[..equals], &body[equals + 1..]);
    let is_text = matches!(key, b"path" | b"linkpath" | b"uname" | b"gname");
    let bad = key.is_empty() || key.contains(&0) || (is_text && value.contains(&0));
    (!bad).then_some((key, value, rest))
}

fn percent_decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            let digit = |at: usize| char::from(digits[at]).to_digit(16);
            out.push((digit(0)? * 16 + digit(1)?) as u8);
            rest = after;
        } else {
            out.push(byte);
        }
    }
    Some(out)
}

/// Standard alphabet, padding optional: libarchive leaves it out.
fn base64_decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut bits, mut held) = (0_u32, 0);
    let end = text.iter().rposition(|&byte| byte != b'=').map_or(0, |last| last + 1);
    for byte in &text[..end] {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    Some(out)
}
