//! Our own side: the release binary's commands about images, with a store that is empty for each.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::images::layout::Layout;
use crate::rig::glowplug::Node;
use crate::{paths, step};

/// What we make of an image by packing its layers anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// eStargz.
    Estargz,
    /// zstd:chunked as stargz-snapshotter has it.
    ZstdChunkedStargz,
    /// zstd:chunked as podman and CRI-O have it.
    ZstdChunkedStorage,
}

impl Format {
    /// For people, and for file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Estargz => "estargz",
            Self::ZstdChunkedStargz => "zstd-chunked-stargz",
            Self::ZstdChunkedStorage => "zstd-chunked-storage",
        }
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Estargz => &["--to", "estargz"],
            Self::ZstdChunkedStargz => &["--to", "zstd-chunked", "--dialect", "stargz"],
            Self::ZstdChunkedStorage => &["--to", "zstd-chunked", "--dialect", "storage"],
        }
    }
}

/// The program with its store.
pub struct Glowplug {
    program: PathBuf,
    store: PathBuf,
}

impl Glowplug {
    /// The given binary, or one that is built now.
    pub fn new(binary: Option<&Path>, store: &Path) -> anyhow::Result<Self> {
        let program = match binary {
            Some(binary) => binary.canonicalize().with_context(|| format!("no {}", binary.display()))?,
            None => {
                Node::prepare()?;
                paths::target().join("release/glowplug")
            }
        };
        Ok(Self { program, store: store.to_owned() })
    }

    /// Forgets every layer.
    pub fn forget(&self) -> anyhow::Result<()> {
        if self.store.exists() {
            std::fs::remove_dir_all(&self.store)?;
        }
        Ok(())
    }

    /// `glowplug image convert`, to be run; `level` is how hard to compress.
    pub fn convert(&self, format: Format, level: Option<u32>, from: &Layout, to: &Path) -> Command {
        let mut command = self.command(&["image", "convert"]);
        command.args(format.arguments()).arg("--output").arg(reference(to));
        if let Some(level) = level {
            command.args(["--level", &level.to_string()]);
        }
        command.arg(reference(from.folder()));
        command
    }

    /// `glowplug image index` of every layer, to be run; it adds to the layout.
    pub fn index(&self, layout: &Layout, span_bytes: u64) -> Command {
        let mut command = self.command(&["image", "index"]);
        command.args(["--min-layer-size", "0", "--span-size", &span_bytes.to_string()]);
        command.arg(reference(layout.folder()));
        command
    }

    /// `glowplug image ls -lR`: what it prints.
    pub fn list(&self, layout: &Layout) -> anyhow::Result<String> {
        step::read(self.command(&["image", "ls", "-lR"]).arg(reference(layout.folder())))
    }

    /// `glowplug explain`: what it prints.
    pub fn explain(&self, layout: &Layout) -> anyhow::Result<Value> {
        let printed = step::read(self.command(&["explain"]).arg(reference(layout.folder())))?;
        serde_json::from_str(&printed).context("glowplug explain printed something else")
    }

    /// `glowplug image diff --contents`: what it found, which may be something.
    pub fn diff(&self, before: &Layout, after: &Layout) -> anyhow::Result<Value> {
        let place = self.store.with_extension("diff");
        let mut command = self.command(&["image", "diff", "--contents", "--times"]);
        command.arg(reference(before.folder())).arg(reference(after.folder()));
        let status = step::run_group(command.stdout(File::create(&place)?))?;
        let printed = std::fs::read_to_string(&place)?;
        // 1 says that something differs.
        if !matches!(status.code(), Some(0 | 1)) {
            bail!("glowplug image diff failed ({status}): {printed}");
        }
        serde_json::from_str(&printed).context("glowplug image diff printed something else")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.env("NO_COLOR", "1").args(words).arg("--json").arg("--store").arg(&self.store);
        command
    }
}

fn reference(layout: &Path) -> String {
    format!("oci:{}", layout.display())
}
