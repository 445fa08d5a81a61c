//! Paths of entries, made safe, and the whiteouts among them.
//!
//! Layers say "remove this" by the names of entries (OCI image layer specification, "Whiteouts"; the prefix is
//! aufs's).

use thiserror::Error;

/// Begins the name of every whiteout.
const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// Begins the names aufs keeps to itself.
const AUFS_PREFIX: &[u8] = b".wh..wh.";
/// Hides everything the layers below have in the directory it is in.
const OPAQUE_NAME: &[u8] = b".wh..wh..opq";

/// Why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PathError {
    /// It has a `..` component.
    #[error("path climbs with \"..\"")]
    Climbs,
    /// It has a NUL byte.
    #[error("path contains a NUL byte")]
    Nul,
}

/// Makes a path relative to the root and plain: components joined by single slashes, without `.`, and without
/// a slash at either end. The root itself is the empty path.
///
/// # Errors
/// [`PathError`] for paths with a `..` component or a NUL byte. Symbolic links are not the concern of this function.
pub fn normalise(path: &[u8]) -> Result<Vec<u8>, PathError> {
    if path.contains(&0) {
        return Err(PathError::Nul);
    }
    let mut out = Vec::with_capacity(path.len());
    for component in path.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => return Err(PathError::Climbs),
            name => {
                if !out.is_empty() {
                    out.push(b'/');
                }
                out.extend_from_slice(name);
            }
        }
    }
    Ok(out)
}

/// What an entry's path says about lower layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whiteout {
    /// Nothing: an ordinary entry.
    None,
    /// Hide all that lower layers have in the directory `dir`; its path, empty for the root.
    Opaque {
        /// Normalised path of the directory.
        dir: Vec<u8>,
    },
    /// Remove `path`, a lower layer's.
    Remove {
        /// Normalised path of what to remove.
        path: Vec<u8>,
    },
    /// Bookkeeping of aufs, such as what is in `.wh..wh.plnk`: to be ignored.
    Metadata,
    /// The prefix and no name after it that could be removed: empty, `.` or `..`.
    Invalid,
}

/// Tells whether a path, as [`normalise`] gave it, is a whiteout.
pub fn whiteout(path: &[u8]) -> Whiteout {
    let slash = path.iter().rposition(|&byte| byte == b'/');
    let (dir, name) = slash.map_or((&[][..], path), |slash| (&path[..slash], &path[slash + 1..]));
    let is_aufs = |component: &[u8]| component.starts_with(AUFS_PREFIX);
    if dir.split(|&byte| byte == b'/').any(is_aufs) {
        return Whiteout::Metadata;
    }
    if name == OPAQUE_NAME {
        return Whiteout::Opaque { dir: dir.to_vec() };
    }
    if is_aufs(name) {
        return Whiteout::Metadata;
    }
    match name.strip_prefix(WHITEOUT_PREFIX) {
        None => Whiteout::None,
        Some(b"" | b"." | b"..") => Whiteout::Invalid,
        Some(removed) if dir.is_empty() => Whiteout::Remove { path: removed.to_vec() },
        Some(removed) => Whiteout::Remove { path: [dir, b"/", removed].concat() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_plain() {
        for (written, plain) in [
            ("", ""),
            (".", ""),
            ("./", ""),
            ("/", ""),
            ("//./", ""),
            ("./a", "a"),
            ("/a/b/", "a/b"),
            ("a//b/./c", "a/b/c"),
            ("a/..b/...", "a/..b/..."),
            ("a b/\u{e9}", "a b/\u{e9}"),
        ] {
            assert_eq!(normalise(written.as_bytes()).unwrap(), plain.as_bytes(), "{written:?}");
        }
        for climbing in ["..", "../a", "a/..", "a/../b", "/..", "./../x"] {
            assert_eq!(normalise(climbing.as_bytes()), Err(PathError::Climbs), "{climbing:?}");
        }
        assert_eq!(normalise(b"a\0b"), Err(PathError::Nul));
    }

    #[test]
    fn whiteouts_are_told_apart() {
        let remove = |path: &str| Whiteout::Remove { path: path.into() };
        let opaque = |dir: &str| Whiteout::Opaque { dir: dir.into() };
        for (path, expected) in [
            ("", Whiteout::None),
            ("etc/passwd", Whiteout::None),
            ("a.wh.b", Whiteout::None),
            (".whatever", Whiteout::None),
            (".wh.d/file", Whiteout::None),
            (".wh.gone", remove("gone")),
            ("a/b/.wh.gone", remove("a/b/gone")),
            ("a/.wh..hidden", remove("a/.hidden")),
            (".wh..wh..opq", opaque("")),
            ("a/b/.wh..wh..opq", opaque("a/b")),
            (".wh..wh.plnk", Whiteout::Metadata),
            (".wh..wh.plnk/12.34", Whiteout::Metadata),
            ("a/.wh..wh.aufs", Whiteout::Metadata),
            (".wh..wh.orph/.wh..wh..opq", Whiteout::Metadata),
            ("a/.wh.", Whiteout::Invalid),
            ("a/.wh..", Whiteout::Invalid),
            ("a/.wh...", Whiteout::Invalid),
        ] {
            assert_eq!(whiteout(path.as_bytes()), expected, "{path:?}");
        }
    }
}
