//! Layers with an entry of every kind, a store for them, and reads that are held against what went in.

use std::collections::BTreeMap;
use std::sync::Arc;

use glowplug_image::Image;
use glowplug_store::{Options, Store};
use glowplug_testkit::{Entry, Tree};

/// Adds an entry of every kind that is not a plain file, and some that are odd.
pub fn add(tree: &mut Tree) {
    tree.add(Entry::dir("d").mode(0o1777).owner(5, 6).mtime(1_600_000_000, 123_456_789));
    tree.add(Entry::file("d/cap", "program").mode(0o4755).xattr("security.capability", [1, 0, 0, 2, 255]));
    tree.add(Entry::file("./d//plain/", "").owner(1000, 100).xattr("user.note", "café"));
    tree.hardlink("d/again", "./d/cap").add(Entry::char_device("d/null", 1, 3)).add(Entry::fifo("d/fifo"));
    tree.whiteout("d/gone").opaque("d");
    tree.file("end", "the end");
}

/// A store that is gone with its directory.
pub fn store() -> (tempfile::TempDir, Arc<Store>) {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(dir.path(), Options::default()).unwrap());
    (dir, store)
}

/// Reads a piece of one of the `files` of an image; what comes must be right. Gives whether it came.
pub async fn check(
    image: &Image,
    files: &BTreeMap<String, Vec<u8>>,
    name: &str,
    offset: usize,
    len: usize,
) -> bool {
    let content = &files[name];
    let Some(id) = image.tree().find(name) else { return false };
    let read = match image.try_read(id, offset as u64, len as u32) {
        Some(read) => read,
        None => image.read(id, offset as u64, len as u32).await,
    };
    let Ok(read) = read else { return false };
    let from = offset.min(content.len());
    assert!(read == content[from..(offset + len).min(content.len())], "{name} at {offset}, {len} bytes");
    true
}
