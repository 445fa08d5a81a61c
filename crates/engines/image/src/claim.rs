//! What every index goes through that somebody published: its entries are claims, and the layer's own archive decides.

use glowplug_layer::{Entry, Kind};
use glowplug_store::Layer;
use glowplug_tarwalk::{Kind as TarKind, normalise};
use glowplug_toc::EntryKind;

/// Longest span taken, in bytes of the stream: what one fault may have to decode, and hold in memory.
pub(crate) const MAX_SPAN_BYTES: u64 = 32 * 1024 * 1024;
/// Longest name or link target, in bytes: the kernel's `PATH_MAX`, which the tar walker also has.
const MAX_NAME_BYTES: usize = 4096;

/// The names of an entry, checked.
pub(crate) struct Claimed {
    pub(crate) kind: Kind,
    pub(crate) path: Vec<u8>,
    pub(crate) link: Vec<u8>,
}

impl Claimed {
    /// Checks an entry's name and link, or says what is wrong with them.
    pub(crate) fn of(kind: EntryKind, name: &[u8], link: &[u8]) -> Result<Self, String> {
        if name.len() > MAX_NAME_BYTES || link.len() > MAX_NAME_BYTES {
            return Err("name too long".to_owned());
        }
        let kind = match kind {
            EntryKind::Regular => Kind::File,
            EntryKind::Directory => Kind::Directory,
            EntryKind::Symlink => Kind::Symlink,
            EntryKind::Hardlink => Kind::Hardlink,
            EntryKind::Character => Kind::Char,
            EntryKind::Block => Kind::Block,
            EntryKind::Fifo => Kind::Fifo,
        };
        let link = match kind {
            Kind::Hardlink => normalise(link).map_err(|error| error.to_string())?,
            _ if link.contains(&0) => return Err("link contains a NUL byte".to_owned()),
            _ => link.to_vec(),
        };
        Ok(Self { kind, path: normalise(name).map_err(|error| error.to_string())?, link })
    }
}

/// What an entry of an archive is.
pub(crate) const fn kind(kind: TarKind) -> Kind {
    match kind {
        TarKind::File => Kind::File,
        TarKind::Directory => Kind::Directory,
        TarKind::Symlink => Kind::Symlink,
        TarKind::Hardlink => Kind::Hardlink,
        TarKind::Char => Kind::Char,
        TarKind::Block => Kind::Block,
        TarKind::Fifo => Kind::Fifo,
    }
}

/// An owner or a group as an index has it. No file system has longer ones.
pub(crate) fn owner(id: u64) -> u32 {
    u32::try_from(id).unwrap_or(u32::MAX - 1)
}

/// In what an entry of the archive is not what an index says; `None` when both agree.
///
/// Owners and times are left out: a global header long before may have set them.
pub(crate) fn difference(found: &glowplug_tarwalk::Entry, expected: &Entry) -> Option<&'static str> {
    let same_link = || match expected.kind {
        Kind::Hardlink => normalise(&found.link).is_ok_and(|link| link == expected.link),
        Kind::Symlink => found.link == expected.link,
        _ => true,
    };
    let same_device = || {
        !matches!(expected.kind, Kind::Char | Kind::Block)
            || (found.dev_major, found.dev_minor) == expected.device
    };
    if kind(found.kind) != expected.kind {
        Some("type")
    } else if !normalise(&found.path).is_ok_and(|path| path == expected.path) {
        Some("name")
    } else if !same_link() {
        Some("link")
    } else if found.mode != expected.mode {
        Some("mode")
    } else if found.size != expected.size {
        Some("size")
    } else if !same_device() {
        Some("device number")
    } else if !expected.xattrs.iter().all(|xattr| found.xattrs.contains(xattr)) {
        // libarchive's attributes, which other tools do not know, may be missing.
        Some("extended attributes")
    } else {
        None
    }
}

/// What it means that bytes which do not match the digest of their span came twice, and the same: either the blob is
/// damaged where it lies or the published digest is wrong. The layer's own digest tells which when it streams by.
pub(crate) fn doubt(layer: &Layer, span: usize) {
    if layer.index().origin.is_published() {
        layer.doubt(&format!("span {span} does not match its digest, twice"));
    }
}
