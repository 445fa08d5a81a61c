//! Writes the tar of a layer entry by entry, hostile entries included: names are taken as they are.

use tar::{EntryType, Header};

/// One entry of a tar.
#[derive(Debug, Clone)]
pub struct Entry {
    path: Vec<u8>,
    kind: EntryType,
    data: Vec<u8>,
    link: Vec<u8>,
    mode: u32,
    owner: (u64, u64),
    mtime: u64,
    device: Option<(u32, u32)>,
    pax: Vec<(String, Vec<u8>)>,
}

impl Entry {
    /// An entry of any type, without data.
    pub fn new(kind: EntryType, path: impl AsRef<[u8]>) -> Self {
        let mode = if kind == EntryType::Directory { 0o755 } else { 0o644 };
        Self {
            path: path.as_ref().to_vec(),
            kind,
            data: Vec::new(),
            link: Vec::new(),
            mode,
            owner: (0, 0),
            mtime: 1_700_000_000,
            device: None,
            pax: Vec::new(),
        }
    }

    /// A directory, 0755.
    pub fn dir(path: impl AsRef<[u8]>) -> Self {
        Self::new(EntryType::Directory, path)
    }

    /// A regular file, 0644.
    pub fn file(path: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Self {
        Self { data: data.as_ref().to_vec(), ..Self::new(EntryType::Regular, path) }
    }

    /// A symbolic link.
    pub fn symlink(path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self { link: target.as_ref().to_vec(), mode: 0o777, ..Self::new(EntryType::Symlink, path) }
    }

    /// A hard link to an earlier path.
    pub fn hardlink(path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self { link: target.as_ref().to_vec(), ..Self::new(EntryType::Link, path) }
    }

    /// A character device.
    pub fn char_device(path: impl AsRef<[u8]>, major: u32, minor: u32) -> Self {
        Self { device: Some((major, minor)), ..Self::new(EntryType::Char, path) }
    }

    /// A named pipe.
    pub fn fifo(path: impl AsRef<[u8]>) -> Self {
        Self::new(EntryType::Fifo, path)
    }

    /// Sets the permission bits.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Sets user and group.
    #[must_use]
    pub fn owner(mut self, uid: u64, gid: u64) -> Self {
        self.owner = (uid, gid);
        self
    }

    /// Sets the modification time; with nanoseconds it is written as a PAX record.
    #[must_use]
    pub fn mtime(mut self, seconds: u64, nanoseconds: u32) -> Self {
        self.mtime = seconds;
        if nanoseconds == 0 { self } else { self.pax("mtime", format!("{seconds}.{nanoseconds:09}")) }
    }

    /// Adds an extended attribute.
    #[must_use]
    pub fn xattr(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.pax(format!("SCHILY.xattr.{name}"), value)
    }

    /// Adds a PAX record.
    #[must_use]
    pub fn pax(mut self, key: impl Into<String>, value: impl AsRef<[u8]>) -> Self {
        self.pax.push((key.into(), value.as_ref().to_vec()));
        self
    }
}

/// The entries of a layer, in the order they are added.
pub struct Tree(tar::Builder<Vec<u8>>);

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tree({} bytes)", self.0.get_ref().len())
    }
}

impl Tree {
    /// The tar that `fill` writes.
    pub fn build(fill: impl FnOnce(&mut Self)) -> Vec<u8> {
        let mut tree = Self(tar::Builder::new(Vec::new()));
        fill(&mut tree);
        tree.0.into_inner().expect("writing to memory cannot fail")
    }

    /// Adds an entry; names longer than a plain header allows go into PAX records.
    pub fn add(&mut self, mut entry: Entry) -> &mut Self {
        let mut header = Header::new_ustar();
        for (field, key) in [(&mut entry.path, "path"), (&mut entry.link, "linkpath")] {
            if field.len() > 100 {
                entry.pax.push((key.to_owned(), field.clone()));
                field.truncate(100);
            }
        }
        if !entry.pax.is_empty() {
            let records = entry.pax.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
            self.0.append_pax_extensions(records).expect("writing to memory cannot fail");
        }
        let old = header.as_old_mut();
        old.name[..entry.path.len()].copy_from_slice(&entry.path);
        old.linkname[..entry.link.len()].copy_from_slice(&entry.link);
        header.set_entry_type(entry.kind);
        header.set_mode(entry.mode);
        header.set_uid(entry.owner.0);
        header.set_gid(entry.owner.1);
        header.set_mtime(entry.mtime);
        header.set_size(entry.data.len() as u64);
        if let Some((major, minor)) = entry.device {
            header.set_device_major(major).expect("a ustar header has device numbers");
            header.set_device_minor(minor).expect("a ustar header has device numbers");
        }
        header.set_cksum();
        self.0.append(&header, entry.data.as_slice()).expect("writing to memory cannot fail");
        self
    }

