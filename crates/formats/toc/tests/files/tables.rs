//! Made-up tables that are sound.

use glowplug_base::{ByteRange, Digest};
use glowplug_toc::{Dialect, EntryKind, Timestamp, Toc, TocChunk, TocEntry};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

/// An entry that is nothing but a name.
pub fn entry(name: &str, kind: EntryKind) -> TocEntry {
    TocEntry {
        name: name.into(),
        kind,
        size: 0,
        link: Vec::new(),
        mode: 0,
        uid: 0,
        gid: 0,
        uname: Vec::new(),
        gname: Vec::new(),
        mtime: Timestamp::default(),
        dev_major: 0,
        dev_minor: 0,
        xattrs: [].into(),
        digest: None,
        chunks: Vec::new(),
    }
}

/// What a piece of a file is made from: its length, that of its member (0: it goes into the member before), whether it
/// is zeros, and its digest.
type Piece = (u64, u64, bool, Option<u8>);

fn any_name() -> impl Strategy<Value = String> {
    "[a-z<>&é/.\"\\\\\n\u{2028}\u{1}]{0,12}"
}

fn any_time(dialect: Dialect) -> impl Strategy<Value = Timestamp> {
    (-62_167_219_200..253_402_300_000_i64, 0..1_000_000_000_u32).prop_map(move |(seconds, nanoseconds)| {
        Timestamp { seconds, nanoseconds: if dialect == Dialect::Storage { nanoseconds } else { 0 } }
    })
}

fn any_entry(dialect: Dialect) -> impl Strategy<Value = (TocEntry, Vec<Piece>)> {
    let kind = prop::sample::select(vec![
        EntryKind::Regular,
        EntryKind::Directory,
        EntryKind::Symlink,
        EntryKind::Hardlink,
        EntryKind::Character,
        EntryKind::Block,
        EntryKind::Fifo,
    ]);
    let kind = prop_oneof![Just(EntryKind::Regular), kind];
    let numbers = (0..0o10000_u32, any::<u32>(), any::<u32>(), any::<u32>(), 0..3_u32, 0..3_u32);
    let xattrs = btree_map("[a-z.]{1,8}", vec(any::<u8>(), 0..6), 0..3);
    let piece = (1..1_u64 << 40, 0..1_u64 << 30, any::<bool>(), option::of(any::<u8>()));
    let texts = (any_name(), any_name(), any_time(dialect));
    (kind, texts, numbers, xattrs, option::of(any::<u8>()), vec(piece, 0..4)).prop_map(
        move |(
            kind,
            (name, link, mtime),
            (mode, dev_major, dev_minor, id, uid, gid),
            xattrs,
            digest,
            pieces,
        )| {
            // Owners are few, so that names are left out; each has one name or none.
            let (uid, gid) = if id % 4 == 0 { (id, id) } else { (uid, gid) };
            let named = |id: u32| match dialect {
                Dialect::Storage => Vec::new(),
                _ if id == 1 => Vec::new(),
                _ => format!("<{id}>").into_bytes(),
            };
            let pieces = if kind == EntryKind::Regular { pieces } else { Vec::new() };
            let digest = digest.filter(|_| dialect != Dialect::Storage || !pieces.is_empty());
            let entry = TocEntry {
                link: link.into(),
                mode,
                uid,
                gid,
                uname: named(uid),
                gname: named(gid),
                mtime,
                dev_major,
                dev_minor,
                xattrs: xattrs.into_iter().map(|(key, value)| (key.into(), value)).collect(),
                digest: digest.map(|byte| Digest::from_bytes([byte; 32])),
                ..entry(&name, kind)
            };
            (entry, pieces)
        },
    )
}

/// A table of that dialect, and where the payload of its layer ends.
pub fn any_toc(dialect: Dialect) -> impl Strategy<Value = (Toc, u64)> {
    vec(any_entry(dialect), 0..12).prop_map(move |entries| {
        let mut place = Place { end: 0, member: ByteRange::new(0, 0), taken: 512 };
        let entries = entries.into_iter().map(|(mut entry, pieces)| {
            for &piece in &pieces {
                let chunk = place.chunk(dialect, entry.size, piece);
                entry.size += chunk.size;
                entry.chunks.push(chunk);
            }
            if let [only] = &mut entry.chunks[..] {
                only.digest = entry.digest;
            }
            if dialect == Dialect::Storage {
                place.end += 7; // headers have frames of their own
            }
            entry
        });
        let entries = entries.collect();
        (Toc { entries }, place.end)
    })
}

/// Where the blob grows.
struct Place {
    end: u64,
    member: ByteRange,
    /// Of the decoded member.
    taken: u64,
}

impl Place {
    fn chunk(&mut self, dialect: Dialect, file: u64, (size, length, zeros, digest): Piece) -> TocChunk {
        let digest = digest.map(|byte| Digest::from_bytes([byte; 32]));
        let is_storage = dialect == Dialect::Storage;
        if is_storage && zeros {
            self.end = self.end.max(1);
            let blob = ByteRange::new(self.end, self.end);
            self.end += length;
            return TocChunk { file, size, blob, inner: 0, digest, zeros };
        }
        if is_storage || length > 0 {
            // The first payload has a header before it, in its member or before that.
            let start = if self.end == 0 && is_storage { 40 } else { self.end };
            let first = if start == 0 { 512 } else { 0 };
            self.member = ByteRange::at(start, length.max(1));
            self.end = self.member.end;
            self.taken = first;
        } else if self.member.is_empty() {
            self.member = ByteRange::at(0, 100);
            self.end = 100;
        }
        let inner = self.taken;
        self.taken += size + 512;
        TocChunk { file, size, blob: self.member, inner, digest, zeros: false }
    }
}
