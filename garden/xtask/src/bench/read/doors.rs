//! An image mounted through one door, complete, with a writable directory on top.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail};
use serde::Serialize;

use super::EXAMPLE;
use crate::images::layout::Layout;
use crate::{paths, rig, step};

/// By which way the image's files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Door {
    /// Unpacked layers under overlayfs: the peer.
    Overlay,
    /// Ours, straight from the kernel.
    Erofs,
    /// Ours while bytes are missing: names by the kernel, bytes through a process.
    Lazy,
    /// The same on kernels without EROFS on plain files: all through a process.
    Fuse,
}

impl Door {
    /// The peer first.
    pub const ALL: [Self; 4] = [Self::Overlay, Self::Erofs, Self::Lazy, Self::Fuse];

    /// For people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Overlay => "overlayfs",
            Self::Erofs => "EROFS",
            Self::Lazy => "EROFS over FUSE",
            Self::Fuse => "FUSE",
        }
    }
}

/// A mounted image. What is mounted goes with the enclosure.
pub struct Mounted {
    door: Door,
    root: PathBuf,
    server: Option<Child>,
}

impl Mounted {
    /// Unpacks or fetches everything and mounts it.
    pub fn new(door: Door, layout: &Layout) -> anyhow::Result<Self> {
        match door {
            Door::Overlay => Self::overlay(layout),
            Door::Erofs | Door::Lazy | Door::Fuse => Self::ours(door, layout),
        }
    }

    /// Which door.
    pub const fn door(&self) -> Door {
        self.door
    }

    /// Where the image's root is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn overlay(layout: &Layout) -> anyhow::Result<Self> {
        let place = rig::nodes().join("overlayfs");
        let mut lower = Vec::new();
        for (number, layer) in layout.manifest()?.1.layers.iter().enumerate() {
            let folder = place.join(number.to_string());
            std::fs::create_dir_all(&folder)?;
            let mut tar = Command::new("tar");
            tar.args(["--extract", "--gzip", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--file"]);
            step::run(tar.arg(layout.blobs().join(layer.hex()?)).arg("--directory").arg(&folder))?;
            // The uppermost layer comes first.
            lower.insert(0, folder.display().to_string());
        }
        let (upper, work, root) = (place.join("upper"), place.join("work"), place.join("merged"));
        for folder in [&upper, &work, &root] {
            std::fs::create_dir_all(folder)?;
        }
        let options =
            format!("lowerdir={},upperdir={},workdir={}", lower.join(":"), upper.display(), work.display());
        step::run(Command::new("mount").args(["-t", "overlay", "overlay", "-o", &options]).arg(&root))?;
        Ok(Self { door: Door::Overlay, root, server: None })
    }

    fn ours(door: Door, layout: &Layout) -> anyhow::Result<Self> {
        let word = match door {
            Door::Erofs => "erofs",
            Door::Lazy => "lazy",
            Door::Overlay | Door::Fuse => "fuse",
        };
        let place = rig::nodes().join(word);
        let mut server = Command::new(paths::target().join("release/examples").join(EXAMPLE))
            .arg(layout.folder())
            .args([place.join("store"), place.join("work")])
            .arg(word)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start mount_image")?;
        let mut line = String::new();
        let out = server.stdout.take().context("mount_image has no output")?;
        BufReader::new(out).read_line(&mut line)?;
        match line.trim_end().split_once(' ') {
            Some((opened, root)) if opened == word => {
                Ok(Self { door, root: PathBuf::from(root), server: Some(server) })
            }
            Some((other, _)) => bail!("asked for {word}, got {other}: the kernel has no such door here"),
            None => bail!("mount_image did not mount the image ({})", server.wait()?),
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            // The end of its input is its sign to unmount.
            drop(server.stdin.take());
            let _ = server.wait();
        }
    }
}
