//! A layer: its tar, its compressed bytes, and the digests of both.

use std::io::Write as _;

use bytes::Bytes;
use glowplug_base::Digest;
use glowplug_oci::{Compression, media};

use crate::Tree;

/// One layer of a test image.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The bytes as a registry has them.
    pub blob: Bytes,
    /// The tar inside.
    pub tar: Bytes,
    /// OCI media type of `blob`; Docker images translate it.
    pub media_type: String,
    /// How `blob` is compressed.
    pub compression: Compression,
    /// Annotations of the layer's descriptor.
    pub annotations: Vec<(String, String)>,
}

impl Layer {
    /// A gzip layer of one member, as Docker and BuildKit write it.
    pub fn gzip(fill: impl FnOnce(&mut Tree)) -> Self {
        Self::from_tar(Tree::build(fill), Compression::Gzip)
    }

    /// A zstd layer of one frame.
    pub fn zstd(fill: impl FnOnce(&mut Tree)) -> Self {
        Self::from_tar(Tree::build(fill), Compression::Zstd)
    }

    /// An uncompressed layer.
    pub fn plain(fill: impl FnOnce(&mut Tree)) -> Self {
        Self::from_tar(Tree::build(fill), Compression::None)
    }

    /// A layer of a tar that is there already.
    pub fn from_tar(tar: impl Into<Bytes>, compression: Compression) -> Self {
        let tar = tar.into();
        Self::in_parts(tar, compression, usize::MAX)
    }

    /// A layer whose tar is compressed in pieces of `part_bytes`: gzip members or zstd frames.
    pub fn in_parts(tar: impl Into<Bytes>, compression: Compression, part_bytes: usize) -> Self {
        let tar: Bytes = tar.into();
        let parts = tar.chunks(part_bytes.max(1));
        let (blob, media_type) = match compression {
            Compression::None => (tar.clone(), media::OCI_LAYER),
            Compression::Gzip => (parts.flat_map(gzip).collect(), media::OCI_LAYER_GZIP),
            Compression::Zstd => (parts.flat_map(zstd).collect(), media::OCI_LAYER_ZSTD),
        };
        Self { blob, tar, media_type: media_type.to_owned(), compression, annotations: Vec::new() }
    }

    /// Bytes that are what they are: broken layers, unknown types. `tar` gives the digest of the configuration.
    pub fn raw(blob: impl Into<Bytes>, tar: impl Into<Bytes>, media_type: &str) -> Self {
        Self {
            blob: blob.into(),
            tar: tar.into(),
            media_type: media_type.to_owned(),
            compression: Compression::None,
            annotations: Vec::new(),
        }
    }

    /// Adds an annotation to the layer's descriptor.
    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Digest of the bytes as a registry has them.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.blob)
    }

    /// Digest of the tar.
    pub fn diff_id(&self) -> Digest {
        Digest::of(&self.tar)
    }
}

fn gzip(part: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(part).and_then(|()| encoder.finish()).expect("writing to memory cannot fail")
}

fn zstd(part: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(part, 3).expect("writing to memory cannot fail")
}
