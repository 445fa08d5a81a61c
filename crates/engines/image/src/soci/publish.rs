//! Makes the index of an image and puts it where [`Lookup`](super::Lookup) finds it.
//!
//! zTOCs are pushed as they are made, so that memory holds those of the layers at work only. Manifests follow when every
//! blob is there, the one that is found by a name last of all: nobody meets an index whose parts are missing. The same
//! image gives the same index, so that doing it again changes nothing.
//!
//! What this program would not take itself is not published: each zTOC goes through [`from_ztoc`] first.

use std::collections::HashMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use glowplug_base::size::human;
use glowplug_base::{Digest, Hint, Hinted};
use glowplug_oci::{Compression, Descriptor, LayerFormat, LayerKind, media};
use glowplug_registry::{Error, Repository, ResolvedImage, ResolvedLayer, Target};
use glowplug_source::RangeSource;
use glowplug_toc::index::{CONFIG, MANIFEST_MEDIA_TYPE};
use glowplug_toc::ztoc::DEFAULT_SPAN_BYTES;
use glowplug_toc::{IndexVersion, Subject, Ztoc, ZtocDescriptor};

use super::discover::largest_ztoc;
use super::{SociError, build_index, convert, describe, export, from_ztoc};
use crate::error::chain;

/// Layers at work at the same time: each takes a core for decoding, and memory for its windows.
const LAYERS_AT_ONCE: usize = 3;

/// Smallest layer that gets a zTOC unless told otherwise, in bytes, as the reference tool has it: a smaller one is here
/// sooner than its zTOC is worth.
const MIN_LAYER_BYTES: u64 = 10 << 20;

/// The span sizes that can be asked for, in bytes. A smaller one makes zTOCs that outweigh what they save, for each span of
/// gzip costs a window of 32 KiB; a larger one makes the first byte of a span wait for the download of the rest.
pub const SPAN_BYTES: RangeInclusive<u64> = 256 << 10..=16 << 20;

/// How finely an image is indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grain {
    /// Layers of fewer bytes get no zTOC.
    pub min_layer_bytes: u64,
    /// Decoded bytes of a span, one of [`SPAN_BYTES`].
    pub span_bytes: u64,
}

impl Default for Grain {
    /// The reference tool's.
    fn default() -> Self {
        Self { min_layer_bytes: MIN_LAYER_BYTES, span_bytes: DEFAULT_SPAN_BYTES }
    }
}

/// Which kind of index to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// One that refers to the image, which stays as it is.
    V1,
    /// One that a copy of the image names, published under a tag. The copy has another digest than the image.
    V2 {
        /// The tag, in the image's own repository.
        tag: String,
    },
}

/// What became of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It has a zTOC.
    Ztoc {
        /// Digest of the zTOC.
        digest: Digest,
        /// Its length in bytes.
        size: u64,
    },
    /// It has none and is fetched as a whole.
    Skipped(Skip),
}

/// Why a layer has no zTOC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Skip {
    /// It is smaller than so many bytes.
    Small(u64),
    /// It is compressed with zstd.
    Zstd,
    /// SOCI cannot say what is in it, or only in a way that helps nobody.
    Useless(String),
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Small(limit) => write!(f, "smaller than {}", human(*limit)),
            Self::Zstd => f.write_str("zstd: SOCI describes gzip and uncompressed layers only"),
            Self::Useless(reason) => f.write_str(reason),
        }
    }
}

/// An index that can be found now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// What became of each layer, lowest first.
    pub layers: Vec<Outcome>,
    /// Digest of the index.
    pub index: Digest,
    /// Digest of the image's manifest: the image's own, or for version 2 the copy's.
    pub manifest: Digest,
    /// For version 2, the digest that the tag names.
    pub tagged: Option<Digest>,
}

/// Why an index could not be published. Nothing can be found then that could not be found before.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A layer could not be read, or is not what it should be.
    #[error(transparent)]
    Soci(#[from] SociError),
    /// The repository does not take it.
    #[error("publish the index of {image}")]
    Push {
        /// The image.
        image: String,
        /// Why.
        #[source]
        source: Error,
    },
    /// No layer got a zTOC.
    #[error("no layer of {image} can have a zTOC: {why}")]
    Nothing {
        /// The image.
        image: String,
        /// Why each layer has none, in words.
        why: String,
        /// Whether some were only too small.
        small: bool,
    },
    /// The image's manifest cannot be rewritten.
    #[error("rewrite the manifest of {image}")]
    Manifest {
        /// The image.
        image: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl Hinted for PublishError {
    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Soci(error) => error.hint(),
            Self::Push { source, .. } => source.hint(),
            Self::Nothing { small: true, .. } => {
                Some(Hint::new("take smaller layers, too, with --min-layer-size 0"))
            }
            Self::Nothing { .. } => Some(Hint::new("push the image with gzip layers")),
            Self::Manifest { .. } => None,
        }
    }
}

