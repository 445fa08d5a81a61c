//! The JSON document, read as it goes by: each entry is checked and kept before the next is read, so that what a
//! document can make us hold is bounded by what it is allowed to list.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::assemble::Assembler;
use super::{Dialect, Toc, TocError, TocLimits};

/// The only version there is.
const VERSION: i64 = 1;

/// An entry as the document has it; what is absent is zero or empty, as in Go. Numbers are signed there.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Written<'a> {
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    pub(super) kind: Cow<'a, str>,
    pub(super) size: i64,
    #[serde(borrow, rename = "modtime")]
    pub(super) modified: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) link_name: Cow<'a, str>,
    pub(super) mode: i64,
    pub(super) uid: i64,
    pub(super) gid: i64,
    #[serde(borrow)]
    pub(super) user_name: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) group_name: Cow<'a, str>,
    pub(super) dev_major: i64,
    pub(super) dev_minor: i64,
    /// In base64; Go writes null for an empty value that it never filled.
    pub(super) xattrs: BTreeMap<String, Option<String>>,
    #[serde(borrow)]
    pub(super) digest: Cow<'a, str>,
    pub(super) offset: i64,
    pub(super) end_offset: i64,
    pub(super) inner_offset: i64,
    pub(super) chunk_offset: i64,
    pub(super) chunk_size: i64,
    #[serde(borrow)]
    pub(super) chunk_digest: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) chunk_type: Cow<'a, str>,
}

pub(super) fn toc(
    json: &[u8],
    dialect: Dialect,
    payload_end: u64,
    limits: &TocLimits,
) -> Result<Toc, TocError> {
    if json.len() as u64 > limits.json_bytes {
        return Err(TocError::Limit("bytes"));
    }
    let mut reading = Reading { assembler: Assembler::new(dialect, payload_end, limits), fault: None };
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let read = Document(&mut reading).deserialize(&mut deserializer);
    match read.and_then(|version| deserializer.end().map(|()| version)) {
        Ok(VERSION) => reading.assembler.finish(),
        Ok(other) => Err(TocError::Version(other)),
        // What the assembler refused stopped the reading, too.
        Err(source) => {
            Err(reading.fault.unwrap_or(TocError::Json { entries: reading.assembler.entries(), source }))
        }
    }
}

/// The entries so far, and what was wrong with the last.
struct Reading {
    assembler: Assembler,
    fault: Option<TocError>,
}

/// The whole document; its value is the version.
struct Document<'r>(&'r mut Reading);

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = i64;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<i64, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of contents")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<i64, A::Error> {
        let (mut version, mut listed) = (0, false);
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            match &*key {
                "version" => version = map.next_value()?,
                "entries" if listed => return Err(A::Error::duplicate_field("entries")),
                "entries" => {
                    map.next_value_seed(Entries(&mut *self.0))?;
                    listed = true;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(version)
    }
}

/// The entries, or null: so Go writes a list that was never begun.
struct Entries<'r>(&'r mut Reading);

impl<'de> DeserializeSeed<'de> for Entries<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of entries")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(written) = list.next_element::<Written<'de>>()? {
            if let Err(fault) = self.0.assembler.push(&written) {
                self.0.fault = Some(fault);
                return Err(A::Error::custom("an entry makes no sense"));
            }
        }
        Ok(())
    }
}
