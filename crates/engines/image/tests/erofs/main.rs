//! Layers that are EROFS images show what their tars show, however the image was made, and are as lazy once they were here.
//!
//! The images in `layers/` are mkfs.erofs' (version 1.9.3), of the tars beside them, whiteouts included, as containerd has them made:
//!
//! ```text
//! mkfs.erofs --tar=f --aufs -b4096 -U UUID --mkfs-time -T1700000000
//!     plain       -Enoinline_data: file contents in blocks of their own, which is containerd's way
//!     inline      the last bytes of files beside their inodes
//!     chunked     --chunksize=4096: files share what is the same in them
//!     compressed  -zdeflate
//! ```
#![allow(clippy::unwrap_used, reason = "clippy does not take the functions beside the tests for tests")]

mod lazy;
mod refusals;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use glowplug_base::{Clock, Digest};
use glowplug_image::{Image, ImageError, LayerSpec, Node as Inode, Opened, open};
use glowplug_layer::Kind;
use glowplug_oci::{Compression, LayerFormat};
use glowplug_source::{MemorySource, RangeSource};
use glowplug_store::{Options, Store};
use glowplug_timeline::Timeline;

/// A file of `layers/`.
fn fixture(name: &str) -> Vec<u8> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/erofs/layers");
    zstd::decode_all(&std::fs::read(folder.join(format!("{name}.zst"))).unwrap()[..]).unwrap()
}

fn memory(blob: impl Into<Bytes>) -> Arc<dyn RangeSource> {
    Arc::new(MemorySource::new("blob", blob.into()))
}

fn spec(blob: &[u8], format: LayerFormat, compression: Compression) -> LayerSpec {
    LayerSpec {
        blob: Digest::of(blob),
        format,
        compression,
        diff_id: None,
        source: memory(blob.to_vec()),
        annotations: BTreeMap::new(),
        external: None,
        soci: None,
    }
}

fn erofs(blob: &[u8]) -> LayerSpec {
    spec(blob, LayerFormat::Erofs, Compression::None)
}

struct Node {
    _dir: tempfile::TempDir,
    store: Arc<Store>,
}

impl Node {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(dir.path(), Options::default()).unwrap());
        Self { store, _dir: dir }
    }

    async fn try_open(&self, layers: &[LayerSpec]) -> Result<Opened, ImageError> {
        open(&self.store, layers, &Timeline::new(Clock::system())).await
    }

    async fn open(&self, layers: &[LayerSpec]) -> Opened {
        self.try_open(layers).await.unwrap()
    }
}

/// All that can be read of a path, but for what tells about the layer's form.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    node: Inode,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    target: Vec<u8>,
    content: Option<Digest>,
}

/// What an image shows, by path. The root's attributes are nobody's.
async fn shown(image: &Image) -> BTreeMap<String, Shown> {
    let tree = image.tree();
    let mut all = BTreeMap::new();
    for (path, id) in tree.below(glowplug_image::Tree::ROOT) {
        let node = tree.node(id).unwrap();
        let content = match node.kind {
            Kind::File => {
                let bytes = image.read(id, 0, node.size as u32).await.unwrap();
                assert_eq!(bytes.len() as u64, node.size);
                Some(Digest::of(&bytes))
            }
            _ => None,
        };
        let target = match node.kind {
            Kind::Symlink => image.entry(node).unwrap().link.clone(),
            _ => Vec::new(),
        };
        let node = Inode { origin: None, parent: 0, children: Vec::new(), ..node.clone() };
        let xattrs = tree.xattrs(id).to_vec();
        all.insert(String::from_utf8(path).unwrap(), Shown { node, xattrs, target, content });
    }
    all
}

#[tokio::test]
async fn layers_show_what_their_tars_show_however_they_were_made() {
    let tars = ["lower.tar", "upper.tar"].map(fixture);
    let specs = tars.iter().map(|tar| spec(tar, LayerFormat::Tar, Compression::None)).collect::<Vec<_>>();
    let expected = shown(&Node::new().open(&specs).await.image).await;
    assert!(expected.contains_key("opaque/above") && !expected.contains_key("opaque/below"));
    assert!(!expected.contains_key("gone") && !expected.contains_key("d/page"));
    for form in ["plain", "inline", "chunked"] {
        for compression in [Compression::None, Compression::Zstd] {
            let blobs = ["lower", "upper"].map(|layer| {
                let image = fixture(&format!("{layer}.{form}"));
                match compression {
                    Compression::Zstd => zstd::encode_all(&image[..], 1).unwrap(),
                    _ => image,
                }
            });
            let specs: Vec<_> =
                blobs.iter().map(|blob| spec(blob, LayerFormat::Erofs, compression)).collect();
            let node = Node::new();
            let opened = node.open(&specs).await;
            assert_eq!((opened.streamed, opened.adopted), (2, 0));
            assert!(opened.image.is_complete());
            let found = shown(&opened.image).await;
            for (path, there) in &expected {
                assert_eq!(found.get(path), Some(there), "{path}, {form}, {compression:?}");
            }
            assert_eq!(found.len(), expected.len(), "{form}, {compression:?}");
            // The kernel takes whole pages of the data files.
            opened.image.erofs().unwrap();
            drop(opened);
            let again = node.open(&specs).await;
            assert_eq!((again.known, again.streamed), (2, 0));
            assert_eq!(shown(&again.image).await, expected);
        }
    }
}
