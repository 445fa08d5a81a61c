//! The layers' data files as files that are always complete: what is missing comes when it is read.
//!
//! EROFS is mounted on top, and only the kernel reads here: it has the image's tree, keeps its pages, and asks for nothing but bytes. Hence
//! direct I/O, which hands them straight to its pages instead of keeping them twice.

use std::ffi::OsStr;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEntry, ReplyOpen, Request,
};
use glowplug_image::{Image, ReadError};
use tokio::runtime::Handle;

use crate::fuse::{FOR_EVER, MAX_READ_BYTES};

/// The inode of the first layer's file; those of the others follow, and before it there is the root.
const FIRST: u64 = 2;

/// An image's bytes behind FUSE.
pub(crate) struct Bytes {
    image: Arc<Image>,
    runtime: Handle,
}

impl Bytes {
    pub(crate) fn new(image: Arc<Image>, runtime: Handle) -> Self {
        Self { image, runtime }
    }

    /// The name of the file of a layer, counted from the bottom.
    pub(crate) fn name(layer: usize) -> String {
        layer.to_string()
    }

    fn layer(&self, inode: INodeNo) -> Option<(usize, u64)> {
        let layer = usize::try_from(inode.0.checked_sub(FIRST)?).ok()?;
        Some((layer, self.image.layer_bytes(layer)?))
    }

    fn attributes(&self, inode: INodeNo) -> Option<FileAttr> {
        let (kind, size) = if inode == INodeNo::ROOT {
            (FileType::Directory, 0)
        } else {
            (FileType::RegularFile, self.layer(inode)?.1)
        };
        Some(FileAttr {
            ino: inode,
            size,
            blocks: size.div_ceil(512),
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm: 0o500,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }
}

impl Filesystem for Bytes {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        // What an old kernel lacks makes reads slower, not wrong.
        let _ = config.add_capabilities(InitFlags::FUSE_ASYNC_DIO);
        let _ = config.set_max_write(MAX_READ_BYTES);
        let _ = config.set_max_background(256);
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let layer = name.to_str().and_then(|name| name.parse::<u64>().ok());
        let inode = layer.map(|layer| INodeNo(FIRST.saturating_add(layer)));
        match inode.filter(|_| parent == INodeNo::ROOT).and_then(|inode| self.attributes(inode)) {
            Some(attributes) => reply.entry(&FOR_EVER, &attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _request: &Request, inode: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(inode) {
            Some(attributes) => reply.attr(&FOR_EVER, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _request: &Request, _inode: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let Some((layer, _)) = self.layer(inode) else { return reply.error(Errno::ENOENT) };
        if let Some(answer) = self.image.try_read_layer(layer, offset, size) {
            return respond(&self.image, layer, offset, answer, reply);
        }
        // Bytes are missing: wait elsewhere, so that this thread serves reads whose bytes are here.
        let image = self.image.clone();
        self.runtime.spawn(async move {
            let answer = image.read_layer(layer, offset, size).await;
            respond(&image, layer, offset, answer, reply);
        });
    }
}

fn respond(image: &Image, layer: usize, offset: u64, answer: Result<Vec<u8>, ReadError>, reply: ReplyData) {
    match answer {
        Ok(bytes) => reply.data(&bytes),
        Err(error) => {
            tracing::error!(path = %image.path_at(layer, offset), %error, "read failed");
            reply.error(Errno::from_i32(error.errno));
        }
    }
}
