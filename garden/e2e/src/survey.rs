//! All that a program can learn about a tree of files, and how two trees differ.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use glowplug_base::{Digest, Hasher};

/// What kind of thing a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words say it")]
pub enum Kind {
    File,
    Directory,
    Symlink,
    Char,
    Block,
    Fifo,
    Socket,
}

/// What can be learned about one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its type.
    pub kind: Kind,
    /// The low 12 bits of `st_mode`.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u32, u32),
    /// Length in bytes.
    pub size: u64,
    /// Modification time: seconds and nanoseconds.
    pub mtime: (i64, i64),
    /// Number of a device, 0 for all else.
    pub device: u64,
    /// Number of names.
    pub links: u64,
    /// The first path, in byte order, that is a name of the same file.
    pub first_name: PathBuf,
    /// Target of a symbolic link.
    pub target: Option<PathBuf>,
    /// Extended attributes.
    pub xattrs: BTreeMap<String, Vec<u8>>,
    /// SHA-256 of a file's contents.
    pub content: Option<Digest>,
}

/// The facts of every path below a root, which itself is the empty path.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    entries: BTreeMap<PathBuf, Facts>,
    /// Names that a directory lists and that nothing has.
    ghosts: BTreeSet<PathBuf>,
}

impl Survey {
    /// Looks at everything below `root`.
    ///
    /// # Panics
    /// Something cannot be looked at.
    pub fn of(root: &Path) -> Self {
        let (mut found, mut ghosts) = (BTreeMap::new(), BTreeSet::new());
        let mut first_names: BTreeMap<Inode, PathBuf> = BTreeMap::new();
        let mut todo = vec![PathBuf::new()];
        while let Some(path) = todo.pop() {
            let place = root.join(&path);
            let (inode, facts, names) = match look(&place) {
                Ok(seen) => seen,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && place != root => {
                    ghosts.insert(path);
                    continue;
                }
                Err(error) => panic!("look at {}: {error}", place.display()),
            };
            todo.extend(names.into_iter().map(|name| path.join(name)));
            let first = first_names.entry(inode).or_insert_with(|| path.clone());
            *first = path.clone().min(std::mem::take(first));
            found.insert(path, (facts, inode));
        }
        let with_name = |(path, (facts, inode)): (PathBuf, (Facts, Inode))| {
            let first_name = first_names.get(&inode).cloned().unwrap_or_default();
            (path, Facts { first_name, ..facts })
        };
        Self { entries: found.into_iter().map(with_name).collect(), ghosts }
    }

    /// The facts by path.
    pub const fn entries(&self) -> &BTreeMap<PathBuf, Facts> {
        &self.entries
    }

    /// In what `other` differs, by path.
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let mut differences = Vec::new();
        for (path, here) in &self.entries {
            match other.entries.get(path) {
                Some(there) => differences.extend(fields(here, there).map(|(field, texts)| Difference {
                    path: path.clone(),
                    field,
                    here: texts.0,
                    there: texts.1,
                })),
                None => differences.push(lone(path, here, true)),
            }
        }
        let only_there = other.entries.iter().filter(|(path, _)| !self.entries.contains_key(*path));
        differences.extend(only_there.map(|(path, there)| lone(path, there, false)));
        differences.extend(self.ghosts.symmetric_difference(&other.ghosts).map(|path| Difference {
            path: path.clone(),
            field: "ghost",
            here: self.ghosts.contains(path).to_string(),
            there: other.ghosts.contains(path).to_string(),
        }));
        differences
    }
}

/// One field of one path in which two trees differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Where.
    pub path: PathBuf,
    /// The field's name; `presence` for a path that only one of the trees has, `ghost` for a name that only one lists.
    pub field: &'static str,
    /// What the one tree has.
    pub here: String,
    /// What the other has.
    pub there: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}: {}: {} against {}", self.path.display(), self.field, self.here, self.there)
    }
}

fn lone(path: &Path, facts: &Facts, is_here: bool) -> Difference {
    let (kind, nothing) = (format!("{:?}", facts.kind), "nothing".to_owned());
    let (here, there) = if is_here { (kind, nothing) } else { (nothing, kind) };
    Difference { path: path.to_owned(), field: "presence", here, there }
}

/// The fields that differ, with both values as text.
fn fields(here: &Facts, there: &Facts) -> impl Iterator<Item = (&'static str, (String, String))> {
    fn texts<T: fmt::Debug>(value: impl Fn(&Facts) -> T, here: &Facts, there: &Facts) -> (String, String) {
        (format!("{:?}", value(here)), format!("{:?}", value(there)))
    }
    let octal = |facts: &Facts| format!("{:04o}", facts.mode);
    [
        ("type", texts(|facts| facts.kind, here, there)),
        ("mode", (octal(here), octal(there))),
        ("owner", texts(|facts| facts.owner, here, there)),
        ("size", texts(|facts| facts.size, here, there)),
        ("mtime", texts(|facts| facts.mtime, here, there)),
        ("device", texts(|facts| facts.device, here, there)),
        ("links", texts(|facts| facts.links, here, there)),
        ("first name", texts(|facts| facts.first_name.clone(), here, there)),
        ("target", texts(|facts| facts.target.clone(), here, there)),
        ("xattrs", texts(|facts| facts.xattrs.clone(), here, there)),
        ("content", texts(|facts| facts.content, here, there)),
    ]
    .into_iter()
    .filter(|(_, (here, there))| here != there)
}

