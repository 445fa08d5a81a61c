//! Puts an image into the registry by laying it into the registry's storage, blobs as hard links: a push of gigabytes
//! takes no time and no space. Format: the filesystem storage of distribution 2.x (`docker/registry/v2`).

use std::path::Path;

use anyhow::Context;

use crate::images::layout::Layout;

/// Lays the image of `layout` into `storage` as `name`, a `REPOSITORY:TAG`.
pub fn push(layout: &Layout, storage: &Path, name: &str) -> anyhow::Result<()> {
    let (repository, tag) = name.split_once(':').context("a name is REPOSITORY:TAG")?;
    let root = storage.join("docker/registry/v2");
    let repository = root.join("repositories").join(repository);
    let (digest, manifest) = layout.manifest()?;
    for blob in manifest.layers.iter().chain([&manifest.config]) {
        let hex = blob.hex()?;
        lay_blob(layout, &root, hex)?;
        lay_link(&repository.join("_layers/sha256").join(hex), hex)?;
    }
    lay_blob(layout, &root, &digest)?;
    lay_link(&repository.join("_manifests/revisions/sha256").join(&digest), &digest)?;
    let tag = repository.join("_manifests/tags").join(tag);
    lay_link(&tag.join("index/sha256").join(&digest), &digest)?;
    lay_link(&tag.join("current"), &digest)
}

fn lay_blob(layout: &Layout, root: &Path, hex: &str) -> anyhow::Result<()> {
    let folder = root.join("blobs/sha256").join(&hex[..2]).join(hex);
    std::fs::create_dir_all(&folder)?;
    let (from, to) = (layout.blobs().join(hex), folder.join("data"));
    if !to.exists() {
        std::fs::hard_link(&from, &to).with_context(|| format!("cannot lay {}", from.display()))?;
    }
    Ok(())
}

fn lay_link(folder: &Path, hex: &str) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    Ok(std::fs::write(folder.join("link"), format!("sha256:{hex}"))?)
}
