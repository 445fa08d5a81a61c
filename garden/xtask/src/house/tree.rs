//! Reads the repository into memory once: manifests and Rust sources, nothing else.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::manifest::Manifest;
use super::source::{self, Source};

/// A crate's place in the house.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Shipped, on a floor counted from the ground.
    Floor(u8),
    /// Tools and tests, never shipped.
    Garden,
    /// Neither: a finding.
    Nowhere,
}

/// Folders under `crates/` and their floor.
const FLOORS: [(&str, u8); 7] =
    [("ground", 0), ("formats", 1), ("bytes", 2), ("engines", 3), ("host", 4), ("doors", 5), ("glowplug", 6)];

/// One crate: where it lies and what its manifest says.
#[derive(Debug, Clone)]
pub struct Crate {
    /// Folder relative to the root, as `crates/formats/toc`.
    pub dir: String,
    /// Place in the house, from the folder.
    pub place: Place,
    /// The parsed manifest.
    pub manifest: Manifest,
}

impl Crate {
    /// Parses a manifest that lies in `dir`.
    pub fn parse(dir: &str, text: &str, root_manifest: &str) -> anyhow::Result<Self> {
        let path = format!("{dir}/Cargo.toml");
        let manifest = Manifest::parse(&path, text, root_manifest)?;
        Ok(Self { dir: dir.to_owned(), place: place(dir), manifest })
    }

    /// Last part of the folder: the name the house calls the crate by.
    pub fn room(&self) -> &str {
        self.dir.rsplit('/').next().unwrap_or(&self.dir)
    }

    /// Whether the house rules for shipped code hold here.
    pub fn is_shipped(&self) -> bool {
        self.place != Place::Garden
    }
}

fn place(dir: &str) -> Place {
    let parts: Vec<&str> = dir.split('/').collect();
    match parts.as_slice() {
        ["garden", _] => Place::Garden,
        ["crates", "glowplug"] => Place::Floor(6),
        ["crates", folder, _] => FLOORS
            .iter()
            .find(|(name, _)| name == folder && *name != "glowplug")
            .map_or(Place::Nowhere, |(_, floor)| Place::Floor(*floor)),
        _ => Place::Nowhere,
    }
}

/// The repository as the rules see it.
#[derive(Debug)]
pub struct Tree {
    /// Absolute path of the repository.
    pub root: PathBuf,
    /// Every crate, the excluded fuzz crate among them.
    pub crates: Vec<Crate>,
    /// Every Rust source under `crates/` and `garden/`.
    pub sources: Vec<Source>,
}

impl Tree {
    /// Reads manifests and sources below `root`.
    pub fn load(root: &Path) -> anyhow::Result<Self> {
        let root_manifest = read(&root.join("Cargo.toml"))?;
        let mut paths = Vec::new();
        for top in ["crates", "garden"] {
            walk(root, &root.join(top), &mut paths)?;
        }
        paths.sort();
        let mut crates = Vec::new();
        let mut sources = Vec::new();
        for path in paths {
            let text = read(&root.join(&path))?;
            if let Some(dir) = path.strip_suffix("/Cargo.toml") {
                crates.push(Crate::parse(dir, &text, &root_manifest)?);
            } else {
                sources.push(Source::parse(&path, text));
            }
        }
        source::mark_tests(&mut sources);
        Ok(Self { root: root.to_path_buf(), crates, sources })
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Collects `Cargo.toml` and `*.rs`, skipping what builds leave behind.
fn walk(root: &Path, dir: &Path, found: &mut Vec<String>) -> anyhow::Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if entry.file_type()?.is_dir() {
            if name != "target" && !name.starts_with('.') {
                walk(root, &path, found)?;
            }
        } else if name == "Cargo.toml" || name.ends_with(".rs") {
            found.push(path.strip_prefix(root)?.to_string_lossy().into_owned());
        }
    }
    Ok(())
}
