//! From a repository to one image for one platform, in one go or step by step.

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

/// An index: what it lists is not looked at yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedIndex {
    /// The index as asked for, for messages.
    pub name: String,
    /// Its digest.
    pub digest: Digest,
    /// Its bytes.
    pub bytes: Bytes,
    /// The index.
    pub index: Index,
}

/// What a name or digest leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// An image.
    Image(Box<ResolvedImage>),
    /// Several.
    Index(Box<ResolvedIndex>),
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
    let name = name_of(repository, &first);
    let (mut target, mut expected_type, mut index) = (first, None::<String>, None);
    for _ in 0..=MAX_INDEXES {
        match look(repository, &target, &name, expected_type.as_deref(), limits).await? {
            Found::Image(mut image) => {
                (image.index, image.index_digest) = index.unzip();
                check_platform(&image, platform)?;
                return Ok(*image);
            }
            Found::Index(found) => {
                let chosen = found
                    .index
                    .select(platform)
                    .map_err(|source| Error::Select { name: name.clone(), source })?;
                target = Target::Digest(chosen.digest);
                expected_type = Some(chosen.media_type.clone());
                index = Some((found.index, found.digest));
            }
        }
    }
    Err(Error::TooDeep(name))
}

/// Looks at what `target` is, one step of the way: an image for whatever platform, or an index. `told` is what a
/// descriptor says that it is.
///
/// # Errors
/// As [`resolve`], but that every platform is welcome.
pub async fn look_at(
    repository: &dyn Repository,
    target: &Target,
    told: Option<&str>,
    limits: &Limits,
) -> Result<Found, Error> {
    look(repository, target, &name_of(repository, target), told, limits).await
}

/// `target` in `repository`, for messages.
fn name_of(repository: &dyn Repository, target: &Target) -> String {
    match target {
        Target::Only => repository.name().to_owned(),
        Target::Tag(tag) => format!("{}:{tag}", repository.name()),
        Target::Digest(digest) => format!("{}@{digest}", repository.name()),
    }
}

async fn look(
    repository: &dyn Repository,
    target: &Target,
    name: &str,
    told: Option<&str>,
    limits: &Limits,
) -> Result<Found, Error> {
    let name = name.to_owned();
    let fetched = repository.document(target).await?;
    let told = fetched.media_type.as_deref().or(told);
    let document = Document::parse(&fetched.bytes, told, limits)
        .map_err(|source| Error::Document { name: name.clone(), source })?;
    match document {
        Document::Manifest(manifest) => {
            let (config_bytes, config, layers) = configuration(repository, &name, &manifest, limits).await?;
            Ok(Found::Image(Box::new(ResolvedImage {
                name,
                manifest_digest: fetched.digest,
                manifest,
                manifest_bytes: fetched.bytes,
                index: None,
                index_digest: None,
                config_bytes,
                config,
                layers,
            })))
        }
        Document::Index(index) => {
            let (digest, bytes) = (fetched.digest, fetched.bytes);
            Ok(Found::Index(Box::new(ResolvedIndex { name, digest, bytes, index })))
        }
    }
}

fn check_platform(image: &ResolvedImage, wanted: &Platform) -> Result<(), Error> {
    let found = image.platform();
    if found.runs_on(wanted) {
        return Ok(());
    }
    let (name, found, wanted) = (image.name.clone(), found.to_string(), wanted.to_string());
    Err(Error::Platform { name, found, wanted })
}

impl ResolvedImage {
    /// What it runs on, as its configuration says.
    pub fn platform(&self) -> Platform {
        Platform {
            variant: self.config.variant().clone(),
            ..Platform::new(self.config.os().to_string(), self.config.architecture().to_string())
        }
    }
}

async fn configuration(
    repository: &dyn Repository,
    name: &str,
    manifest: &Manifest,
    limits: &Limits,
) -> Result<(Bytes, ImageConfiguration, Vec<ResolvedLayer>), Error> {
    let refused = |source| Error::Config { name: name.to_owned(), source };
    check_config(&manifest.config, limits).map_err(refused)?;
    let kinds = manifest.layers.iter().map(|layer| LayerKind::of(&layer.media_type));
    let kinds: Vec<LayerKind> =
        kinds.collect::<Result<_, _>>().map_err(|source| Error::Layer { name: name.to_owned(), source })?;
    let bytes = repository.small_blob(&manifest.config, limits.config_bytes as u64).await?;
    let (config, diff_ids) = parse_config(&bytes, kinds.len(), limits).map_err(refused)?;
    let layers = manifest.layers.iter().zip(kinds).zip(diff_ids);
    let layers = layers.map(|((descriptor, kind), diff_id)| ResolvedLayer {
        descriptor: descriptor.clone(),
        kind,
        diff_id,
    });
    Ok((bytes, config, layers.collect()))
}
