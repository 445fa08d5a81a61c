//! The table as the JSON document of a dialect: fields in the order of the tools' own structs, and left out where they
//! are.

use std::collections::BTreeMap;

use glowplug_base::Digest;
use serde::{Serialize, Serializer};

use super::gojson;
use super::{DEFAULT_CHUNK_BYTES, Dialect, Toc, TocChunk, TocEntry};
use crate::base64;
use crate::timestamp::Timestamp;

/// Half a second: from here on eStargz's whole seconds are rounded up.
const ROUND_UP_NANOSECONDS: u32 = 500_000_000;

pub(super) fn toc(toc: &Toc, dialect: Dialect, tar_split_digest: Option<Digest>) -> Vec<u8> {
    let entries = Entries { entries: &toc.entries, dialect };
    let is_indented = dialect != Dialect::Storage;
    gojson::to_vec(&Document { version: 1, entries, tar_split_digest }, is_indented)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'t> {
    version: i64,
    entries: Entries<'t>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tar_split_digest: Option<Digest>,
}

/// The entries, of which only one at a time is in the form in which it is written.
struct Entries<'t> {
    entries: &'t [TocEntry],
    dialect: Dialect,
}

impl Serialize for Entries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.dialect {
            Dialect::Storage => serializer.collect_seq(self.entries.iter().flat_map(storage)),
            Dialect::Estargz | Dialect::Stargz => {
                let mut said = Said::before(self.entries);
                serializer.collect_seq(self.entries.iter().flat_map(|entry| stargz(entry, &mut said)))
            }
        }
    }
}

/// Go leaves out what is zero.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero<N: Default + PartialEq>(number: &N) -> bool {
    *number == N::default()
}

/// An entry or chunk of the stargz snapshotter.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Stargz {
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "is_zero")]
    size: u64,
    #[serde(rename = "modtime", skip_serializing_if = "Option::is_none")]
    modified: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    link_name: String,
    #[serde(skip_serializing_if = "is_zero")]
    mode: u32,
    #[serde(skip_serializing_if = "is_zero")]
    uid: u32,
    #[serde(skip_serializing_if = "is_zero")]
    gid: u32,
    #[serde(skip_serializing_if = "is_zero")]
    user_name: String,
    #[serde(skip_serializing_if = "is_zero")]
    group_name: String,
    #[serde(skip_serializing_if = "is_zero")]
    offset: u64,
    #[serde(skip_serializing_if = "is_zero")]
    inner_offset: u64,
    #[serde(skip_serializing_if = "is_zero")]
    dev_major: u32,
    #[serde(skip_serializing_if = "is_zero")]
    dev_minor: u32,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    xattrs: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    #[serde(skip_serializing_if = "is_zero")]
    chunk_offset: u64,
    #[serde(skip_serializing_if = "is_zero")]
    chunk_size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    chunk_digest: Option<Digest>,
}

/// What holds for more than one entry.
struct Said<'t> {
    /// Names of owners that were written last, by number.
    users: BTreeMap<u32, &'t [u8]>,
    groups: BTreeMap<u32, &'t [u8]>,
    /// Length of a piece, in bytes, unless its file ends before.
    full: u64,
}

impl Said<'_> {
    fn before(entries: &[TocEntry]) -> Self {
        let cut = entries.iter().find(|entry| entry.chunks.len() > 1);
        let full = cut.map_or(DEFAULT_CHUNK_BYTES, |entry| entry.chunks[0].size);
        Self { users: BTreeMap::new(), groups: BTreeMap::new(), full }
    }
}

