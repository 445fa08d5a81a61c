//! The FUSE door: inode, offset and length in, the image's answer out. No decisions here.
//!
//! Layers never change, so the kernel may keep whatever it was told, for ever: attributes, names, names that are not
//! there, symbolic links, directory listings, pages. `open` and `opendir` answer `ENOSYS`, which tells the kernel not to
//! ask again and to keep its caches across opens.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, Generation, INodeNo, InitFlags, KernelConfig,
    LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEntry, ReplyOpen,
    ReplyXattr, Request,
};
use glowplug_image::{Image, Node, NodeId, Tree};
use glowplug_layer::Kind;
use tokio::runtime::Handle;

/// For ever, as far as the kernel can count.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(u32::MAX as u64);
/// Largest single read, bytes: what the kernel allows without a system-wide setting.
pub(crate) const MAX_READ_BYTES: u32 = 1 << 20;

/// An image behind FUSE.
pub(crate) struct Door {
    image: Arc<Image>,
    runtime: Handle,
    has_xattrs: bool,
}

impl Door {
    pub(crate) fn new(image: Arc<Image>, runtime: Handle) -> Self {
        let has_xattrs = image.tree().has_xattrs();
        Self { image, runtime, has_xattrs }
    }

    fn node(&self, inode: INodeNo) -> Option<(NodeId, &Node)> {
        let id = NodeId::try_from(inode.0.checked_sub(1)?).ok()?;
        Some((id, self.image.tree().node(id)?))
    }
}

/// Inode numbers are node numbers plus one: FUSE's root is 1.
const fn inode(id: NodeId) -> INodeNo {
    INodeNo(id as u64 + 1)
}

fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File | Kind::Hardlink => FileType::RegularFile,
        Kind::Directory => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::Char => FileType::CharDevice,
        Kind::Block => FileType::BlockDevice,
        Kind::Fifo => FileType::NamedPipe,
    }
}

fn time((seconds, nanos): (i64, u32)) -> SystemTime {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let base = if seconds < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
    base.and_then(|base| base.checked_add(Duration::from_nanos(u64::from(nanos)))).unwrap_or(UNIX_EPOCH)
}

/// The kernel's encoding of a device number: twelve bits of major between the low eight and the rest of the minor.
const fn device((major, minor): (u32, u32)) -> u32 {
    (minor & 0xff) | major << 8 | (minor & !0xff) << 12
}

fn attributes(id: NodeId, node: &Node) -> FileAttr {
    let mtime = time(node.mtime);
    FileAttr {
        ino: inode(id),
        size: node.size,
        blocks: node.size.div_ceil(512),
        atime: mtime,
        mtime,
        ctime: mtime,
        crtime: mtime,
        kind: file_type(node.kind),
        perm: node.mode as u16,
        nlink: node.links,
        uid: node.uid,
        gid: node.gid,
        rdev: device(node.device),
        blksize: 4096,
        flags: 0,
    }
}

