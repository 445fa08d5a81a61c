//! All descriptions of a machine, and which of them holds for a device.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::CdiError;
use super::description::{self, Edits};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Files that describe something.
    pub files: Vec<Described>,
    /// Files that could not be read.
    pub broken: Vec<CdiError>,
    /// By kind and name.
    devices: BTreeMap<(String, String), Device>,
}

/// A file.
#[derive(Debug)]
pub(super) struct Described {
    pub path: PathBuf,
    /// What its devices share.
    pub edits: Edits,
}

/// A device as the directory that wins has it.
#[derive(Debug, Clone)]
pub(super) struct Device {
    /// Number of its file.
    pub file: usize,
    /// A further file in the same directory that describes it.
    pub also_in: Option<PathBuf>,
    pub edits: Edits,
    directory: usize,
}

impl Found {
    /// The device of a kind and name.
    pub fn get(&self, kind: &str, name: &str) -> Option<&Device> {
        self.devices.get(&(kind.to_owned(), name.to_owned()))
    }

    fn add(&mut self, directory: usize, path: PathBuf, description: description::Description) {
        let file = self.files.len();
        for device in description.devices {
            let key = (description.kind.clone(), device.name);
            match self.devices.get_mut(&key).filter(|known| known.directory == directory) {
                Some(known) => known.also_in = Some(path.clone()),
                None => {
                    let device = Device { file, also_in: None, edits: device.edits, directory };
                    self.devices.insert(key, device);
                }
            }
        }
        self.files.push(Described { path, edits: description.edits });
    }
}

/// Reads every description in the directories, the least important one first. A directory that does not exist has none.
pub(super) fn search(dirs: &[PathBuf]) -> Found {
    let mut found = Found::default();
    for (directory, dir) in dirs.iter().enumerate() {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            let is_yaml = match path.extension().and_then(|extension| extension.to_str()) {
                Some("json") => false,
                Some("yaml" | "yml") => true,
                _ => continue,
            };
            match description::read(&path, is_yaml) {
                Ok(description) => found.add(directory, path, description),
                Err(error) => found.broken.push(error),
            }
        }
    }
    found
}