fn stargz<'t>(entry: &'t TocEntry, said: &mut Said<'t>) -> Vec<Stargz> {
    let TocEntry { mtime, uid, gid, .. } = *entry;
    let seconds = mtime.seconds.saturating_add((mtime.nanoseconds >= ROUND_UP_NANOSECONDS).into());
    let modified = Timestamp { seconds, nanoseconds: 0 };
    let whole = Stargz {
        name: text(&entry.name),
        kind: entry.kind.word(),
        size: entry.size,
        modified: if seconds == 0 { None } else { modified.text() },
        link_name: text(&entry.link),
        mode: entry.mode,
        uid,
        gid,
        user_name: if_new(&mut said.users, uid, &entry.uname),
        group_name: if_new(&mut said.groups, gid, &entry.gname),
        dev_major: entry.dev_major,
        dev_minor: entry.dev_minor,
        xattrs: xattrs(entry),
        digest: entry.digest,
        ..Stargz::default()
    };
    let [first, others @ ..] = &entry.chunks[..] else { return vec![whole] };
    let piece = |chunk: &TocChunk, written| {
        let goes_on = chunk.file + chunk.size < entry.size;
        Stargz {
            offset: chunk.blob.start,
            inner_offset: chunk.inner,
            chunk_offset: chunk.file,
            // 0: to the end of the file.
            chunk_size: if goes_on || chunk.size >= said.full { chunk.size } else { 0 },
            chunk_digest: chunk.digest,
            ..written
        }
    };
    let more = || Stargz { name: text(&entry.name), kind: "chunk", ..Stargz::default() };
    std::iter::once(piece(first, whole)).chain(others.iter().map(|chunk| piece(chunk, more()))).collect()
}

/// The name, unless it was the last that was written for this number.
fn if_new<'t>(named: &mut BTreeMap<u32, &'t [u8]>, id: u32, name: &'t [u8]) -> String {
    if name.is_empty() || named.insert(id, name) == Some(name) { String::new() } else { text(name) }
}

/// An entry or chunk of containers/storage.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Storage {
    #[serde(rename = "type")]
    kind: &'static str,
    name: String,
    #[serde(skip_serializing_if = "is_zero")]
    link_name: String,
    #[serde(skip_serializing_if = "is_zero")]
    mode: u32,
    #[serde(skip_serializing_if = "is_zero")]
    size: u64,
    #[serde(skip_serializing_if = "is_zero")]
    uid: u32,
    #[serde(skip_serializing_if = "is_zero")]
    gid: u32,
    #[serde(rename = "modtime", skip_serializing_if = "Option::is_none")]
    modified: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    dev_major: u32,
    #[serde(skip_serializing_if = "is_zero")]
    dev_minor: u32,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    xattrs: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    #[serde(skip_serializing_if = "is_zero")]
    offset: u64,
    #[serde(skip_serializing_if = "is_zero")]
    end_offset: u64,
    #[serde(skip_serializing_if = "is_zero")]
    chunk_size: u64,
    #[serde(skip_serializing_if = "is_zero")]
    chunk_offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    chunk_digest: Option<Digest>,
    #[serde(skip_serializing_if = "is_zero")]
    chunk_type: &'static str,
}

fn storage(entry: &TocEntry) -> Vec<Storage> {
    let whole = Storage {
        kind: entry.kind.word(),
        name: text(&entry.name),
        link_name: text(&entry.link),
        mode: entry.mode,
        size: entry.size,
        uid: entry.uid,
        gid: entry.gid,
        modified: entry.mtime.text(),
        dev_major: entry.dev_major,
        dev_minor: entry.dev_minor,
        xattrs: xattrs(entry),
        // There is no digest of nothing.
        digest: entry.digest.filter(|_| entry.size > 0),
        // The last chunk may be zeros of which nothing tells where they are.
        end_offset: entry.chunks.iter().map(|chunk| chunk.blob.end).max().unwrap_or_default(),
        ..Storage::default()
    };
    let piece = |chunk: &TocChunk, written| Storage {
        offset: chunk.blob.start,
        chunk_size: chunk.size,
        chunk_offset: chunk.file,
        chunk_digest: chunk.digest,
        chunk_type: if chunk.zeros { "zeros" } else { "" },
        ..written
    };
    match &entry.chunks[..] {
        [] => vec![whole],
        [only] if !only.zeros => {
            vec![Storage { digest: whole.digest.or(only.digest), offset: only.blob.start, ..whole }]
        }
        [first, others @ ..] => {
            let more = || Storage { kind: "chunk", name: text(&entry.name), ..Storage::default() };
            std::iter::once(piece(first, whole))
                .chain(others.iter().map(|chunk| piece(chunk, more())))
                .collect()
        }
    }
}

fn xattrs(entry: &TocEntry) -> BTreeMap<String, String> {
    entry.xattrs.iter().map(|(key, value)| (text(key), base64::encode(value))).collect()
}

/// The text as Go has it, which replaces each byte that is no UTF-8.
fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}
