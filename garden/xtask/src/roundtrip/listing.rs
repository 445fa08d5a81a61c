//! What the layers of an image hold, as some reader has found it, and how two of them differ.
//!
//! Both the Go program `list-image` and `glowplug image ls --json` say it in the same words.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use serde::Deserialize;

use crate::images::layout::Layout;
use crate::interrupt::Partial;
use crate::peers::converters::Program;
use crate::step;

/// What the name of a file begins with that removes one of the layers below.
const WHITEOUT: &str = ".wh.";
/// The whiteout of everything that the layers below have in its directory.
const OPAQUE: &str = ".wh..wh..opq";

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// Go's tar reader, from the begin to the end.
    Tar,
    /// stargz-snapshotter's library, by the table, chunk by chunk.
    Stargz,
    /// podman's and CRI-O's library, which unpacks by the table.
    Storage,
}

impl Reader {
    /// For people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Tar => "Go's archive/tar",
            Self::Stargz => "stargz-snapshotter",
            Self::Storage => "containers/storage",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Tar => "tar",
            Self::Stargz => "stargz",
            Self::Storage => "storage",
        }
    }
}

/// One name with the file behind it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Entry {
    layer: Option<u32>,
    path: String,
    #[serde(rename = "type")]
    kind: String,
    mode: String,
    uid: u32,
    gid: u32,
    bytes: u64,
    target: Option<String>,
    device: Option<(u32, u32)>,
    /// Nothing where the reader leaves no time.
    mtime: Option<String>,
    #[serde(default)]
    xattrs_hex: BTreeMap<String, String>,
    sha256: Option<String>,
    /// The first name of a file that has several.
    same: Option<String>,
}

impl Entry {
    fn is_file(&self) -> bool {
        self.kind == "file"
    }

    /// The other is held to a time unless it is of a kind whose times readers that unpack do not leave.
    fn equals(&self, other: &Self) -> bool {
        let timeless = other.mtime.is_none() && !other.is_file();
        let mtime = if timeless { None } else { self.mtime.clone() };
        Self { mtime, ..self.clone() } == *other
    }
}

/// All names of all layers, or of all layers merged.
#[derive(Debug, Default)]
pub struct Listing {
    entries: BTreeMap<(Option<u32>, String), Entry>,
}

impl Listing {
    /// Has the layers of an image read; there is room in the folder `place`.
    pub fn read(reader: Reader, image: &Layout, place: &Path) -> anyhow::Result<Self> {
        let scratch = Partial::folder(&place.join("scratch"))?;
        let mut command = Command::new(Program::ListImage.path());
        command.arg("-scratch").arg(scratch.path()).arg(reader.name()).arg(image.folder());
        let printed = step::read(&mut command)?;
        let entries: Result<Vec<Entry>, _> = printed.lines().map(serde_json::from_str).collect();
        Ok(Self::of(entries.context("list-image printed something else")?))
    }

    /// What `glowplug image ls -lR --json` printed: all layers merged.
    pub fn parse(printed: &str) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct Document {
            entries: Vec<Entry>,
        }
        let mut document: Document =
            serde_json::from_str(printed).context("glowplug image ls printed something else")?;
        for entry in &mut document.entries {
            // The others know of whole seconds.
            if let Some((seconds, _)) = entry.mtime.as_deref().and_then(|time| time.split_once('.')) {
                entry.mtime = Some(format!("{seconds}Z"));
            }
        }
        // A directory that no layer has is only there because something is in it.
        document.entries.retain(|entry| entry.layer.is_some());
        let mut merged = Self::of(document.entries);
        merged.entries = std::mem::take(&mut merged.entries)
            .into_iter()
            .map(|((_, path), entry)| ((None, path), entry))
            .collect();
        Ok(merged)
    }

    fn of(entries: Vec<Entry>) -> Self {
        let keyed = entries.into_iter().map(|entry| ((entry.layer, entry.path.clone()), entry));
        Self { entries: keyed.collect() }
    }

    /// How many names.
    pub fn names(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of all files, each counted once however many names it has.
    pub fn bytes(&self) -> u64 {
        let is_first = |entry: &&Entry| entry.same.as_ref().is_none_or(|first| *first == entry.path);
        self.entries.values().filter(|entry| entry.is_file()).filter(is_first).map(|entry| entry.bytes).sum()
    }

    /// The paths of files.
    pub fn files(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.entries.values().filter(|entry| entry.is_file()).map(|entry| entry.path.as_str())
    }

    /// What a container sees, as a list of files has it: without contents, and without a word on which names are one.
    pub fn merged(&self) -> Self {
        let mut seen: BTreeMap<String, Entry> = BTreeMap::new();
        let layers: BTreeSet<Option<u32>> = self.entries.keys().map(|(layer, _)| *layer).collect();
        for layer in layers {
            let of_layer = || self.entries.values().filter(|entry| entry.layer == layer);
            for entry in of_layer() {
                let (folder, name) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
                if name == OPAQUE {
                    remove_below(&mut seen, folder);
                } else if let Some(gone) = name.strip_prefix(WHITEOUT) {
                    let gone = format!("{folder}/{gone}");
                    remove_below(&mut seen, &gone);
                    seen.remove(&gone);
                } else if entry.kind != "directory" {
                    remove_below(&mut seen, &entry.path);
                }
            }
            for entry in of_layer() {
                let name = entry.path.rsplit('/').next().unwrap_or_default();
                if !name.starts_with(WHITEOUT) {
                    seen.insert(entry.path.clone(), Entry { sha256: None, same: None, ..entry.clone() });
                }
            }
        }
        Self { entries: seen.into_iter().map(|(path, entry)| ((None, path), entry)).collect() }
    }

    /// Each name that `other` has otherwise, has too much, or lacks. A directory that the layer has no entry for but
    /// something in may be there or not.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let mut implied = BTreeSet::new();
        for (layer, path) in self.entries.keys() {
            let parents = path.match_indices('/').map(|(at, _)| &path[..at]);
            implied.extend(parents.map(|parent| (*layer, parent.to_owned())));
        }
        let keys: BTreeSet<&(Option<u32>, String)> =
            self.entries.keys().chain(other.entries.keys()).collect();
        for key in keys {
            match (self.entries.get(key), other.entries.get(key)) {
                (Some(ours), Some(theirs)) if ours.equals(theirs) => {}
                (Some(ours), Some(theirs)) => found.push(format!("{ours:?} became {theirs:?}")),
                (Some(ours), None) => found.push(format!("missing: {ours:?}")),
                (None, Some(theirs)) if theirs.kind == "directory" && implied.contains(key) => {}
                (None, Some(theirs)) => found.push(format!("too much: {theirs:?}")),
                (None, None) => {}
            }
        }
        found
    }
}

