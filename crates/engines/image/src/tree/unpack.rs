//! One layer, unpacked alone, as containerd's applier leaves it in the layer's directory before overlayfs joins it with
//! the others.
//!
//! - An entry replaces what the layer already has by its name; a directory over a directory changes its attributes only.
//! - Symbolic links of the layer itself in an entry's parent path are followed inside the image; those of lower layers are
//!   not, a directory takes their place. A missing parent is made, with the attributes that the lower layers' directory has.
//! - A hard link brings its own attributes, which become those of all names of the file.
//! - `.wh.NAME` hides NAME of the layers below, `.wh..wh..opq` all that they have in the directory. In the lowest layer
//!   both remove what the layer brought until then. A character device 0, 0 hides as `.wh.` does: it is how overlayfs
//!   keeps it.
//! - What the root's own entry says does not count: a container's root has the attributes of its writable directory.
//!
//! Entries that containerd refuses are taken where their meaning is plain: a whiteout of what the same layer has hides
//! what is below it, a hard link may name a file of a lower layer.

use std::collections::BTreeMap;

use glowplug_layer::{Entry, Kind};
use glowplug_tarwalk::{Whiteout, whiteout};

use super::{Node, NodeId, TreeError, Xattrs};

/// How many symbolic links one parent path may lead through; the kernel allows 40, containerd 255.
const MAX_SYMLINKS: u32 = 255;
/// The newest time that containerd sets: the most nanoseconds that fit 63 bits.
const MAX_TIME: (i64, u32) = (9_223_372_036, 854_775_807);
/// What the kernel keeps of a device's major number, and of its minor.
const MAJOR_MASK: u32 = 0xfff;
const MINOR_MASK: u32 = 0xf_ffff;

/// In a directory with this bit the kernel gives what is made there the directory's group.
const SET_GID: u32 = 0o2000;

/// Number of an inode within its layer; the root is 0.
pub(super) type InodeId = u32;
/// The layer's root.
pub(super) const ROOT: InodeId = 0;

/// What a name in a directory stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    /// An inode of this layer.
    Inode(InodeId),
    /// A file of a lower layer: number of the layer, and the inode there.
    Lower(u32, InodeId),
    /// Nothing, nor what lower layers have.
    Whiteout,
}

/// One inode of a layer.
#[derive(Debug)]
pub(super) struct Inode {
    /// Its attributes; `parent` is an inode of the layer, `links` counts the layer's names, `children` is empty.
    pub node: Node,
    /// Its extended attributes, sorted by name.
    pub xattrs: Xattrs,
    /// The names in a directory.
    pub names: BTreeMap<Box<[u8]>, Name>,
    /// What lower layers have in this directory is hidden.
    pub opaque: bool,
    /// An entry named it; a missing parent that was made is not listed.
    listed: bool,
    /// Target of a symbolic link.
    link: Vec<u8>,
}

/// An unpacked layer.
#[derive(Debug)]
pub(super) struct Unpacked {
    /// The inodes, also those that have lost their names.
    pub inodes: Vec<Inode>,
}

/// Unpacks the layer above `lowers`, which are in order, the bottom first.
pub(super) fn unpack(entries: &[Entry], lowers: &[Unpacked]) -> Result<Unpacked, TreeError> {
    let root = Inode { node: implied(ROOT), ..Inode::empty() };
    let layer = lowers.len() as u32;
    let own = Unpacked { inodes: vec![root] };
    let mut unpacker = Unpacker { lowers, layer, own, last: None, displaced: false };
    for (number, entry) in entries.iter().enumerate() {
        unpacker.entry(entry, number as u32)?;
    }
    if unpacker.displaced {
        unpacker.repeat_times(entries);
    }
    Ok(unpacker.own)
}

/// A directory that no entry describes. containerd gives it the time of unpacking, which we do not have.
pub(super) const fn implied(parent: NodeId) -> Node {
    Node {
        kind: Kind::Directory,
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: (0, 0),
        device: (0, 0),
        size: 0,
        links: 1,
        origin: None,
        parent,
        children: Vec::new(),
    }
}

impl Inode {
    fn empty() -> Self {
        Self {
            node: implied(ROOT),
            xattrs: Vec::new(),
            names: BTreeMap::new(),
            opaque: false,
            listed: false,
            link: Vec::new(),
        }
    }