/// Makes the index of `image`, whose layers' blobs come from `sources`, lowest first, and publishes it in `repository`,
/// which is the image's own. `told` hears what became of a layer, by its number, as soon as it is known.
///
/// # Errors
/// See [`PublishError`]. A repository that takes nothing says so before any layer is read.
pub async fn publish(
    repository: &dyn Repository,
    image: &ResolvedImage,
    sources: &[Arc<dyn RangeSource>],
    format: &Format,
    grain: Grain,
    told: &(dyn Fn(usize, &Outcome) + Sync),
) -> Result<Published, PublishError> {
    let refused = |source| PublishError::Push { image: image.name.clone(), source };
    repository.check_push().await.map_err(refused)?;
    // Every index has this configuration.
    repository.push_blob(Bytes::from_static(CONFIG)).await.map_err(refused)?;

    let rewritten = |layer: &Descriptor| match format {
        Format::V1 => layer.media_type.clone(),
        Format::V2 { .. } => convert::layer_type(&layer.media_type),
    };
    let jobs = image.layers.iter().zip(sources).enumerate().filter(|(at, (layer, _))| {
        // One layer may be there twice; one zTOC is enough.
        !image.layers[..*at].iter().any(|earlier| earlier.descriptor.digest == layer.descriptor.digest)
    });
    let working = futures::stream::iter(jobs.map(|(at, (layer, source))| {
        let descriptor = Descriptor { media_type: rewritten(&layer.descriptor), ..layer.descriptor.clone() };
        let compression = layer.kind.compression;
        async move {
            let made = match skip(&descriptor, layer.kind, grain.min_layer_bytes) {
                Some(skip) => Err(skip),
                None => {
                    one_layer(repository, image, &descriptor, compression, &**source, grain.span_bytes)
                        .await?
                }
            };
            let outcome = match &made {
                Ok(ztoc) => Outcome::Ztoc { digest: ztoc.digest, size: ztoc.size },
                Err(skip) => Outcome::Skipped(skip.clone()),
            };
            told(at, &outcome);
            Ok::<_, PublishError>((descriptor.digest, outcome, made.ok()))
        }
    }));
    let made: Vec<_> = working.buffered(LAYERS_AT_ONCE).try_collect().await?;
    let ztocs: Vec<ZtocDescriptor> = made.iter().filter_map(|(_, _, ztoc)| ztoc.clone()).collect();
    let outcomes: HashMap<Digest, Outcome> = made.into_iter().map(|(blob, it, _)| (blob, it)).collect();
    let outcome = |layer: &ResolvedLayer| outcomes.get(&layer.descriptor.digest).cloned();
    let layers: Vec<Outcome> = image.layers.iter().filter_map(outcome).collect();
    if ztocs.is_empty() {
        return Err(nothing(image, &layers));
    }
    let (index, manifest, tagged) = match format {
        Format::V1 => beside(repository, image, ztocs).await.map_err(refused)?,
        Format::V2 { tag } => within(repository, image, ztocs, tag).await?,
    };
    Ok(Published { layers, index, manifest, tagged })
}

/// Whether a layer is passed over unread.
fn skip(layer: &Descriptor, kind: LayerKind, min_layer_bytes: u64) -> Option<Skip> {
    match kind.compression {
        _ if kind.format == LayerFormat::Erofs => {
            Some(Skip::Useless("SOCI cannot describe EROFS layers".to_owned()))
        }
        Compression::Zstd => Some(Skip::Zstd),
        _ if layer.size < min_layer_bytes => Some(Skip::Small(min_layer_bytes)),
        _ => None,
    }
}

