//! What an EROFS image holds, as entries of a layer.
//!
//! The layer is one of an overlay of EROFS file systems, as containerd mounts them, so what hides files of layers below is what
//! overlayfs has for it: a character device 0/0, which entries have as well, and `trusted.overlay.opaque`, which becomes the
//! whiteout that archives have. What overlayfs would follow into other layers is refused, and so is a name that a file system shows
//! and an archive hides by. Sockets are left out, as archives leave them out.

use glowplug_erofs::Member;
use glowplug_layer::{Entry, Extent, Kind};

use crate::ErofsError;

/// The file-type bits of `st_mode`, and the types.
const TYPE_MASK: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const SYMLINK: u32 = 0o120_000;
const REGULAR: u32 = 0o100_000;
const CHARACTER: u32 = 0o020_000;
const BLOCK: u32 = 0o060_000;
const FIFO: u32 = 0o010_000;

/// The bits of a mode that an entry has.
const MODE_BITS: u32 = 0o7777;

/// Attributes of overlayfs that say something about other layers.
const OPAQUE: &[u8] = b"trusted.overlay.opaque";
const ELSEWHERE: [&[u8]; 3] =
    [b"trusted.overlay.metacopy", b"trusted.overlay.redirect", b"trusted.overlay.whiteout"];
/// The value with which a directory hides all that layers below have in it.
const HIDES_ALL: &[u8] = b"y";

/// Begins the name of every whiteout of archives, and the one that hides all.
const WHITEOUT_PREFIX: &[u8] = b".wh.";
const OPAQUE_NAME: &[u8] = b".wh..wh..opq";

/// The entries of an image, in its order. Their extents have no place in the data file yet.
pub(super) fn entries(members: Vec<Member>) -> Result<Vec<Entry>, ErofsError> {
    let mut entries: Vec<Entry> = Vec::with_capacity(members.len());
    // For each member its entry; sockets have none.
    let mut numbers: Vec<Option<usize>> = Vec::with_capacity(members.len());
    for member in members {
        let number = entries.len();
        let entry = match member.same_as {
            Some(first) => numbers[first].map(|first| another_name(&entries[first], member.path)),
            None => entry(member),
        };
        numbers.push(entry.is_some().then_some(number));
        let Some(entry) = entry else { continue };
        let hides_all = check(&entry)?;
        let opaque = hides_all.then(|| Entry {
            path: [&*entry.path, OPAQUE_NAME].join(&b'/'),
            kind: Kind::File,
            xattrs: Vec::new(),
            ..entry.clone()
        });
        entries.push(entry);
        entries.extend(opaque);
    }
    Ok(entries)
}

/// The entry of an inode's first name; nothing for a socket.
fn entry(member: Member) -> Option<Entry> {
    let kind = match member.mode & TYPE_MASK {
        DIRECTORY => Kind::Directory,
        SYMLINK => Kind::Symlink,
        REGULAR => Kind::File,
        CHARACTER => Kind::Char,
        BLOCK => Kind::Block,
        FIFO => Kind::Fifo,
        _ => return None,
    };
    let extents = member.pieces.iter();
    Some(Entry {
        path: member.path,
        kind,
        link: member.target,
        mode: member.mode & MODE_BITS,
        uid: member.uid,
        gid: member.gid,
        mtime_s: member.mtime_s,
        mtime_ns: member.mtime_ns,
        device: (member.rdev.major, member.rdev.minor),
        size: member.size,
        xattrs: member.xattrs,
        extents: extents.map(|it| Extent { file: it.file, stream: it.image, data: 0, len: it.len }).collect(),
    })
}

/// The entry of a further name. A hard link brings the attributes of its file along, as in archives.
fn another_name(first: &Entry, path: Vec<u8>) -> Entry {
    Entry {
        path,
        kind: Kind::Hardlink,
        link: first.path.clone(),
        size: 0,
        extents: Vec::new(),
        ..first.clone()
    }
}

