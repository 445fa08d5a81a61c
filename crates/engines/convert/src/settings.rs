//! What is asked for.

use std::ops::RangeInclusive;

use glowplug_oci::{Platform, media};

use crate::ConvertError;

/// The chunk sizes that can be asked for, in bytes. A chunk is compressed in memory, and whoever reads a byte of it fetches
/// and decodes all of it; below some ten KiB the table outweighs what is listed.
pub const CHUNK_BYTES: RangeInclusive<u64> = 16 << 10..=32 << 20;

/// Longest piece of a file that is compressed by itself unless told otherwise, in bytes, as the reference tools have it.
pub const DEFAULT_CHUNK_BYTES: u64 = glowplug_toc::files::DEFAULT_CHUNK_BYTES;

/// The shortest layers that can be asked for, in bytes of tar. Even much longer ones cost more requests than they save time.
pub const LEAST_LAYER_BYTES: u64 = 64 << 10;

/// Longest tar of a layer that is not taken apart unless told otherwise, in bytes: unpacking it takes a second or so. A
/// container engine unpacks a layer only when all of it is there, and the next only when it is done, so that in layers of
/// a second downloading and unpacking overlap; and 125 of them, more than which Docker does not take, are an image of 31
/// GiB.
pub const DEFAULT_LAYER_BYTES: u64 = 256 << 20;

/// How layers are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// gzip members of about 1 MiB.
    Gzip,
    /// zstd frames of about 1 MiB.
    Zstd,
    /// gzip with a table of contents. The tar gets a landmark and the table, so its digest changes.
    Estargz,
    /// zstd with a table of contents beside the tar.
    ZstdChunked(Dialect),
}

/// Whose zstd:chunked it is: readers of one do not find the table of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// That of podman, buildah and CRI-O.
    Storage,
    /// That of the stargz snapshotter: nerdctl, containerd.
    Stargz,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How layers are packed.
    pub encoding: Encoding,
    /// Level of the compressor, one of [`Encoding::levels`].
    pub level: i32,
    /// Longest piece of a file that is compressed by itself, in bytes, one of [`CHUNK_BYTES`]; only formats with a table use
    /// it.
    pub chunk_bytes: u64,
    /// The platforms to take from an image for several; all of them if there is none.
    pub platforms: Vec<Platform>,
    /// Paths of files in the image that come first in their layers, in this order. Only the layer that shows a file moves
    /// it.
    pub order: Vec<String>,
    /// Longest tar of a layer in bytes: longer ones become several layers. As long as they are if there is none.
    pub layer_bytes: Option<u64>,
}

impl Encoding {
    /// Whether it is gzip underneath, and not zstd.
    pub const fn is_gzip(self) -> bool {
        matches!(self, Self::Gzip | Self::Estargz)
    }

    /// The levels of its compressor, from quick to small.
    pub const fn levels(self) -> RangeInclusive<i32> {
        if self.is_gzip() { 1..=12 } else { 1..=22 }
    }

    /// The level that is worth its time.
    pub const fn default_level(self) -> i32 {
        if self.is_gzip() { 6 } else { 3 }
    }

    /// Media type of a layer.
    pub const fn media_type(self) -> &'static str {
        if self.is_gzip() { media::OCI_LAYER_GZIP } else { media::OCI_LAYER_ZSTD }
    }

    /// The dialect of the table of contents, if there is one.
    pub(crate) const fn table(self) -> Option<glowplug_toc::Dialect> {
        match self {
            Self::Gzip | Self::Zstd => None,
            Self::Estargz => Some(glowplug_toc::Dialect::Estargz),
            Self::ZstdChunked(Dialect::Storage) => Some(glowplug_toc::Dialect::Storage),
            Self::ZstdChunked(Dialect::Stargz) => Some(glowplug_toc::Dialect::Stargz),
        }
    }
}

impl Settings {
    /// All platforms in `encoding`, as its reference tool does it.
    pub const fn new(encoding: Encoding) -> Self {
        let level = encoding.default_level();
        Self {
            encoding,
            level,
            chunk_bytes: DEFAULT_CHUNK_BYTES,
            platforms: Vec::new(),
            order: Vec::new(),
            layer_bytes: None,
        }
    }

    /// Whether tars may come out in another order or number.
    pub(crate) const fn rearranges(&self) -> bool {
        !self.order.is_empty() || self.layer_bytes.is_some()
    }

    /// Says what cannot be had of it.
    ///
    /// # Errors
    /// [`ConvertError::Settings`] for a level that there is not, chunks that are too short or too long, or layers that are
    /// too short.
    pub fn check(&self) -> Result<(), ConvertError> {
        let (level, chunk_bytes) = (self.level, self.chunk_bytes);
        let levels = self.encoding.levels();
        if !levels.contains(&level) {
            let (low, high) = levels.into_inner();
            return Err(ConvertError::Settings(format!("level {level} is not one of {low} to {high}")));
        }
        if !CHUNK_BYTES.contains(&chunk_bytes) {
            let (low, high) = CHUNK_BYTES.into_inner();
            let what = format!("chunks of {chunk_bytes} bytes: {low} to {high} can be had");
            return Err(ConvertError::Settings(what));
        }
        if let Some(bytes) = self.layer_bytes.filter(|bytes| *bytes < LEAST_LAYER_BYTES) {
            let what = format!("layers of {bytes} bytes: {LEAST_LAYER_BYTES} is the least");
            return Err(ConvertError::Settings(what));
        }
        Ok(())
    }
}