fn remove_below(seen: &mut BTreeMap<String, Entry>, folder: &str) {
    let prefix = format!("{folder}/");
    let below: Vec<String> = seen
        .range(prefix.clone()..)
        .map(|(path, _)| path)
        .take_while(|path| path.starts_with(&prefix))
        .cloned()
        .collect();
    for path in below {
        seen.remove(&path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(layer: u32, path: &str, kind: &str) -> Entry {
        Entry {
            layer: Some(layer),
            path: path.to_owned(),
            kind: kind.to_owned(),
            mode: "0644".to_owned(),
            uid: 0,
            gid: 0,
            bytes: 1,
            target: None,
            device: None,
            mtime: Some("2024-01-01T00:00:00Z".to_owned()),
            xattrs_hex: BTreeMap::new(),
            sha256: Some("of".to_owned()),
            same: None,
        }
    }

    #[test]
    fn layers_are_merged_as_a_container_sees_them() {
        let layers = Listing::of(vec![
            entry(0, "/a", "directory"),
            entry(0, "/a/gone", "file"),
            entry(0, "/a/stays", "file"),
            entry(0, "/b", "directory"),
            entry(0, "/b/old", "file"),
            entry(0, "/c", "directory"),
            entry(0, "/c/below", "file"),
            entry(1, "/a/.wh.gone", "file"),
            entry(1, "/b/.wh..wh..opq", "file"),
            entry(1, "/b/new", "file"),
            entry(1, "/c", "file"),
        ]);
        let merged = layers.merged();
        let paths: Vec<&str> = merged.entries.keys().map(|(_, path)| path.as_str()).collect();
        assert_eq!(paths, ["/a", "/a/stays", "/b", "/b/new", "/c"]);
        assert!(merged.files().all(|path| path != "/a"));
    }

    #[test]
    fn everything_that_differs_is_found_and_a_parent_without_an_entry_is_not() {
        let reference = Listing::of(vec![entry(0, "/a/file", "file"), entry(0, "/a/link", "symlink")]);
        let timeless = Entry { mtime: None, ..entry(0, "/a/link", "symlink") };
        let with_parent = Listing::of(vec![
            Entry { mtime: None, ..entry(0, "/a", "directory") },
            entry(0, "/a/file", "file"),
            timeless.clone(),
        ]);
        assert_eq!(reference.differences(&with_parent), Vec::<String>::new());

        let changes: [fn(&mut Entry); 5] = [
            |entry| entry.mode = "0755".to_owned(),
            |entry| entry.sha256 = None,
            |entry| entry.mtime = None,
            |entry| entry.same = Some("/a/link".to_owned()),
            |entry| entry.path = "/a/other".to_owned(),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut changed = entry(0, "/a/file", "file");
            change(&mut changed);
            let other = Listing::of(vec![changed, timeless.clone()]);
            assert!(!reference.differences(&other).is_empty(), "change {number}");
        }
        let extra = Listing::of(vec![
            entry(0, "/a/file", "file"),
            entry(0, "/a/link", "symlink"),
            entry(0, "/b", "directory"),
        ]);
        assert_eq!(reference.differences(&extra).len(), 1);
    }
}
