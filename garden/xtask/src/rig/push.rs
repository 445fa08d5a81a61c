//! Puts an image into the registry by laying it into the registry's storage, blobs as hard links: a push of gigabytes
//! takes no time and no space. Format: the filesystem storage of distribution 2.x (`docker/registry/v2`).

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;

use crate::images::layout::{Descriptor, Layout};

/// Lays what `layout` holds into `storage` as `name`, a `REPOSITORY:TAG`: a manifest, or an index with all that it
/// leads to. Gives the files of its blobs.
pub fn push(layout: &Layout, storage: &Path, name: &str) -> anyhow::Result<Vec<PathBuf>> {
    let (repository, tag) = name.split_once(':').context("a name is REPOSITORY:TAG")?;
    let root = storage.join("docker/registry/v2");
    let repository = root.join("repositories").join(repository);
    let tag = repository.join("_manifests/tags").join(tag);
    let mut place = Place { layout, root, repository, blobs: Vec::new() };
    let digest = layout.root()?;
    place.lay_manifest(&digest)?;
    lay_link(&tag.join("index/sha256").join(&digest), &digest)?;
    lay_link(&tag.join("current"), &digest)?;
    Ok(place.blobs)
}

/// A manifest or an index, as far as it names blobs.
#[derive(Deserialize)]
struct Node {
    #[serde(default)]
    manifests: Vec<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    config: Option<Descriptor>,
}

struct Place<'a> {
    layout: &'a Layout,
    root: PathBuf,
    repository: PathBuf,
    blobs: Vec<PathBuf>,
}

impl Place<'_> {
    fn lay_manifest(&mut self, hex: &str) -> anyhow::Result<()> {
        let node: Node = serde_json::from_slice(&std::fs::read(self.layout.blobs().join(hex))?)?;
        for manifest in &node.manifests {
            self.lay_manifest(manifest.hex()?)?;
        }
        for blob in node.layers.iter().chain(&node.config) {
            let hex = blob.hex()?;
            self.lay_blob(hex)?;
            lay_link(&self.repository.join("_layers/sha256").join(hex), hex)?;
        }
        self.lay_blob(hex)?;
        lay_link(&self.repository.join("_manifests/revisions/sha256").join(hex), hex)
    }

    fn lay_blob(&mut self, hex: &str) -> anyhow::Result<()> {
        let folder = self.root.join("blobs/sha256").join(&hex[..2]).join(hex);
        std::fs::create_dir_all(&folder)?;
        let (from, to) = (self.layout.blobs().join(hex), folder.join("data"));
        if !to.exists() {
            std::fs::hard_link(&from, &to).with_context(|| format!("cannot lay {}", from.display()))?;
        }
        self.blobs.push(to);
        Ok(())
    }
}

fn lay_link(folder: &Path, hex: &str) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    Ok(std::fs::write(folder.join("link"), format!("sha256:{hex}"))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::blob::sha256_hex;

    #[test]
    fn an_index_is_laid_with_all_that_it_leads_to() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::at(folder.path().join("layout"));
        std::fs::create_dir_all(layout.blobs()).unwrap();
        let put = |text: &str| {
            let hex = sha256_hex(text.as_bytes());
            std::fs::write(layout.blobs().join(&hex), text).unwrap();
            format!(r#"{{"mediaType":"t","digest":"sha256:{hex}","size":{}}}"#, text.len())
        };
        let manifest = |layer: &str| {
            let (config, layer) = (put(&format!("config of {layer}")), put(layer));
            put(&format!(r#"{{"schemaVersion":2,"mediaType":"m","config":{config},"layers":[{layer}]}}"#))
        };
        let (image, other) = (manifest("bytes"), manifest("an index of them"));
        let index = |what: &str| format!(r#"{{"schemaVersion":2,"mediaType":"i","manifests":[{what}]}}"#);
        let inner = put(&index(&format!("{image},{other}")));
        std::fs::write(layout.folder().join("index.json"), index(&inner)).unwrap();

        let storage = folder.path().join("storage");
        let blobs = push(&layout, &storage, "name:tag").unwrap();
        assert_eq!(blobs.len(), 7);
        assert!(blobs.iter().all(|blob| blob.exists()));
        let repository = storage.join("docker/registry/v2/repositories/name");
        let count = |below: &str| std::fs::read_dir(repository.join(below)).unwrap().count();
        assert_eq!((count("_manifests/revisions/sha256"), count("_layers/sha256")), (3, 4));
        let tag = std::fs::read_to_string(repository.join("_manifests/tags/tag/current/link")).unwrap();
        assert_eq!(tag, format!("sha256:{}", layout.root().unwrap()));
        assert_eq!(layout.manifest().unwrap().1.layer_bytes(), 5);
    }
}
