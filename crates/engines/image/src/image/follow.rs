//! Files by path, for readers that are not behind the kernel: symbolic links are followed, and never lead out of the image.

use glowplug_base::name::printable;
use glowplug_layer::Kind;

use super::Image;
use crate::tree::{NodeId, Tree};
use crate::{PathError, ReadError};

/// The most links followed for one path, as in the kernel.
const MAX_SYMLINKS: usize = 40;

/// Where a path ends too early.
#[derive(Debug)]
enum Stuck<'a> {
    /// The directory has no such name.
    Missing { dir: NodeId, name: &'a [u8] },
    /// Something that is no directory has names in the path.
    NotDirectory(NodeId),
    /// Too many links.
    Circle,
}

impl Image {
    /// The node at a path, symbolic links followed as if the image were the whole file system; `None` where there is none, or the links
    /// go in a circle.
    pub fn follow(&self, path: impl AsRef<[u8]>) -> Option<NodeId> {
        self.walk(path.as_ref()).ok()
    }

    /// The node at a path, symbolic links followed.
    ///
    /// # Errors
    /// Where the path ends instead, and names that it may have meant.
    pub fn look_up(&self, path: impl AsRef<[u8]>) -> Result<NodeId, PathError> {
        let path = path.as_ref();
        self.walk(path).map_err(|stuck| self.explain(path, &stuck))
    }

    /// The node at a path, and if that is a symbolic link, the link itself; links on the way are followed, and one with a slash behind it.
    ///
    /// # Errors
    /// As [`Image::look_up`].
    pub fn look_up_link(&self, path: impl AsRef<[u8]>) -> Result<NodeId, PathError> {
        let path = path.as_ref();
        let slash = path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
        let (before, name) = path.split_at(slash);
        if matches!(name, b"" | b"." | b"..") {
            return self.look_up(path);
        }
        let found = self.walk(before).and_then(|dir| self.step(dir, name));
        found.map_err(|stuck| self.explain(path, &stuck))
    }

    /// The file at a path, symbolic links followed.
    ///
    /// # Errors
    /// As [`Image::look_up`]; something that has no bytes.
    pub fn look_up_file(&self, path: impl AsRef<[u8]>) -> Result<NodeId, PathError> {
        let path = path.as_ref();
        let found = self.look_up(path)?;
        let shown = || printable(path);
        match self.tree().node(found).map(|node| node.kind) {
            Some(Kind::File) => Ok(found),
            Some(Kind::Directory) => Err(PathError::Directory { path: shown() }),
            Some(Kind::Fifo) => Err(PathError::Special { path: shown(), what: "a named pipe" }),
            _ => Err(PathError::Special { path: shown(), what: "a device" }),
        }
    }

    /// At most `len` bytes from the start of the file at a path, links followed, waiting for what is missing; `None` where no file is.
    ///
    /// # Errors
    /// As [`Image::read`].
    pub async fn read_path(&self, path: &str, len: u32) -> Result<Option<Vec<u8>>, ReadError> {
        let is_file = |id: &NodeId| self.tree().node(*id).is_some_and(|node| node.kind == Kind::File);
        match self.follow(path).filter(is_file) {
            Some(id) => self.read(id, 0, len).await.map(Some),
            None => Ok(None),
        }
    }

    fn walk<'a>(&'a self, path: &'a [u8]) -> Result<NodeId, Stuck<'a>> {
        let mut left: Vec<&[u8]> = names(path).collect();
        let (mut at, mut links) = (Tree::ROOT, 0);
        while let Some(name) = left.pop() {
            let found = self.step(at, name)?;
            let Some(target) = self.link(found) else {
                at = found;
                continue;
            };
            links += 1;
            if links > MAX_SYMLINKS {
                return Err(Stuck::Circle);
            }
            if target.starts_with(b"/") {
                at = Tree::ROOT;
            }
            left.extend(names(target));
        }
        Ok(at)
    }

    /// One name further.
    fn step<'a>(&self, at: NodeId, name: &'a [u8]) -> Result<NodeId, Stuck<'a>> {
        let here = self.tree().node(at).ok_or(Stuck::NotDirectory(at))?;
        match name {
            _ if here.kind != Kind::Directory => Err(Stuck::NotDirectory(at)),
            b".." => Ok(here.parent),
            _ => self.tree().lookup(at, name).ok_or(Stuck::Missing { dir: at, name }),
        }
    }

    /// The target of a symbolic link.
    pub fn link(&self, id: NodeId) -> Option<&[u8]> {
        let node = self.tree().node(id).filter(|node| node.kind == Kind::Symlink)?;
        self.entry(node).map(|entry| &*entry.link)
    }

    /// What kept somebody from getting to `path`, in words.
    fn explain(&self, path: &[u8], stuck: &Stuck<'_>) -> PathError {
        let shown = printable(path);
        match stuck {
            Stuck::Circle => PathError::Circle { path: shown },
            Stuck::NotDirectory(at) => {
                PathError::NotDirectory { path: shown, file: printable(&self.tree().path_bytes(*at)) }
            }
            Stuck::Missing { dir, name } => {
                let mut missing = self.tree().path_bytes(*dir);
                if *dir != Tree::ROOT {
                    missing.push(b'/');
                }
                missing.extend_from_slice(name);
                let near = self.tree().near(*dir, name).iter().map(|near| printable(near)).collect();
                PathError::Missing { path: shown, missing: printable(&missing), near }
            }
        }
    }
}

/// The names of a path, the last first.
fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".").rev()
}
