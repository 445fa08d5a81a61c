//! Images on disk: OCI layout directories and archives, Docker archives.

use std::path::Path;

use glowplug_base::Digest;
use glowplug_oci::{Document, Index, Limits, media};

use crate::{Image, Tree};

const LAYOUT_FILE: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

impl Image {
    /// Writes an OCI layout directory; an existing one gets another self.
    pub fn write_layout(&self, dir: &Path, tag: Option<&str>) {
        let blobs = dir.join("blobs/sha256");
        std::fs::create_dir_all(&blobs).expect("a temporary directory is writable");
        let write = |path: &Path, bytes: &[u8]| {
            std::fs::write(path, bytes).expect("a temporary directory is writable")
        };
        for blob in self.blobs().chain([&self.manifest]) {
            write(&blobs.join(Digest::of(blob).hex()), blob);
        }
        write(&dir.join("oci-layout"), LAYOUT_FILE.as_bytes());
        let index = dir.join("index.json");
        let mut entries = match std::fs::read(&index) {
            Ok(bytes) => match Document::parse(&bytes, Some(media::OCI_INDEX), &Limits::default()) {
                Ok(Document::Index(index)) => index.manifests,
                other => panic!("index.json is no index: {other:?}"),
            },
            Err(_) => Vec::new(),
        };
        entries.extend(index_of(self, tag).manifests);
        write(&index, &to_json(&Index::new(entries)));
    }

    /// Writes an OCI layout as a tar file.
    pub fn write_oci_archive(&self, file: &Path, tag: Option<&str>) {
        let tar = Tree::build(|tree| {
            tree.file("oci-layout", LAYOUT_FILE).dir("blobs").dir("blobs/sha256");
            for blob in self.blobs().chain([&self.manifest]) {
                tree.file(&format!("blobs/sha256/{}", Digest::of(blob).hex()), blob);
            }
            tree.file("index.json", to_json(&index_of(self, tag)));
        });
        std::fs::write(file, tar).expect("a temporary directory is writable");
    }

    /// Writes what `docker save` writes, with the layers as they are in this self.
    pub fn write_docker_archive(&self, file: &Path, name: &str) {
        let config = format!("{}.json", Digest::of(&self.config).hex());
        let layer = |at: usize| format!("{at:064x}/layer.tar");
        let layers: Vec<_> = (0..self.layers.len()).map(layer).collect();
        let manifest =
            serde_json::json!([{"Config": config, "RepoTags": [name], "Layers": layers}]).to_string();
        let tar = Tree::build(|tree| {
            tree.file(&config, &self.config);
            for (at, content) in self.layers.iter().enumerate() {
                // As old versions of Docker do: a layer that was there already becomes a link.
                match self.layers[..at].iter().position(|earlier| earlier.blob == content.blob) {
                    Some(earlier) => tree.symlink(&layer(at), &format!("../{}", layer(earlier))),
                    None => tree.file(&layer(at), &content.blob),
                };
            }
            tree.file("manifest.json", &manifest);
        });
        std::fs::write(file, tar).expect("a temporary directory is writable");
    }
}

fn index_of(image: &Image, tag: Option<&str>) -> Index {
    let mut descriptor = image.descriptor();
    descriptor.annotations.extend(tag.map(|tag| (media::REF_NAME.to_owned(), tag.to_owned())));
    Index::new(vec![descriptor])
}

fn to_json(index: &Index) -> Vec<u8> {
    serde_json::to_vec(index).expect("an index is JSON")
}
