//! The contents of one layer, held by path: filled from Debian packages, from a folder or by hand; written as a tar
//! stream or to disk.
//!
//! Paths have no leading slash. The order is that of the paths' bytes, hard links last, so that the same tree gives the
//! same tar. Debian's merged `/usr` is applied on the way in: what a package puts into `/bin` lands in `/usr/bin`.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use tar::{EntryType, Header};

/// The time that everything gets which has none of its own, in seconds since the Unix epoch (2024-01-01).
pub const EPOCH_SECONDS: u64 = 1_704_067_200;

/// Folders of the root that are links into `/usr`.
const MERGED: [&str; 4] = ["bin", "lib", "lib64", "sbin"];

/// Where the bytes of a file are.
#[derive(Debug, Clone)]
pub enum Content {
    /// Here.
    Bytes(Vec<u8>),
    /// In a file of this machine.
    File(PathBuf),
}

/// What an entry is.
#[derive(Debug, Clone)]
pub enum Kind {
    /// A folder.
    Folder,
    /// A regular file.
    File(Content),
    /// A symbolic link.
    Symlink(String),
    /// Another name of the file at this path.
    HardLink(String),
}

/// One entry.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Modification time, seconds since the Unix epoch.
    pub mtime: u64,
    /// Extended attributes.
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

impl Entry {
    fn new(kind: Kind, mode: u32) -> Self {
        Self { kind, mode, uid: 0, gid: 0, mtime: EPOCH_SECONDS, xattrs: BTreeMap::new() }
    }
}

/// The contents of a layer.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    entries: BTreeMap<String, Entry>,
}

impl Tree {
    /// An empty layer.
    pub fn new() -> Self {
        Self::default()
    }