    fn of(entry: &Entry, origin: (u32, u32), parent: InodeId) -> Self {
        let is_device = matches!(entry.kind, Kind::Char | Kind::Block);
        let (major, minor) = if is_device { entry.device } else { (0, 0) };
        let mut inode = Self {
            node: Node {
                kind: entry.kind,
                device: (major & MAJOR_MASK, minor & MINOR_MASK),
                size: match entry.kind {
                    Kind::File => entry.size,
                    Kind::Symlink => entry.link.len() as u64,
                    _ => 0,
                },
                links: 0,
                origin: Some(origin),
                ..implied(parent)
            },
            listed: true,
            link: if entry.kind == Kind::Symlink { entry.link.clone() } else { Vec::new() },
            ..Self::empty()
        };
        inode.describe(entry);
        inode
    }

    /// Gives it the attributes of an entry, be it its own or that of a hard link to it.
    fn describe(&mut self, entry: &Entry) {
        let node = &mut self.node;
        (node.uid, node.gid, node.mtime) = (entry.uid, entry.gid, bounded((entry.mtime_s, entry.mtime_ns)));
        node.mode = if node.kind == Kind::Symlink { 0o777 } else { entry.mode & 0o7777 };
        if node.kind == Kind::File {
            // The kernel drops it when the owner is set, also to the same one.
            self.xattrs.retain(|(name, _)| name != b"security.capability");
        }
        for (name, value) in entry.xattrs.iter().filter(|(name, _)| can_have(node.kind, name)) {
            match self.xattrs.binary_search_by(|(known, _)| known.cmp(name)) {
                Ok(at) => self.xattrs[at].1.clone_from(value),
                Err(at) => self.xattrs.insert(at, (name.clone(), value.clone())),
            }
        }
    }

    fn is_directory(&self) -> bool {
        self.node.kind == Kind::Directory
    }
}

/// A time as containerd sets it: what it cannot express becomes 1970.
fn bounded(time: (i64, u32)) -> (i64, u32) {
    if time < (0, 0) || time > MAX_TIME { (0, 0) } else { time }
}

/// Whether an unpacked inode would have an extended attribute of that name. `trusted.*` is the administrator's and, within
/// an overlay, the kernel's own bookkeeping: an image must not set it.
fn can_have(kind: Kind, name: &[u8]) -> bool {
    name.starts_with(b"security.")
        || (name.starts_with(b"user.") && matches!(kind, Kind::File | Kind::Directory))
}

/// How far a path leads within a layer.
struct Walk<'a> {
    /// The last directory that is there.
    at: InodeId,
    /// The names that lead there from the root, without symbolic links.
    trail: Vec<&'a [u8]>,
    /// The names behind it that are not there.
    missing: Vec<&'a [u8]>,
    /// The first of those is hidden by the layer itself.
    hidden: bool,
}

/// Why a path leads nowhere.
enum Stop {
    NotDirectory,
    Loop,
}

impl Unpacked {
    /// Follows a path, symbolic links included, to a directory.
    fn walk<'a>(&'a self, path: &'a [u8]) -> Result<Walk<'a>, Stop> {
        let mut left: Vec<&[u8]> = components(path).rev().collect();
        let mut walk = Walk { at: ROOT, trail: Vec::new(), missing: Vec::new(), hidden: false };
        let mut links = 0;
        while let Some(name) = left.pop() {
            let inode = &self.inodes[walk.at as usize];
            match name {
                // Behind what is not there only the words count.
                b".." if walk.missing.pop().is_some() => continue,
                b".." => {
                    walk.at = inode.node.parent;
                    walk.trail.pop();
                    continue;
                }
                name if !walk.missing.is_empty() => {
                    walk.missing.push(name);
                    continue;
                }
                _ => {}
            }
            let child = match inode.names.get(name) {
                Some(Name::Inode(child)) => *child,
                Some(Name::Lower(..)) => return Err(Stop::NotDirectory),
                found => {
                    walk.hidden = found.is_some();
                    walk.missing.push(name);
                    continue;
                }
            };
            let inode = &self.inodes[child as usize];
            match inode.node.kind {
                Kind::Directory => {
                    walk.at = child;
                    walk.trail.push(name);
                }
                Kind::Symlink if links == MAX_SYMLINKS => return Err(Stop::Loop),
                Kind::Symlink => {
                    links += 1;
                    if inode.link.starts_with(b"/") {
                        walk.at = ROOT;
                        walk.trail.clear();
                    }
                    left.extend(components(&inode.link).rev());
                }
                _ => return Err(Stop::NotDirectory),
            }
        }
        Ok(walk)
    }

    /// What is at a path whose last name is not followed; nothing also where the way there is barred.
    fn name_at(&self, path: &[u8]) -> Option<Name> {
        let (parent, name) = split(path);
        let walk = self.walk(parent).ok().filter(|walk| walk.missing.is_empty())?;
        self.inodes[walk.at as usize].names.get(name).copied()
    }
}