    /// Adds bytes as they are, for entries that no builder would write.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.get_mut().extend_from_slice(bytes);
        self
    }

    /// A directory, 0755, owned by root.
    pub fn dir(&mut self, path: &str) -> &mut Self {
        self.add(Entry::dir(path))
    }

    /// A regular file, 0644, owned by root.
    pub fn file(&mut self, path: &str, data: impl AsRef<[u8]>) -> &mut Self {
        self.add(Entry::file(path, data))
    }

    /// A program, 0755, owned by root.
    pub fn program(&mut self, path: &str, data: impl AsRef<[u8]>) -> &mut Self {
        self.add(Entry::file(path, data).mode(0o755))
    }

    /// A symbolic link.
    pub fn symlink(&mut self, path: &str, target: &str) -> &mut Self {
        self.add(Entry::symlink(path, target))
    }

    /// A hard link to an earlier path.
    pub fn hardlink(&mut self, path: &str, target: &str) -> &mut Self {
        self.add(Entry::hardlink(path, target))
    }

    /// Removes `path` of the layers below.
    pub fn whiteout(&mut self, path: &str) -> &mut Self {
        let (parent, name) = path.rsplit_once('/').map_or(("", path), |(parent, name)| (parent, name));
        let slash = if parent.is_empty() { "" } else { "/" };
        self.add(Entry::file(format!("{parent}{slash}.wh.{name}"), ""))
    }

    /// Hides what the layers below have in `dir`.
    pub fn opaque(&mut self, dir: &str) -> &mut Self {
        self.add(Entry::file(format!("{dir}/.wh..wh..opq"), ""))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn entries_are_read_back_as_they_were_written() {
        let long = format!("d/{}", "n".repeat(300));
        let tar = Tree::build(|tree| {
            tree.dir("d")
                .file(&long, "long")
                .whiteout("d/gone")
                .whiteout("top")
                .opaque("d")
                .hardlink("h", &long);
            tree.add(Entry::file("x", "y").mode(0o4755).owner(7, 8).mtime(5, 9).xattr("user.a", b"\0b"));
            tree.file("../out", "hostile").file("/abs", "hostile");
        });
        let mut archive = tar::Archive::new(tar.as_slice());
        let mut names = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            names.push(entry.path().unwrap().display().to_string());
            let pax: Vec<(String, Vec<u8>)> = entry
                .pax_extensions()
                .unwrap()
                .map(|all| {
                    all.map(|p| p.unwrap())
                        .map(|p| (p.key().unwrap().into(), p.value_bytes().into()))
                        .collect()
                })
                .unwrap_or_default();
            match names.last().map(String::as_str) {
                Some("x") => {
                    let expected = [("mtime", &b"5.000000009"[..]), ("SCHILY.xattr.user.a", b"\0b")];
                    assert_eq!(pax, expected.map(|(key, value)| (key.to_owned(), value.to_vec())));
                    let header = entry.header();
                    assert_eq!(
                        (header.mode().unwrap(), header.uid().unwrap(), header.gid().unwrap()),
                        (0o4755, 7, 8)
                    );
                    let mut data = String::new();
                    entry.read_to_string(&mut data).unwrap();
                    assert_eq!(data, "y");
                }
                Some("h") => assert_eq!(entry.link_name().unwrap().unwrap().to_str(), Some(long.as_str())),
                _ => {}
            }
        }
        assert_eq!(
            names,
            ["d", &long, "d/.wh.gone", ".wh.top", "d/.wh..wh..opq", "h", "x", "../out", "/abs"]
        );
    }
}