    /// All files of the packages in these `.deb` files, with the links of the merged `/usr`.
    pub fn from_debs<'a>(debs: impl IntoIterator<Item = &'a Path>) -> anyhow::Result<Self> {
        let mut tree = Self::new();
        for top in MERGED {
            tree.folder(&format!("usr/{top}"), 0o755);
            tree.symlink(top, &format!("usr/{top}"));
        }
        for deb in debs {
            tree.add_deb(deb).with_context(|| format!("cannot unpack {}", deb.display()))?;
        }
        Ok(tree)
    }

    fn add_deb(&mut self, deb: &Path) -> anyhow::Result<()> {
        let mut child = Command::new("dpkg-deb")
            .arg("--fsys-tarfile")
            .arg(deb)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut stdout = child.stdout.take().context("dpkg-deb has no output")?;
        let added = self.add_tar(&mut stdout);
        // What follows the end marker is padding, which must be taken too or dpkg-deb dies of a broken pipe.
        let drained = std::io::copy(&mut stdout, &mut std::io::sink());
        let status = child.wait()?;
        added?;
        drained?;
        if !status.success() {
            bail!("dpkg-deb failed: {status}");
        }
        Ok(())
    }

    fn add_tar(&mut self, stream: impl Read) -> anyhow::Result<()> {
        for entry in tar::Archive::new(stream).entries()? {
            let mut entry = entry?;
            let path = merged(&String::from_utf8(entry.path_bytes().into_owned())?);
            let header = entry.header();
            let kind = match header.entry_type() {
                EntryType::Directory => Kind::Folder,
                EntryType::Symlink => Kind::Symlink(link_name(&entry)?),
                EntryType::Link => Kind::HardLink(merged(&link_name(&entry)?)),
                EntryType::Regular => Kind::File(Content::Bytes(Vec::new())),
                other => bail!("{path}: an entry of type {other:?} is not expected in a package"),
            };
            let (mode, uid, gid) = (header.mode()? & 0o7777, header.uid()?, header.gid()?);
            let mtime = header.mtime()?;
            if path.is_empty() || (matches!(kind, Kind::Folder) && self.entries.contains_key(&path)) {
                continue;
            }
            let kind = match kind {
                Kind::File(_) => {
                    let mut bytes = Vec::new();
                    entry.read_to_end(&mut bytes)?;
                    Kind::File(Content::Bytes(bytes))
                }
                other => other,
            };
            self.entries.insert(path, Entry { kind, mode, uid, gid, mtime, xattrs: BTreeMap::new() });
        }
        Ok(())
    }

    /// Adds what lies below `folder` of this machine at `at`, owned by root, with the fixed time and the usual modes; a
    /// file for which `wanted` says no is left out.
    pub fn add_folder(
        &mut self,
        folder: &Path,
        at: &str,
        wanted: &dyn Fn(&str) -> bool,
    ) -> anyhow::Result<()> {
        let mut children = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
        children.sort_by_key(std::fs::DirEntry::file_name);
        for child in children {
            let name = child.file_name();
            let name = name.to_str().with_context(|| format!("{name:?} is not UTF-8"))?;
            let path = if at.is_empty() { name.to_owned() } else { format!("{at}/{name}") };
            let metadata = child.metadata()?;
            if metadata.is_dir() {
                self.entries.entry(path.clone()).or_insert_with(|| Entry::new(Kind::Folder, 0o755));
                self.add_folder(&child.path(), &path, wanted)?;
            } else if !wanted(&path) {
                continue;
            } else if metadata.is_symlink() {
                let target = std::fs::read_link(child.path())?;
                let target = target.to_str().with_context(|| format!("{target:?} is not UTF-8"))?;
                self.symlink(&path, target);
            } else {
                let mode = if metadata.mode() & 0o111 == 0 { 0o644 } else { 0o755 };
                self.entries.insert(path, Entry::new(Kind::File(Content::File(child.path())), mode));
            }
        }
        Ok(())
    }

    /// Adds a folder; its parents are not implied.
    pub fn folder(&mut self, path: &str, mode: u32) {
        self.entries.insert(path.to_owned(), Entry::new(Kind::Folder, mode));
    }

    /// Adds a regular file.
    pub fn file(&mut self, path: &str, mode: u32, bytes: impl Into<Vec<u8>>) {
        self.entries.insert(path.to_owned(), Entry::new(Kind::File(Content::Bytes(bytes.into())), mode));
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, path: &str, target: &str) {
        self.entries.insert(path.to_owned(), Entry::new(Kind::Symlink(target.to_owned()), 0o777));
    }

    /// Adds another name of the file at `target`, which is here already: who unpacks applies a link's mode to the file.
    pub fn hard_link(&mut self, path: &str, target: &str) {
        let mut entry = self.entries.get(target).cloned().unwrap_or_else(|| Entry::new(Kind::Folder, 0o644));
        entry.kind = Kind::HardLink(target.to_owned());
        entry.xattrs.clear();
        self.entries.insert(path.to_owned(), entry);
    }

    /// Gives an entry an extended attribute.
    pub fn xattr(&mut self, path: &str, name: &str, value: &[u8]) {
        if let Some(entry) = self.entries.get_mut(path) {
            entry.xattrs.insert(name.to_owned(), value.to_vec());
        }
    }

    /// Changes the owner of an entry.
    pub fn own(&mut self, path: &str, uid: u64, gid: u64) {
        if let Some(entry) = self.entries.get_mut(path) {
            (entry.uid, entry.gid) = (uid, gid);
        }
    }

    /// Whether there is an entry at `path`.
    pub fn contains(&self, path: &str) -> bool {
        self.entries.contains_key(path)
    }

    /// The bytes of the file at `path`, if they are held here.
    pub fn bytes(&self, path: &str) -> Option<&[u8]> {
        match &self.entries.get(path)?.kind {
            Kind::File(Content::Bytes(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// All paths.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The paths below `folder`.
    pub fn below<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = &'a str> {
        self.entries
            .range(folder.to_owned()..)
            .map(|(path, _)| path.as_str())
            .take_while(move |path| path.starts_with(folder))
            .filter(move |path| path.as_bytes().get(folder.len()) == Some(&b'/'))
    }

    /// Keeps only the entries for which `keep` says yes.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.entries.retain(|path, _| keep(path));
    }

    /// Writes the layer as a tar stream and gives the writer back.
    pub fn write_tar<W: Write>(&self, writer: W) -> anyhow::Result<W> {
        let mut builder = tar::Builder::new(writer);
        let is_link = |entry: &Entry| matches!(entry.kind, Kind::HardLink(_));
        let first = self.entries.iter().filter(|(_, entry)| !is_link(entry));
        let last = self.entries.iter().filter(|(_, entry)| is_link(entry));
        for (path, entry) in first.chain(last) {
            append(&mut builder, path, entry).with_context(|| format!("cannot write {path}"))?;
        }
        Ok(builder.into_inner()?)
    }

    /// Writes the layer into `root` on this machine; owners and times are not kept.
    pub fn write_to(&self, root: &Path) -> anyhow::Result<()> {
        let mut links = Vec::new();
        for (path, entry) in &self.entries {
            let place = root.join(path);
            match &entry.kind {
                Kind::Folder => {
                    std::fs::create_dir_all(&place)?;
                }
                Kind::File(content) => {
                    match content {
                        Content::Bytes(bytes) => std::fs::write(&place, bytes)?,
                        Content::File(from) => drop(std::fs::copy(from, &place)?),
                    }
                    std::fs::set_permissions(&place, PermissionsExt::from_mode(entry.mode))?;
                }
                Kind::Symlink(target) => std::os::unix::fs::symlink(target, &place)?,
                Kind::HardLink(target) => links.push((root.join(target), place)),
            }
        }
        for (target, place) in links {
            std::fs::hard_link(target, place)?;
        }
        Ok(())
    }
}

fn append<W: Write>(builder: &mut tar::Builder<W>, path: &str, entry: &Entry) -> anyhow::Result<()> {
    if !entry.xattrs.is_empty() {
        let named: Vec<(String, &[u8])> = entry
            .xattrs
            .iter()
            .map(|(name, value)| (format!("SCHILY.xattr.{name}"), value.as_slice()))
            .collect();
        builder.append_pax_extensions(named.iter().map(|(name, value)| (name.as_str(), *value)))?;
    }
    let mut header = Header::new_ustar();
    header.set_mode(entry.mode);
    header.set_uid(entry.uid);
    header.set_gid(entry.gid);
    header.set_mtime(entry.mtime);
    header.set_size(0);
    match &entry.kind {
        Kind::Folder => {
            header.set_entry_type(EntryType::Directory);
            builder.append_data(&mut header, format!("{path}/"), std::io::empty())?;
        }
        Kind::File(content) => {
            header.set_entry_type(EntryType::Regular);
            match content {
                Content::Bytes(bytes) => {
                    header.set_size(bytes.len() as u64);
                    builder.append_data(&mut header, path, bytes.as_slice())?;
                }
                Content::File(from) => {
                    let file = std::fs::File::open(from)?;
                    header.set_size(file.metadata()?.len());
                    builder.append_data(&mut header, path, file)?;
                }
            }
        }
        Kind::Symlink(target) => {
            header.set_entry_type(EntryType::Symlink);
            builder.append_link(&mut header, path, target)?;
        }
        Kind::HardLink(target) => {
            header.set_entry_type(EntryType::Link);
            builder.append_link(&mut header, path, target)?;
        }
    }
    Ok(())
}

fn link_name<R: Read>(entry: &tar::Entry<'_, R>) -> anyhow::Result<String> {
    let bytes = entry.link_name_bytes().context("a link without a target")?;
    Ok(String::from_utf8(bytes.into_owned())?)
}

/// A path of a package as it is with a merged `/usr`.
fn merged(path: &str) -> String {
    let path = path.trim_start_matches("./").trim_matches('/');
    let path = if path == "." { "" } else { path };
    let top = path.split('/').next().unwrap_or_default();
    if MERGED.contains(&top) { format!("usr/{path}") } else { path.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_land_in_the_merged_usr() {
        assert_eq!(merged("./bin/ls"), "usr/bin/ls");
        assert_eq!(merged("./lib/"), "usr/lib");
        assert_eq!(merged("./usr/lib/x"), "usr/lib/x");
        assert_eq!(merged("./library"), "library");
        assert_eq!(merged("./"), "");
    }

    #[test]
    fn the_same_tree_gives_the_same_tar_with_links_after_their_targets() {
        let mut tree = Tree::new();
        tree.folder("z", 0o755);
        tree.file("z/file", 0o750, "bytes");
        tree.hard_link("a-link", "z/file");
        tree.xattr("z/file", "user.colour", b"red");
        tree.symlink(&format!("z/{}", "long".repeat(60)), "file");
        let tar = tree.write_tar(Vec::new()).unwrap();
        assert_eq!(tar, tree.clone().write_tar(Vec::new()).unwrap());

        let mut archive = tar::Archive::new(tar.as_slice());
        let entries: Vec<(String, EntryType, u32, bool)> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let attributes = entry
                    .pax_extensions()
                    .unwrap()
                    .is_some_and(|mut pax| pax.any(|p| p.unwrap().key() == Ok("SCHILY.xattr.user.colour")));
                let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
                (path, entry.header().entry_type(), entry.header().mode().unwrap(), attributes)
            })
            .collect();
        assert_eq!(entries[0], ("z/".to_owned(), EntryType::Directory, 0o755, false));
        assert_eq!(entries[1], ("z/file".to_owned(), EntryType::Regular, 0o750, true));
        assert_eq!(entries[2].0.len(), 2 + 240);
        assert_eq!(entries[3], ("a-link".to_owned(), EntryType::Link, 0o750, false));
    }
}
