//! What a layer's media type says about its bytes.

use glowplug_base::{Hint, Hinted};

use crate::media;

/// What a layer's bytes are once they are decompressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LayerFormat {
    /// A tar archive.
    Tar,
    /// An EROFS image, as containerd has layers that a kernel can mount.
    Erofs,
}

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, one or many members.
    Gzip,
    /// zstd, one or many frames.
    Zstd,
}

/// A layer that can be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LayerKind {
    /// What it is once it is decompressed.
    pub format: LayerFormat,
    /// How it is compressed.
    pub compression: Compression,
    /// Not distributed by the registry; its descriptor may carry `urls`.
    pub foreign: bool,
}

/// Why a layer cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayerError {
    /// It is encrypted.
    #[error("layer type {0:?} is encrypted")]
    Encrypted(String),
    /// It is an EROFS image in a form that nobody defined yet, or is compressed by something else than zstd.
    #[error("EROFS layer type {0:?} is not supported")]
    Erofs(String),
    /// It is something else than a file system layer.
    #[error("unknown layer type {0:?}")]
    Unknown(String),
}

impl Hinted for LayerError {
    fn hint(&self) -> Option<Hint> {
        Some(match self {
            Self::Encrypted(_) => Hint::new("decrypt the image first; encrypted layers are not supported"),
            Self::Erofs(_) => Hint::new(
                "make the layer anew, as containerd does: application/vnd.erofs.layer.v1, with +zstd or without",
            ),
            Self::Unknown(_) => {
                Hint::new("check that the reference names a container image, not another artifact")
            }
        })
    }
}

impl LayerKind {
    /// Reads a layer's media type.
    ///
    /// # Errors
    /// See [`LayerError`]; all variants carry the type.
    pub fn of(media_type: &str) -> Result<Self, LayerError> {
        let name = media::bare(media_type);
        let kind = |compression, foreign| Ok(Self { format: LayerFormat::Tar, compression, foreign });
        let erofs = |compression| Ok(Self { format: LayerFormat::Erofs, compression, foreign: false });
        if let Some(rest) = name.strip_suffix("+encrypted") {
            return match Self::of(rest) {
                Ok(_) => Err(LayerError::Encrypted(name)),
                Err(_) => Err(LayerError::Unknown(name)),
            };
        }
        match name.as_str() {
            media::OCI_LAYER | media::DOCKER_LAYER => kind(Compression::None, false),
            media::OCI_LAYER_GZIP | media::DOCKER_LAYER_GZIP => kind(Compression::Gzip, false),
            media::OCI_LAYER_ZSTD | media::DOCKER_LAYER_ZSTD => kind(Compression::Zstd, false),
            "application/vnd.oci.image.layer.nondistributable.v1.tar"
            | "application/vnd.docker.image.rootfs.foreign.diff.tar" => kind(Compression::None, true),
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
            | "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" => kind(Compression::Gzip, true),
            "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"
            | "application/vnd.docker.image.rootfs.foreign.diff.tar.zstd" => kind(Compression::Zstd, true),
            media::EROFS_LAYER => erofs(Compression::None),
            media::EROFS_LAYER_ZSTD => erofs(Compression::Zstd),
            other if other.starts_with(media::EROFS_PREFIX) => {
                Err(LayerError::Erofs(name.chars().take(200).collect()))
            }
            _ => Err(LayerError::Unknown(name.chars().take(200).collect())),
        }
    }
}
