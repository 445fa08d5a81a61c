//! A copy of a layout that may be added to: its blobs are hard links, which nobody writes to, and the rest is its own.

use std::path::Path;

use crate::images::layout::Layout;

/// Copies `from` to the folder `to`, which is not there yet, on the same file system.
pub fn copy(from: &Layout, to: &Path) -> anyhow::Result<Layout> {
    let copied = Layout::at(to);
    std::fs::create_dir_all(copied.blobs())?;
    for blob in std::fs::read_dir(from.blobs())? {
        let blob = blob?;
        std::fs::hard_link(blob.path(), copied.blobs().join(blob.file_name()))?;
    }
    for file in ["index.json", "oci-layout"] {
        std::fs::copy(from.folder().join(file), to.join(file))?;
    }
    Ok(copied)
}
