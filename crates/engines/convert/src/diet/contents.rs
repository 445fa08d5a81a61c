//! What is inside files, as far as their bytes are in the store: nothing is fetched for it.
//!
//! Read are the first bytes of large files, the section headers of programs and libraries, and whole files of which there
//! are several of one length.

use std::collections::{BTreeMap, HashMap};

use glowplug_base::{Digest, Hasher};
use glowplug_image::{Image, NodeId, ReadError};

use super::place::is_shared_library;
use super::{Fate, File, Inventory, elf, magic};

/// Files from this length are looked at for weights, whatever they are called: 10 MiB.
const WEIGHTS_FROM_BYTES: u64 = 10 << 20;
/// Programs and libraries from this length are looked at for debug sections: less is not worth a finding.
const DEBUG_FROM_BYTES: u64 = 64 << 10;
/// Files from this length are compared with others of the same length.
pub const COMPARED_FROM_BYTES: u64 = 64 << 10;
/// Bytes read at a time.
const PIECE_BYTES: u32 = 4 << 20;

/// What reading files told; files by their numbers in the inventory. The default is that nothing was looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Weights, and their format.
    pub weights: BTreeMap<usize, &'static str>,
    /// How many bytes of programs and libraries only a debugger reads.
    pub debug_bytes: BTreeMap<usize, u64>,
    /// Digests of files of equal length.
    pub digests: BTreeMap<usize, Digest>,
    /// How many files were not looked at because bytes of them are not in the store.
    pub absent: usize,
}

/// Why a read gives nothing.
enum Miss {
    /// The bytes are not here.
    Absent,
    /// What the disk says.
    Failed(ReadError),
}

impl Contents {
    /// Looks into the files of `inventory`, which is that of `image`.
    ///
    /// # Errors
    /// What the disk says.
    pub fn look(image: &Image, inventory: &Inventory) -> Result<Self, ReadError> {
        Self::look_by(inventory, |node, offset, len| image.try_read(node, offset, len))
    }

    /// As [`Self::look`], with `read(node, offset, len)` giving bytes, or `None` for what is not here.
    fn look_by(
        inventory: &Inventory,
        mut read: impl FnMut(NodeId, u64, u32) -> Option<Result<Vec<u8>, ReadError>>,
    ) -> Result<Self, ReadError> {
        let mut of_length: HashMap<u64, u32> = HashMap::new();
        for (_, file) in inventory.shown().filter(|(_, file)| file.size >= COMPARED_FROM_BYTES) {
            *of_length.entry(file.size).or_default() += 1;
        }
        let mut contents = Self::default();
        for (number, file) in inventory.shown() {
            let Fate::Shown(node) = file.fate else { continue };
            let mut read = |offset: u64, len: u32| match read(node, offset, len) {
                None => Err(Miss::Absent),
                Some(outcome) => outcome.map_err(Miss::Failed),
            };
            let compared = of_length.get(&file.size).is_some_and(|count| *count > 1);
            match contents.look_into(number, file, compared, &mut read) {
                Ok(()) => {}
                Err(Miss::Absent) => contents.absent += 1,
                Err(Miss::Failed(error)) => return Err(error),
            }
        }
        Ok(contents)
    }

    fn look_into(
        &mut self,
        number: usize,
        file: &File,
        compared: bool,
        read: &mut impl FnMut(u64, u32) -> Result<Vec<u8>, Miss>,
    ) -> Result<(), Miss> {
        if file.size >= WEIGHTS_FROM_BYTES
            && let Some(format) = magic::weights(&read(0, magic::HEAD_BYTES)?)
        {
            self.weights.insert(number, format);
        }
        if file.size >= DEBUG_FROM_BYTES && (file.executable || is_shared_library(file.name())) {
            let bytes = elf::debug_bytes(file.size, &mut *read)?;
            if bytes > 0 {
                self.debug_bytes.insert(number, bytes);
            }
        }
        if compared {
            let (mut hasher, mut at) = (Hasher::new(), 0);
            while at < file.size {
                let piece = read(at, PIECE_BYTES)?;
                if piece.is_empty() {
                    break;
                }
                at += piece.len() as u64;
                hasher.update(&piece);
            }
            self.digests.insert(number, hasher.finish());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{inventory, layer, number};
    use super::*;

    #[test]
    fn only_what_is_here_is_looked_at() {
        let size = 11 << 20;
        let inventory = inventory(&[layer(&[
            ("a", size),
            ("b", size),
            ("c", size),
            ("away", size),
            ("small", 10),
            ("lib.so", 70_000),
        ])]);
        let library = elf::tests::library(&[(".debug_info", 65_600)], 70_000);
        let at = |path| number(&inventory, path);
        let content = |path: &str, offset: u64, len: u32| {
            let mut bytes = match path {
                "/a" | "/b" => [b"GGUF".to_vec(), vec![0; size as usize - 4]].concat(),
                "/lib.so" => library.clone(),
                _ => vec![7; size as usize],
            };
            bytes.drain(..(offset as usize).min(bytes.len()));
            bytes.truncate(len as usize);
            bytes
        };
        let path =
            |node| inventory.files.iter().find(|file| file.fate == Fate::Shown(node)).map(|file| &*file.path);
        let contents = Contents::look_by(&inventory, |node, offset, len| {
            let path = path(node).unwrap();
            (path != "/away").then(|| Ok(content(path, offset, len)))
        })
        .unwrap();
        assert_eq!(contents.absent, 1);
        assert_eq!(contents.weights.keys().copied().collect::<Vec<_>>(), [at("/a"), at("/b")]);
        assert_eq!(contents.debug_bytes, BTreeMap::from([(at("/lib.so"), 65_600)]));
        assert_eq!(contents.digests[&at("/a")], contents.digests[&at("/b")]);
        assert_ne!(contents.digests[&at("/a")], contents.digests[&at("/c")]);
        assert!(!contents.digests.contains_key(&at("/lib.so")), "the only one of its length");
    }
}