/// Makes and pushes the zTOC of a layer.
async fn one_layer(
    repository: &dyn Repository,
    image: &ResolvedImage,
    layer: &Descriptor,
    compression: Compression,
    source: &dyn RangeSource,
    span_bytes: u64,
) -> Result<Result<ZtocDescriptor, Skip>, PublishError> {
    let blob = layer.digest;
    let ztoc = match export(source, blob, compression, span_bytes).await {
        Ok(ztoc) => ztoc,
        Err(SociError::Unsupported { what, .. }) => {
            return Ok(Err(Skip::Useless(format!("SOCI cannot describe {what}"))));
        }
        Err(error) => return Err(error.into()),
    };
    let layer = layer.clone();
    let encoding = tokio::task::spawn_blocking(move || encode(&ztoc, &layer, compression));
    let broken = |panic: tokio::task::JoinError| SociError::Layer { layer: blob, reason: panic.to_string() };
    let encoded = encoding.await.map_err(broken)?;
    let (described, bytes) = match encoded {
        Ok(encoded) => encoded,
        Err(reason) => return Ok(Err(Skip::Useless(reason))),
    };
    let refused = |source| PublishError::Push { image: image.name.clone(), source };
    repository.push_blob(bytes).await.map_err(refused)?;
    Ok(Ok(described))
}

/// The bytes of a zTOC and what an index says about it, or why nobody would use it.
fn encode(
    ztoc: &Ztoc,
    layer: &Descriptor,
    compression: Compression,
) -> Result<(ZtocDescriptor, Bytes), String> {
    from_ztoc(ztoc, layer.digest, layer.size, compression).map_err(|error| chain(&error))?;
    let encoded = ztoc.encode().map_err(|error| chain(&error))?;
    let (size, largest) = (encoded.len() as u64, largest_ztoc(layer.size));
    if size > largest {
        return Err(format!("its zTOC of {} would be larger than the layer itself", human(size)));
    }
    Ok((describe(ztoc, &encoded, layer), encoded.into()))
}

/// Nothing was made: says why.
fn nothing(image: &ResolvedImage, layers: &[Outcome]) -> PublishError {
    let mut why: Vec<String> = Vec::new();
    let skips = layers.iter().filter_map(|outcome| match outcome {
        Outcome::Skipped(skip) => Some(skip),
        Outcome::Ztoc { .. } => None,
    });
    for skip in skips.clone().map(ToString::to_string) {
        if !why.contains(&skip) {
            why.push(skip);
        }
    }
    if why.is_empty() {
        why.push("it has no layers".to_owned());
    }
    let small = skips.into_iter().any(|skip| matches!(skip, Skip::Small(_)));
    PublishError::Nothing { image: image.name.clone(), why: why.join("; "), small }
}

type Names = (Digest, Digest, Option<Digest>);

/// Version 1: the index refers to the image.
async fn beside(
    repository: &dyn Repository,
    image: &ResolvedImage,
    ztocs: Vec<ZtocDescriptor>,
) -> Result<Names, Error> {
    let media_type = image.manifest.media_type.as_deref().unwrap_or(media::OCI_MANIFEST).to_owned();
    let (digest, size) = (image.manifest_digest, image.manifest_bytes.len() as u64);
    let version = IndexVersion::V1(Some(Subject { media_type, digest, size }));
    let bytes = Bytes::from(build_index(version, ztocs).encode());
    let target = Target::Digest(Digest::of(&bytes));
    let index = repository.push_manifest(&target, bytes, MANIFEST_MEDIA_TYPE).await?;
    Ok((index, image.manifest_digest, None))
}

/// Version 2: a copy of the image names the index.
async fn within(
    repository: &dyn Repository,
    image: &ResolvedImage,
    ztocs: Vec<ZtocDescriptor>,
    tag: &str,
) -> Result<Names, PublishError> {
    let refused = |source| PublishError::Push { image: image.name.clone(), source };
    let malformed = |source| PublishError::Manifest { image: image.name.clone(), source };
    let soci = Bytes::from(build_index(IndexVersion::V2, ztocs).encode());
    let manifest = Bytes::from(convert::manifest(image, &Digest::of(&soci)).map_err(malformed)?);
    let index = Bytes::from(convert::index(image, &manifest, &soci).map_err(malformed)?);
    let names = (Digest::of(&soci), Digest::of(&manifest), Some(Digest::of(&index)));
    for (bytes, media_type) in [(soci, MANIFEST_MEDIA_TYPE), (manifest, media::OCI_MANIFEST)] {
        let target = Target::Digest(Digest::of(&bytes));
        repository.push_manifest(&target, bytes, media_type).await.map_err(refused)?;
    }
    let target = Target::Tag(tag.to_owned());
    repository.push_manifest(&target, index, media::OCI_INDEX).await.map_err(refused)?;
    Ok(names)
}