/// Refuses what does not mean here what it means to overlayfs; tells whether a directory hides all that is below it.
fn check(entry: &Entry) -> Result<bool, ErofsError> {
    let path = || String::from_utf8_lossy(&entry.path).into_owned();
    if entry.path.rsplit(|byte| *byte == b'/').next().is_some_and(|name| name.starts_with(WHITEOUT_PREFIX)) {
        return Err(ErofsError::Whiteout { path: path() });
    }
    let mut hides_all = false;
    for (name, value) in &entry.xattrs {
        let is_opaque = name == OPAQUE && value == HIDES_ALL;
        if ELSEWHERE.contains(&&**name) || (name == OPAQUE && !is_opaque) {
            return Err(ErofsError::Overlay {
                path: path(),
                name: String::from_utf8_lossy(name).into_owned(),
            });
        }
        // The roots of all layers are joined, whatever they say.
        hides_all |= is_opaque && entry.kind == Kind::Directory && !entry.path.is_empty();
    }
    Ok(hides_all)
}

#[cfg(test)]
mod tests {
    use glowplug_erofs::{DeviceNumber, Piece};

    use super::*;

    fn member(path: &str, mode: u32) -> Member {
        Member {
            path: path.into(),
            same_as: None,
            mode,
            uid: 1,
            gid: 2,
            mtime_s: 3,
            mtime_ns: 4,
            rdev: DeviceNumber::default(),
            size: 0,
            xattrs: Vec::new(),
            target: Vec::new(),
            pieces: Vec::new(),
        }
    }

    fn with(member: Member, name: &str, value: &str) -> Member {
        Member { xattrs: vec![(name.into(), value.into())], ..member }
    }

    #[test]
    fn names_and_attributes_become_entries_and_sockets_none() {
        let pieces = vec![Piece { file: 0, image: 8192, len: 5 }];
        let members = vec![
            member("", 0o040_755),
            member("s", 0o140_755),
            Member { size: 5, pieces, ..with(member("f", 0o104_711), "user.a", "b") },
            Member { same_as: Some(2), ..member("g", 0o104_711) },
            Member { same_as: Some(1), ..member("t", 0o140_755) },
            Member { target: b"f".to_vec(), ..member("l", 0o120_777) },
            member("hidden", 0o020_000),
            with(member("d", 0o040_700), "trusted.overlay.opaque", "y"),
        ];
        let entries = entries(members).unwrap();
        let paths: Vec<_> = entries.iter().map(|it| (String::from_utf8_lossy(&it.path), it.kind)).collect();
        let expected = [
            ("", Kind::Directory),
            ("f", Kind::File),
            ("g", Kind::Hardlink),
            ("l", Kind::Symlink),
            ("hidden", Kind::Char),
            ("d", Kind::Directory),
            ("d/.wh..wh..opq", Kind::File),
        ];
        assert_eq!(paths, expected.map(|(path, kind)| (path.into(), kind)));
        assert_eq!((entries[1].mode, entries[1].size, entries[1].extents[0].stream), (0o4711, 5, 8192));
        assert_eq!((&*entries[2].link, &entries[2].xattrs), (&b"f"[..], &entries[1].xattrs));
    }

    #[test]
    fn what_means_something_else_here_is_refused_by_name() {
        let file = || member("d/f", 0o100_644);
        for (member, refusal) in [
            (member("d/.wh.f", 0o100_644), "\"d/.wh.f\" is a whiteout of archives"),
            (
                with(file(), "trusted.overlay.metacopy", ""),
                "\"d/f\" has the attribute trusted.overlay.metacopy",
            ),
            (
                with(file(), "trusted.overlay.redirect", "/x"),
                "\"d/f\" has the attribute trusted.overlay.redirect",
            ),
            (
                with(file(), "trusted.overlay.whiteout", ""),
                "\"d/f\" has the attribute trusted.overlay.whiteout",
            ),
            (with(file(), "trusted.overlay.opaque", "x"), "\"d/f\" has the attribute trusted.overlay.opaque"),
        ] {
            let error = entries(vec![member]).unwrap_err().to_string();
            assert!(error.starts_with(refusal), "{error}");
        }
        assert!(entries(vec![with(member("", 0o040_755), "trusted.overlay.origin", "")]).is_ok());
    }
}