struct Unpacker<'a> {
    lowers: &'a [Unpacked],
    layer: u32,
    own: Unpacked,
    /// The parent path of the last entry and the directory that it leads to: the next entry is mostly beside it.
    last: Option<(Vec<u8>, InodeId)>,
    /// A directory has given its name to something else.
    displaced: bool,
}

impl Unpacker<'_> {
    fn entry(&mut self, entry: &Entry, number: u32) -> Result<(), TreeError> {
        match whiteout(&entry.path) {
            Whiteout::None => {}
            Whiteout::Metadata => return Ok(()),
            Whiteout::Invalid => {
                return Err(TreeError::Whiteout { layer: self.layer, path: text(&entry.path) });
            }
            Whiteout::Opaque { dir } => {
                let dir = self.directory(&dir, entry)?;
                self.hide_all(dir);
                return Ok(());
            }
            Whiteout::Remove { path } => {
                let (parent, name) = split(&path);
                let parent = self.directory(parent, entry)?;
                self.hide(parent, name);
                return Ok(());
            }
        }
        if entry.path.is_empty() {
            return Ok(());
        }
        let (parent, name) = split(&entry.path);
        let parent = self.directory(parent, entry)?;
        let origin = (self.layer, number);
        let old = self.inode(parent).names.get(name).copied();
        let new = match entry.kind {
            Kind::Hardlink => self.target(entry)?,
            Kind::Char if entry.device == (0, 0) => Name::Whiteout,
            Kind::Directory if let Some(directory) = self.as_directory(old) => {
                let inode = self.inode_mut(directory);
                inode.describe(entry);
                (inode.listed, inode.node.origin) = (true, Some(origin));
                return Ok(());
            }
            _ => Name::Inode(self.push(Inode::of(entry, origin, parent))?),
        };
        if old != Some(new) {
            self.displace(parent, name);
            self.put(parent, name, new);
        }
        Ok(())
    }

    fn inode(&self, id: InodeId) -> &Inode {
        &self.own.inodes[id as usize]
    }

    fn inode_mut(&mut self, id: InodeId) -> &mut Inode {
        &mut self.own.inodes[id as usize]
    }

    fn as_directory(&self, name: Option<Name>) -> Option<InodeId> {
        match name {
            Some(Name::Inode(id)) if self.inode(id).is_directory() => Some(id),
            _ => None,
        }
    }

    fn push(&mut self, inode: Inode) -> Result<InodeId, TreeError> {
        let id = InodeId::try_from(self.own.inodes.len()).ok().filter(|id| *id < InodeId::MAX);
        let id = id.ok_or(TreeError::TooMany { layer: self.layer })?;
        self.own.inodes.push(inode);
        Ok(id)
    }

    fn put(&mut self, parent: InodeId, name: &[u8], new: Name) {
        if let Name::Inode(id) = new {
            self.inode_mut(id).node.links += 1;
        }
        self.inode_mut(parent).names.insert(name.into(), new);
    }

    /// The directory at `path`; what of it is missing is made.
    fn directory(&mut self, path: &[u8], entry: &Entry) -> Result<InodeId, TreeError> {
        if let Some((known, id)) = &self.last
            && known == path
        {
            return Ok(*id);
        }
        let (layer, named) = (self.layer, || text(&entry.path));
        let Walk { mut at, trail, missing, mut hidden } = self.own.walk(path).map_err(|stop| match stop {
            Stop::NotDirectory => TreeError::NotDirectory { layer, path: named() },
            Stop::Loop => TreeError::Loop { layer, path: named() },
        })?;
        let missing: Vec<Vec<u8>> = missing.into_iter().map(<[u8]>::to_vec).collect();
        let mut is_below = true;
        let mut trail = if missing.is_empty() { Vec::new() } else { trail.join(&b'/') };
        for name in missing {
            trail.push(b'/');
            trail.extend_from_slice(&name);
            let mut inode = Inode { opaque: hidden, ..Inode::empty() };
            let above = &self.inode(at).node;
            if above.mode & SET_GID != 0 {
                inode.node.gid = above.gid;
            }
            if !hidden && is_below {
                match self.lower_directory(&trail) {
                    Some(lower) => (inode.node, inode.xattrs) = (lower.node.clone(), lower.xattrs.clone()),
                    // Then nothing that is deeper is there either.
                    None => is_below = false,
                }
            }
            (inode.node.parent, inode.node.links) = (at, 0);
            let id = self.push(inode)?;
            self.put(at, &name, Name::Inode(id));
            (at, hidden) = (id, false);
        }
        self.last = Some((path.to_vec(), at));
        Ok(at)
    }

    /// The directory of the uppermost lower layer that has anything at `path`, links followed within that layer, if it
    /// is a directory.
    fn lower_directory(&self, path: &[u8]) -> Option<&Inode> {
        for lower in self.lowers.iter().rev() {
            let walk = lower.walk(path).ok()?;
            if walk.hidden {
                return None;
            }
            if walk.missing.is_empty() {
                return Some(&lower.inodes[walk.at as usize]);
            }
        }
        None
    }

    /// What a hard link is a name of. A file of this layer takes on the link's attributes.
    fn target(&mut self, entry: &Entry) -> Result<Name, TreeError> {
        let missing =
            || TreeError::Target { layer: self.layer, path: text(&entry.path), target: text(&entry.link) };
        match self.own.name_at(&entry.link) {
            Some(Name::Inode(id)) if self.inode(id).is_directory() => Err(missing()),
            Some(Name::Inode(id)) => {
                self.inode_mut(id).describe(entry);
                Ok(Name::Inode(id))
            }
            Some(other) => Ok(other),
            None => self.lower_file(&entry.link).ok_or_else(missing),
        }
    }

    /// The file of the uppermost lower layer that has anything at `path`.
    fn lower_file(&self, path: &[u8]) -> Option<Name> {
        let numbered = self.lowers.iter().enumerate().rev();
        let (layer, lower, found) =
            numbered.filter_map(|(layer, lower)| Some((layer, lower, lower.name_at(path)?))).next()?;
        match found {
            Name::Inode(id) if lower.inodes[id as usize].is_directory() => None,
            Name::Inode(id) => Some(Name::Lower(layer as u32, id)),
            Name::Lower(..) => Some(found),
            Name::Whiteout => None,
        }
    }

    /// A whiteout of one name.
    fn hide(&mut self, parent: InodeId, name: &[u8]) {
        if self.layer == 0 {
            return self.displace(parent, name);
        }
        match self.inode(parent).names.get(name).copied() {
            None => self.put(parent, name, Name::Whiteout),
            found => {
                if let Some(directory) = self.as_directory(found) {
                    self.inode_mut(directory).opaque = true;
                }
            }
        }
    }

    /// A whiteout of all that lower layers have in a directory; in the lowest layer, of all in it that no entry named.
    fn hide_all(&mut self, directory: InodeId) {
        if self.layer > 0 {
            self.inode_mut(directory).opaque = true;
            return;
        }
        let mut todo = vec![directory];
        while let Some(at) = todo.pop() {
            let directories = self.inode(at).names.iter();
            let directories: Vec<(Box<[u8]>, InodeId)> = directories
                .filter_map(|(name, found)| Some((name.clone(), self.as_directory(Some(*found))?)))
                .collect();
            for (name, id) in directories {
                if self.inode(id).listed { todo.push(id) } else { self.displace(at, &name) }
            }
        }
    }

    /// Removes a name of this layer and all that is below it.
    fn displace(&mut self, parent: InodeId, name: &[u8]) {
        let Some(old) = self.inode_mut(parent).names.remove(name) else { return };
        let mut todo = vec![old];
        while let Some(name) = todo.pop() {
            let Name::Inode(id) = name else { continue };
            let inode = self.inode_mut(id);
            inode.node.links = inode.node.links.saturating_sub(1);
            if inode.is_directory() {
                todo.extend(inode.names.values());
                (self.displaced, self.last) = (true, None);
            } else if inode.node.kind == Kind::Symlink {
                self.last = None;
            }
        }
    }

    /// Directories get their times at the end, by their paths: what has displaced one gets its time.
    fn repeat_times(&mut self, entries: &[Entry]) {
        for entry in entries.iter().filter(|entry| entry.kind == Kind::Directory) {
            let mut path = entry.path.clone();
            let mut found = self.own.name_at(&path);
            // The last name is followed too.
            for _ in 0..MAX_SYMLINKS {
                let Some(Name::Inode(id)) = found else { break };
                let inode = self.inode(id);
                if inode.node.kind != Kind::Symlink {
                    self.inode_mut(id).node.mtime = bounded((entry.mtime_s, entry.mtime_ns));
                    break;
                }
                let (parent, _) = split(&path);
                let start = if inode.link.starts_with(b"/") { &[][..] } else { parent };
                path = [start, b"/", &inode.link[..]].concat();
                found = self.own.name_at(&path);
            }
        }
    }
}

fn text(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// The path of the parent, and the last name.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    path.iter().rposition(|byte| *byte == b'/').map_or((&[], path), |at| (&path[..at], &path[at + 1..]))
}

fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".")
}
