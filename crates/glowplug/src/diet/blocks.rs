//! The files of an image as directories in directories, each with what belongs to which finding.

use std::collections::BTreeMap;

use super::Report;

/// Directories deeper than this are not told apart.
const MAX_DEPTH: usize = 40;

/// A directory or a file.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// Its name; of a directory that holds nothing but another one the names of both.
    pub(super) name: String,
    /// Its path from the root.
    pub(super) path: String,
    /// What a pull moves for it, in bytes.
    pub(super) bytes: u64,
    /// How much of that belongs to which finding: 0 for none, else one more than the finding's number.
    pub(super) owned: BTreeMap<usize, u64>,
    /// How many files it holds.
    pub(super) files: usize,
    /// What is in a directory, what is largest first.
    pub(super) children: Vec<Block>,
}

impl Block {
    /// Several blocks as one that is not looked into.
    pub(super) fn merged(name: String, path: String, blocks: &[Self]) -> Self {
        let mut merged = Self { name, path, ..Self::default() };
        blocks.iter().for_each(|block| merged.add(block));
        merged
    }

    fn add(&mut self, other: &Self) {
        self.bytes += other.bytes;
        self.files += other.files;
        other.owned.iter().for_each(|(owner, bytes)| *self.owned.entry(*owner).or_default() += bytes);
    }
}

/// A directory while it is filled.
#[derive(Default)]
struct Directory<'a> {
    directories: BTreeMap<&'a str, Directory<'a>>,
    files: Vec<Block>,
}

/// The root of an image.
pub(super) fn blocks(report: &Report<'_>) -> Block {
    let mut root = Directory::default();
    for (file, owner) in report.inventory.files.iter().zip(&report.diet.owners) {
        if file.blob_bytes == 0 {
            continue;
        }
        let mut owned = BTreeMap::new();
        let spoken_for = owner.as_ref().map_or(0, |(finding, item)| {
            owned.insert(finding + 1, item.blob_bytes);
            item.blob_bytes
        });
        if spoken_for < file.blob_bytes {
            owned.insert(0, file.blob_bytes - spoken_for);
        }
        let mut directory = &mut root;
        for name in file.directory().split('/').filter(|name| !name.is_empty()).take(MAX_DEPTH) {
            directory = directory.directories.entry(name).or_default();
        }
        directory.files.push(Block {
            name: file.name().to_owned(),
            path: file.path.clone(),
            bytes: file.blob_bytes,
            owned,
            files: 1,
            children: Vec::new(),
        });
    }
    root.block(String::new(), String::new())
}

impl Directory<'_> {
    fn block(mut self, name: String, path: String) -> Block {
        if self.files.is_empty()
            && self.directories.len() == 1
            && let Some((inner, directory)) = self.directories.pop_first()
        {
            let joined = if name.is_empty() { format!("/{inner}") } else { format!("{name}/{inner}") };
            return directory.block(joined, format!("{path}/{inner}"));
        }
        let inner = self.directories.into_iter().map(|(name, directory)| {
            let path = format!("{path}/{name}");
            directory.block(name.to_owned(), path)
        });
        let mut children: Vec<Block> = inner.chain(self.files).collect();
        children.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.path.cmp(&b.path)));
        let mut block = Block::merged(name, path, &children);
        block.children = children;
        block
    }
}
