//! Entries of a tar as a table of contents has them.

use glowplug_base::Digest;
use glowplug_tarwalk::{Entry, Kind};
use glowplug_toc::estargz::{LANDMARK_CONTENT, NO_PREFETCH_LANDMARK, PREFETCH_LANDMARK, TOC_NAME};
use glowplug_toc::{EntryKind, Timestamp, TocEntry};

/// Bytes of a block of a tar.
pub(super) const BLOCK_BYTES: u64 = 512;

/// `entry` without its chunks, or why no table can list it.
pub(super) fn listed(entry: &Entry) -> Result<TocEntry, &'static str> {
    let kind = match entry.kind {
        Kind::File => EntryKind::Regular,
        Kind::Directory => EntryKind::Directory,
        Kind::Symlink => EntryKind::Symlink,
        Kind::Hardlink => EntryKind::Hardlink,
        Kind::Char => EntryKind::Character,
        Kind::Block => EntryKind::Block,
        Kind::Fifo => EntryKind::Fifo,
    };
    let id = |id: u64| u32::try_from(id).map_err(|_| "an owner beyond 32 bits");
    let is_file = entry.kind == Kind::File;
    if is_file && entry.size > 0 && !is_in_one_piece(entry) {
        return Err("a sparse file");
    }
    let is_link = matches!(entry.kind, Kind::Symlink | Kind::Hardlink);
    let is_device = matches!(entry.kind, Kind::Char | Kind::Block);
    Ok(TocEntry {
        name: entry.path.clone(),
        kind,
        size: if is_file { entry.size } else { 0 },
        link: if is_link { entry.link.clone() } else { Vec::new() },
        mode: entry.mode,
        uid: id(entry.uid)?,
        gid: id(entry.gid)?,
        uname: entry.uname.clone(),
        gname: entry.gname.clone(),
        mtime: Timestamp { seconds: entry.mtime_s, nanoseconds: entry.mtime_ns },
        dev_major: if is_device { entry.dev_major } else { 0 },
        dev_minor: if is_device { entry.dev_minor } else { 0 },
        xattrs: entry.xattrs.iter().cloned().collect(),
        digest: (is_file && entry.size == 0).then(|| Digest::of(b"")),
        chunks: Vec::new(),
    })
}

/// Whether the contents stand in the tar as they are.
fn is_in_one_piece(entry: &Entry) -> bool {
    matches!(entry.extents[..], [only] if only.file_offset == 0 && only.len == entry.size)
}

/// Whether eStargz put an entry of this normalised path in, for its own use.
pub(super) fn is_estargz_own(path: &[u8]) -> bool {
    [TOC_NAME, PREFETCH_LANDMARK, NO_PREFETCH_LANDMARK].iter().any(|name| name.as_bytes() == path)
}

/// The landmark of that name, which says that all before it is to be fetched first, or that nothing is: its header, its
/// contents, and how a table lists it.
pub(super) fn landmark(name: &str) -> ([u8; BLOCK_BYTES as usize], [u8; 1], TocEntry) {
    let mut header = tar::Header::new_ustar();
    let name = name.as_bytes();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(1);
    header.set_mode(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    let entry = TocEntry {
        name: name.to_vec(),
        kind: EntryKind::Regular,
        size: 1,
        link: Vec::new(),
        mode: 0,
        uid: 0,
        gid: 0,
        uname: Vec::new(),
        gname: Vec::new(),
        mtime: Timestamp::default(),
        dev_major: 0,
        dev_minor: 0,
        xattrs: std::collections::BTreeMap::new(),
        digest: None,
        chunks: Vec::new(),
    };
    (*header.as_bytes(), [LANDMARK_CONTENT], entry)
}