fn kind(kind: std::fs::FileType) -> Kind {
    match () {
        () if kind.is_dir() => Kind::Directory,
        () if kind.is_symlink() => Kind::Symlink,
        () if kind.is_char_device() => Kind::Char,
        () if kind.is_block_device() => Kind::Block,
        () if kind.is_fifo() => Kind::Fifo,
        () if kind.is_socket() => Kind::Socket,
        () => Kind::File,
    }
}

/// Device and number: what makes two names the same file.
type Inode = (u64, u64);

/// Looks at one path; a directory's names come with it.
fn look(place: &Path) -> std::io::Result<(Inode, Facts, Vec<OsString>)> {
    let metadata = std::fs::symlink_metadata(place)?;
    let kind = kind(metadata.file_type());
    let names = match kind {
        Kind::Directory => std::fs::read_dir(place)?
            .map(|entry| Ok(entry?.file_name()))
            .collect::<std::io::Result<Vec<_>>>()?,
        _ => Vec::new(),
    };
    let facts = Facts {
        kind,
        mode: metadata.mode() & 0o7777,
        owner: (metadata.uid(), metadata.gid()),
        size: metadata.size(),
        mtime: (metadata.mtime(), metadata.mtime_nsec()),
        device: metadata.rdev(),
        links: metadata.nlink(),
        first_name: PathBuf::new(),
        target: if kind == Kind::Symlink { Some(std::fs::read_link(place)?) } else { None },
        xattrs: xattrs(place)?,
        content: if kind == Kind::File { Some(digest(place)?) } else { None },
    };
    Ok(((metadata.dev(), metadata.ino()), facts, names))
}

fn xattrs(place: &Path) -> rustix::io::Result<BTreeMap<String, Vec<u8>>> {
    let mut names = vec![0; rustix::fs::llistxattr_query(place)?];
    // Without a buffer the answer would be the length that is wanted, not what came.
    let length = if names.is_empty() { 0 } else { rustix::fs::llistxattr(place, &mut names[..])? };
    let mut found = BTreeMap::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; rustix::fs::lgetxattr_query(place, name)?];
        if !value.is_empty() {
            let length = rustix::fs::lgetxattr(place, name, &mut value[..])?;
            value.truncate(length);
        }
        found.insert(OsStr::from_bytes(name).to_string_lossy().into_owned(), value);
    }
    Ok(found)
}

fn digest(place: &Path) -> std::io::Result<Digest> {
    struct Sink(Hasher);
    impl std::io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.update(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut sink = std::io::BufWriter::with_capacity(1 << 18, Sink(Hasher::new()));
    std::io::copy(&mut std::fs::File::open(place)?, &mut sink)?;
    let sink = sink.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    Ok(sink.0.finish())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    /// A small tree whose one file and one link `change` may change.
    fn survey(change: impl FnOnce(&Path)) -> Survey {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("file"), "text").unwrap();
        symlink("file", root.path().join("link")).unwrap();
        change(&root.path().join("file"));
        let time = std::fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
        std::fs::File::open(root.path()).unwrap().set_times(time).unwrap();
        if let Ok(file) = std::fs::File::open(root.path().join("file")) {
            file.set_times(time).unwrap();
        }
        Survey::of(root.path())
    }

    #[test]
    fn every_field_that_differs_is_reported() {
        let plain = survey(|_| {});
        let fields = |change: &dyn Fn(&Path)| -> Vec<String> {
            let differences = plain.differences(&survey(change));
            let of_file = differences.iter().filter(|difference| difference.field != "mtime");
            of_file.map(|difference| format!("{} {}", difference.path.display(), difference.field)).collect()
        };
        assert!(fields(&|_| {}).is_empty());
        let mode = std::fs::Permissions::from_mode(0o4711);
        assert_eq!(fields(&|file| std::fs::set_permissions(file, mode.clone()).unwrap()), ["file mode"]);
        assert_eq!(fields(&|file| std::os::unix::fs::chown(file, Some(1), None).unwrap()), ["file owner"]);
        assert_eq!(fields(&|file| std::fs::write(file, "tex!").unwrap()), ["file content"]);
        assert_eq!(fields(&|file| std::fs::write(file, "").unwrap()), ["file size", "file content"]);
        assert_eq!(fields(&|file| std::fs::remove_file(file).unwrap()), ["file presence"]);
        let link = |file: &Path| std::fs::hard_link(file, file.with_file_name("again")).unwrap();
        assert_eq!(fields(&link), ["file links", "file first name", "again presence"]);
        let xattr = |file: &Path| {
            rustix::fs::lsetxattr(file, "user.x", b"1", rustix::fs::XattrFlags::empty()).unwrap();
        };
        assert_eq!(fields(&xattr), ["file xattrs"]);
        let other = |file: &Path| {
            std::fs::remove_file(file.with_file_name("link")).unwrap();
            symlink("elsewhere", file.with_file_name("link")).unwrap();
        };
        assert_eq!(fields(&other), ["link size", "link target"]);
        let folder = |file: &Path| {
            std::fs::remove_file(file).unwrap();
            std::fs::create_dir(file).unwrap();
        };
        assert!(fields(&folder).contains(&"file type".to_owned()));
    }
}