impl Filesystem for Door {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        let wanted = [
            InitFlags::FUSE_ASYNC_READ,
            InitFlags::FUSE_CACHE_SYMLINKS,
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_NO_OPENDIR_SUPPORT,
            InitFlags::FUSE_NO_OPEN_SUPPORT,
            InitFlags::FUSE_PARALLEL_DIROPS,
        ];
        // What an old kernel lacks makes reads slower, not wrong.
        wanted.into_iter().for_each(|flag| _ = config.add_capabilities(flag));
        let _ = config.set_max_write(MAX_READ_BYTES);
        let _ = config.set_max_readahead(MAX_READ_BYTES);
        let _ = config.set_max_background(256);
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let Some((parent, _)) = self.node(parent) else { return reply.error(Errno::ENOENT) };
        let found = self.image.tree().lookup(parent, name.as_bytes());
        let attributes = match found.and_then(|id| Some((id, self.image.tree().node(id)?))) {
            Some((id, node)) => attributes(id, node),
            // Inode 0 tells the kernel to remember that there is nothing.
            None => FileAttr { ino: INodeNo(0), ..attributes_of_nothing() },
        };
        reply.entry(&FOR_EVER, &attributes, Generation(0));
    }

    fn getattr(&self, _request: &Request, ino: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        match self.node(ino) {
            Some((id, node)) => reply.attr(&FOR_EVER, &attributes(id, node)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn readlink(&self, _request: &Request, ino: INodeNo, reply: ReplyData) {
        match self.node(ino).and_then(|(_, node)| self.image.entry(node)) {
            Some(entry) if entry.kind == Kind::Symlink => reply.data(&entry.link),
            _ => reply.error(Errno::EINVAL),
        }
    }

    fn open(&self, _request: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.error(Errno::ENOSYS);
    }

    fn opendir(&self, _request: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.error(Errno::ENOSYS);
    }

    fn read(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let Some((id, _)) = self.node(ino) else { return reply.error(Errno::ENOENT) };
        if let Some(answer) = self.image.try_read(id, offset, size) {
            return respond(&self.image, id, answer, reply);
        }
        // Bytes are missing: wait elsewhere, so that this thread serves reads whose bytes are here.
        let image = self.image.clone();
        self.runtime.spawn(async move {
            let answer = image.read(id, offset, size).await;
            respond(&image, id, answer, reply);
        });
    }

    fn readdir(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let Some((id, node)) = self.node(ino) else { return reply.error(Errno::ENOENT) };
        for (at, name, child) in listing(id, node, offset) {
            let kind = self.image.tree().node(child).map_or(Kind::File, |node| node.kind);
            if reply.add(inode(child), at + 1, file_type(kind), OsStr::from_bytes(name)) {
                break;
            }
        }
        reply.ok();
    }

    fn readdirplus(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let Some((id, node)) = self.node(ino) else { return reply.error(Errno::ENOENT) };
        for (at, name, child) in listing(id, node, offset) {
            let Some(node) = self.image.tree().node(child) else { continue };
            let attributes = attributes(child, node);
            if reply.add(inode(child), at + 1, OsStr::from_bytes(name), &FOR_EVER, &attributes, Generation(0))
            {
                break;
            }
        }
        reply.ok();
    }

    fn getxattr(&self, _request: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        // An overlay asks for its own attributes at every lookup: when no file has any, say so once and for all.
        if !self.has_xattrs {
            return reply.error(Errno::ENOSYS);
        }
        let xattrs = self.node(ino).map_or(&[][..], |(id, _)| self.image.tree().xattrs(id));
        match xattrs.iter().find(|(key, _)| key == name.as_bytes()) {
            Some((_, value)) => sized(value, size, reply),
            None => reply.error(Errno::ENODATA),
        }
    }

    /// An empty list is a list: here "not supported" would be an error to programs that list.
    fn listxattr(&self, _request: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let xattrs = self.node(ino).map_or(&[][..], |(id, _)| self.image.tree().xattrs(id));
        let list: Vec<u8> = xattrs.iter().flat_map(|(name, _)| name.iter().copied().chain([0])).collect();
        sized(&list, size, reply);
    }
}

fn attributes_of_nothing() -> FileAttr {
    FileAttr {
        ino: INodeNo(0),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: FileType::RegularFile,
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 0,
        flags: 0,
    }
}

/// The entries of a directory from `offset` on, each with its own offset; the first two are the usual dots.
fn listing(id: NodeId, node: &Node, offset: u64) -> impl Iterator<Item = (u64, &[u8], NodeId)> {
    let parent = if id == Tree::ROOT { Tree::ROOT } else { node.parent };
    let dots = [(&b"."[..], id), (&b".."[..], parent)];
    let all = dots.into_iter().chain(node.children.iter().map(|(name, child)| (&**name, *child)));
    all.enumerate().skip(offset as usize).map(|(at, (name, child))| (at as u64, name, child))
}

/// Extended attributes come in two calls: one that asks for the size, one for the bytes.
fn sized(value: &[u8], size: u32, reply: ReplyXattr) {
    match size {
        0 => reply.size(value.len() as u32),
        room if (room as usize) < value.len() => reply.error(Errno::ERANGE),
        _ => reply.data(value),
    }
}

fn respond(image: &Image, id: NodeId, answer: Result<Vec<u8>, glowplug_image::ReadError>, reply: ReplyData) {
    match answer {
        Ok(bytes) => reply.data(&bytes),
        Err(error) => {
            tracing::error!(path = %image.tree().path(id), %error, "read failed");
            reply.error(Errno::from_i32(error.errno));
        }
    }
}
