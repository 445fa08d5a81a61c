//! From a repository to one image for one platform.

use bytes::Bytes;
use glowplug_base::Digest;
use glowplug_oci::{
    Descriptor, Document, ImageConfiguration, Index, LayerKind, Limits, Manifest, Platform, check_config,
    parse_config,
};

use crate::{Error, Repository, Target};

/// How many indexes may lead to an image. One is common, two occur.
const MAX_INDEXES: usize = 4;

/// One layer of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedLayer {
    /// The blob.
    pub descriptor: Descriptor,
    /// What the blob is.
    pub kind: LayerKind,
    /// Digest of the uncompressed tar.
    pub diff_id: Digest,
}

/// One image for one platform: everything about it but its layers' bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedImage {
    /// The image as asked for, for messages.
    pub name: String,
    /// Digest of the manifest: the image's identity here.
    pub manifest_digest: Digest,
    /// The manifest.
    pub manifest: Manifest,
    /// The manifest's bytes.
    pub manifest_bytes: Bytes,
    /// The index that lists the manifest, if it was reached through one.
    pub index: Option<Index>,
    /// Digest of that index.
    pub index_digest: Option<Digest>,
    /// The configuration's bytes.
    pub config_bytes: Bytes,
    /// The configuration.
    pub config: ImageConfiguration,
    /// The layers, lowest first.
    pub layers: Vec<ResolvedLayer>,
}

/// Follows `target` to the image that runs on `platform`.
///
/// # Errors
/// See [`Error`]: what cannot be served (schema 1, encrypted or unknown layers, another platform, an artifact that is
/// no image) is refused here, before any layer is touched.
pub async fn resolve(
    repository: &dyn Repository,
    target: impl Into<Target>,
    platform: &Platform,
    limits: &Limits,
) -> Result<ResolvedImage, Error> {
    let first = target.into();
    let name = match &first {
        Target::Only => repository.name().to_owned(),
        Target::Tag(tag) => format!("{}:{tag}", repository.name()),
        Target::Digest(digest) => format!("{}@{digest}", repository.name()),
    };
    let (mut target, mut expected_type, mut index) = (first, None, None);
    for _ in 0..=MAX_INDEXES {
        let fetched = repository.document(&target).await?;
        let told: Option<String> = fetched.media_type.clone().or(expected_type.take());
        let document = Document::parse(&fetched.bytes, told.as_deref(), limits)
            .map_err(|source| Error::Document { name: name.clone(), source })?;
        match document {
            Document::Manifest(manifest) => {
                let config = configuration(repository, &name, &manifest, platform, limits).await?;
                let (index, index_digest) = index.unzip();
                let (config_bytes, config, layers) = config;
                return Ok(ResolvedImage {
                    name,
                    manifest_digest: fetched.digest,
                    manifest,
                    manifest_bytes: fetched.bytes,
                    index,
                    index_digest,
                    config_bytes,
                    config,
                    layers,
                });
            }
            Document::Index(found) => {
                let chosen =
                    found.select(platform).map_err(|source| Error::Select { name: name.clone(), source })?;
                target = Target::Digest(chosen.digest);
                expected_type = Some(chosen.media_type.clone());
                index = Some((found, fetched.digest));
            }
        }
    }
    Err(Error::TooDeep(name))
}

async fn configuration(
    repository: &dyn Repository,
    name: &str,
    manifest: &Manifest,
    platform: &Platform,
    limits: &Limits,
) -> Result<(Bytes, ImageConfiguration, Vec<ResolvedLayer>), Error> {
    let refused = |source| Error::Config { name: name.to_owned(), source };
    check_config(&manifest.config, limits).map_err(refused)?;
    let kinds = manifest.layers.iter().map(|layer| LayerKind::of(&layer.media_type));
    let kinds: Vec<LayerKind> =
        kinds.collect::<Result<_, _>>().map_err(|source| Error::Layer { name: name.to_owned(), source })?;
    let bytes = repository.small_blob(&manifest.config, limits.config_bytes as u64).await?;
    let (config, diff_ids) = parse_config(&bytes, kinds.len(), limits).map_err(refused)?;
    let found = Platform {
        variant: config.variant().clone(),
        ..Platform::new(config.os().to_string(), config.architecture().to_string())
    };
    if !found.runs_on(platform) {
        let (found, wanted) = (found.to_string(), platform.to_string());
        return Err(Error::Platform { name: name.to_owned(), found, wanted });
    }
    let layers = manifest.layers.iter().zip(kinds).zip(diff_ids);
    let layers = layers.map(|((descriptor, kind), diff_id)| ResolvedLayer {
        descriptor: descriptor.clone(),
        kind,
        diff_id,
    });
    Ok((bytes, config, layers.collect()))
}
