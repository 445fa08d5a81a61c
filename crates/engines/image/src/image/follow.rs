//! Files by path, for readers that are not behind the kernel: symbolic links are followed, and never lead out of the image.

use glowplug_layer::Kind;

use super::Image;
use crate::ReadError;
use crate::tree::{NodeId, Tree};

/// The most links followed for one path, as in the kernel.
const MAX_SYMLINKS: usize = 40;

impl Image {
    /// The node at a path, symbolic links followed as if the image were the whole file system; `None` where there is none, or the links
    /// go in a circle.
    pub fn follow(&self, path: &str) -> Option<NodeId> {
        let mut left: Vec<&[u8]> = names(path.as_bytes()).collect();
        let (mut at, mut links) = (Tree::ROOT, 0);
        while let Some(name) = left.pop() {
            if name == b".." {
                let here = self.tree().node(at)?;
                if here.kind != Kind::Directory {
                    return None;
                }
                at = here.parent;
                continue;
            }
            let found = self.tree().lookup(at, name)?;
            let node = self.tree().node(found)?;
            if node.kind != Kind::Symlink {
                at = found;
                continue;
            }
            links += 1;
            if links > MAX_SYMLINKS {
                return None;
            }
            let target = &self.entry(node)?.link;
            if target.starts_with(b"/") {
                at = Tree::ROOT;
            }
            left.extend(names(target));
        }
        Some(at)
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
}

/// The names of a path, the last first.
fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".").rev()
}
