//! The rig: a registry behind a shaped link, and nodes that start images from it.
//!
//! It lives in namespaces of its own ([`enclosure`]): network, mounts and processes end with it, whatever ends it. The
//! registry sits in a further network namespace at the other end of a veth pair ([`link`]). Everything on disk is under
//! `target/glowplug-rig/`, apart from the peers' programs and images, which are kept under `target/peers/` ([`peers`]).

pub mod cluster;
pub mod containerd;
pub mod enclosure;
mod fuse;
pub mod glowplug;
pub mod link;
pub mod measure;
pub mod namespace;
pub mod peers;
pub mod push;
pub mod registry;
pub mod usage;

use std::path::{Path, PathBuf};

use anyhow::Context;

use self::link::{Link, Rate};
use self::registry::Registry;
use crate::images::layout::Layout;
use crate::paths;

/// A registry behind a link. Dropping it ends both.
pub struct Rig {
    registry: Registry,
    link: Link,
}

impl Rig {
    /// Lays the link and starts the registry at its far end. Only inside the enclosure.
    pub fn new(rate: Rate) -> anyhow::Result<Self> {
        let link = Link::lay(rate)?;
        let registry = Registry::start(link.holder())?;
        Ok(Self { registry, link })
    }

    /// Puts an image into the registry under `NAME:TAG`; gives the files that the registry serves it from.
    pub fn push(&self, layout: &Layout, name: &str) -> anyhow::Result<Vec<PathBuf>> {
        push::push(layout, self.registry.storage(), name)
    }

    /// `HOST:PORT` of the registry.
    pub fn registry_addr(&self) -> String {
        format!("{}:{}", link::REGISTRY_ADDRESS, registry::PORT)
    }

    /// Bytes that came over the link since it was laid.
    pub fn link_bytes(&self) -> anyhow::Result<u64> {
        self.link.bytes()
    }

    /// Empties the page cache, then reads what the registry serves back into it: a registry's disk is not what is
    /// measured.
    pub fn drop_caches(&self) -> anyhow::Result<()> {
        empty_page_cache()?;
        warm(self.registry.storage())
    }

    /// The same where the registry holds several images, which may not fit into memory together: only the blobs `served`
    /// are read back.
    pub fn drop_caches_but(&self, served: &[PathBuf]) -> anyhow::Result<()> {
        empty_page_cache()?;
        warm(&self.registry.storage().join("docker/registry/v2/repositories"))?;
        served.iter().try_for_each(|blob| read(blob))
    }
}

fn empty_page_cache() -> anyhow::Result<()> {
    rustix::fs::sync();
    std::fs::write("/proc/sys/vm/drop_caches", "3").context("cannot empty the page cache")
}

/// Reads all files below `folder` once.
fn warm(folder: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            warm(&entry.path())?;
        } else {
            read(&entry.path())?;
        }
    }
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<()> {
    std::io::copy(&mut std::fs::File::open(file)?, &mut std::io::sink())?;
    Ok(())
}

/// Where the nodes keep what they fetch. It is emptied when the rig ends.
pub fn nodes() -> PathBuf {
    paths::rig().join("node")
}
