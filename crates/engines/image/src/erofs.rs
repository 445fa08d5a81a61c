//! The tree as a metadata-only EROFS image whose devices are the layers' data files.

use glowplug_erofs::{Content, DataExtent, Device, DeviceNumber, Inode, WriteError};
use glowplug_layer::{BLOCK_BYTES, Entry, Kind};

use crate::Image;
use crate::tree::{Node, NodeId};

/// The file-type bits of `st_mode`.
const fn type_bits(kind: Kind) -> u32 {
    match kind {
        Kind::File | Kind::Hardlink => 0o100_000,
        Kind::Directory => 0o040_000,
        Kind::Symlink => 0o120_000,
        Kind::Char => 0o020_000,
        Kind::Block => 0o060_000,
        Kind::Fifo => 0o010_000,
    }
}

impl Image {
    /// The image's metadata as EROFS; device number `n` is the data file of layer `n`.
    ///
    /// # Errors
    /// The tree does not fit the format: a sparse file with unaligned extents, or a name that is too long.
    pub fn erofs(&self) -> Result<Vec<u8>, WriteError> {
        let devices: Vec<_> =
            self.layers().map(|layer| Device { bytes: layer.index().data_size, tag: Vec::new() }).collect();
        let inodes: Vec<_> =
            (0_u32..).zip(self.tree().nodes()).map(|(id, node)| self.inode(id, node)).collect();
        let mut bytes = Vec::new();
        glowplug_erofs::write(&inodes, &devices, &mut bytes)?;
        Ok(bytes)
    }

    fn inode(&self, id: NodeId, node: &Node) -> Inode {
        let entry = self.entry(node);
        let layer = node.origin.map_or(0, |(layer, _)| layer as u16);
        let content = match node.kind {
            Kind::Directory => Content::Directory(
                node.children.iter().map(|(name, id)| (name.to_vec(), *id as usize)).collect(),
            ),
            Kind::Symlink => Content::Symlink(entry.map(|entry| entry.link.clone()).unwrap_or_default()),
            Kind::File => Content::Data(entry.map(|entry| whole_blocks(entry, layer)).unwrap_or_default()),
            _ => Content::None,
        };
        Inode {
            mode: type_bits(node.kind) | node.mode,
            uid: node.uid,
            gid: node.gid,
            mtime_s: node.mtime.0,
            mtime_ns: node.mtime.1,
            nlink: node.links,
            rdev: DeviceNumber { major: node.device.0, minor: node.device.1 },
            size: node.size,
            xattrs: self.tree().xattrs(id).to_vec(),
            content,
        }
    }
}

/// A file's extents, widened to whole blocks: what lies around them in a block of the data file is zero, as it is in the file.
fn whole_blocks(entry: &Entry, device: u16) -> Vec<DataExtent> {
    let mut placed: Vec<DataExtent> = Vec::with_capacity(entry.extents.len());
    for extent in &entry.extents {
        let lead = extent.file % BLOCK_BYTES;
        let end = (extent.file + extent.len).next_multiple_of(BLOCK_BYTES).min(entry.size);
        let (mut file_offset, mut device_offset) = (extent.file - lead, extent.data.saturating_sub(lead));
        if let Some(before) = placed.last()
            && let covered = (before.file_offset + before.len).saturating_sub(file_offset)
            && before.file_offset + before.len > file_offset
        {
            // Both sides of a short hole lie in one block.
            (file_offset, device_offset) = (file_offset + covered, device_offset + covered);
        }
        if file_offset < end {
            placed.push(DataExtent { file_offset, device, device_offset, len: end - file_offset });
        }
    }
    placed
}
