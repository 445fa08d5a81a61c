//! What a container would see of an image, by the reader that this project has for it.

use std::path::Path;
use std::sync::Arc;

use glowplug_base::Clock;
use glowplug_image::difference::{Closeness, Difference, compare};
use glowplug_image::{Image, LayerSpec, Tree};
use glowplug_oci::{Limits, Source};
use glowplug_registry::{ResolvedLayer, resolve};
use glowplug_store::{Options, Store};
use glowplug_timeline::Timeline;

use crate::fixture::{amd64, at, client};

/// An image that is open.
pub struct Looked {
    pub image: Image,
    _dir: tempfile::TempDir,
}

/// Opens the only image of a layout.
pub async fn look(layout: &Path) -> Looked {
    let source: Source = at(layout, "").parse().unwrap();
    let repository = client().open(&source).await.unwrap();
    let found = resolve(&*repository, &source, &amd64(), &Limits::default()).await.unwrap();
    let spec = |layer: &ResolvedLayer| LayerSpec {
        blob: layer.descriptor.digest,
        format: layer.kind.format,
        compression: layer.kind.compression,
        diff_id: Some(layer.diff_id),
        source: repository.resilient_blob(&layer.descriptor),
        annotations: layer.descriptor.annotations.clone(),
        soci: None,
        external: None,
    };
    let layers: Vec<LayerSpec> = found.layers.iter().map(spec).collect();
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(dir.path(), Options::default()).unwrap());
    let opened = glowplug_image::open(&store, &layers, &Timeline::new(Clock::system())).await.unwrap();
    Looked { image: opened.image, _dir: dir }
}

impl Looked {
    /// Everything that is said of every path, a line for each.
    pub fn lines(&self) -> Vec<String> {
        let tree = self.image.tree();
        let line = |(path, id): (Vec<u8>, u32)| {
            let node = tree.node(id).unwrap();
            let (path, link) = (String::from_utf8_lossy(&path), self.image.link(id).map(<[u8]>::to_vec));
            format!(
                "{path} {:?} {:o} {}:{} {:?} {:?} {} bytes {} links {:?} {link:?}",
                node.kind,
                node.mode,
                node.uid,
                node.gid,
                node.mtime,
                node.device,
                node.size,
                node.links,
                tree.xattrs(id)
            )
        };
        tree.below(Tree::ROOT).map(line).collect()
    }

    /// Paths of all files, in the order of their names.
    pub fn files(&self) -> Vec<String> {
        let tree = self.image.tree();
        let file = |id| tree.node(id).unwrap().kind == glowplug_layer::Kind::File;
        let text = |path: Vec<u8>| String::from_utf8(path).unwrap();
        tree.below(Tree::ROOT).filter(|(_, id)| file(*id)).map(|(path, _)| text(path)).collect()
    }

    /// Asserts that the other is the same image, attributes, times, links and contents.
    pub async fn assert_same(&self, other: &Self, what: &str) {
        let (these, those) = (self.lines(), other.lines());
        for (this, that) in these.iter().zip(&those) {
            assert_eq!(this, that, "{what}");
        }
        assert_eq!(these.len(), those.len(), "{what}");
        let closeness = Closeness { times: true, contents: true };
        let found: Vec<Difference> = compare(&self.image, &other.image, closeness).decide().await.unwrap();
        assert!(found.is_empty(), "{what}: {found:?}");
    }
}
