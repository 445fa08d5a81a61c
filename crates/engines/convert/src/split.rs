//! Weights taken out of an image into a model artifact: the image gets small, and weights that images share are kept once.
//!
//! ```text
//! choose      the opened image -> the files to take, and those that have to stay
//! split       each layer with such files once: tar -> sieve -> the tar without them, packed anew as gzip; and each file,
//!             as it is, with its chunk table
//! publish     blobs, then the artifact's manifest, then the image's, then their names
//! ```
//!
//! Invariants: the layers' tars stay as they are but for what was taken, byte for byte; layers without such files stay
//! altogether. The slim image with its artifact shows what the image showed, entry by entry ([`glowplug_image::models`]). Equal
//! images give equal bytes on every machine. A name is given last.
//!
//! What an image index lists beside the one image is left behind, and so are indexes of the old layers.

mod choose;
mod documents;
mod sieve;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use glowplug_base::{ByteRange, Digest};
use glowplug_image::models::{MODELS_ANNOTATION, ModelFile, Models};
use glowplug_oci::{Compression, Descriptor, media};
use glowplug_registry::{BlobFile, Repository, ResolvedImage, ResolvedLayer, Target};
use glowplug_source::{RangeSource, read_all};
use glowplug_timeline::Cause;
use glowplug_toc::estargz::{NO_PREFETCH_LANDMARK, PREFETCH_LANDMARK, TOC_DIGEST_ANNOTATION, TOC_NAME};

pub use choose::{Chosen, DEFAULT_LEAST_BYTES, Left, Reason, Wish, choose};
use sieve::{Halt, Sieve, Taken};

use crate::ConvertError;
use crate::documents::NewLayer;
use crate::layer;
use crate::settings::{Encoding, Settings};
use crate::spool::{Spool, SpooledTar};
use crate::workers::Workers;

/// Pieces of a tar that may wait to be sieved, each of some 256 KiB.
const PIECES_AHEAD: usize = 8;
/// What eStargz puts into a tar, and what no reader would hide any more without its table.
const ESTARGZ_OWN: [&str; 3] = [TOC_NAME, PREFETCH_LANDMARK, NO_PREFETCH_LANDMARK];

/// Where something goes, and by which name.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The repository.
    pub repository: &'a dyn Repository,
    /// The name in it.
    pub name: &'a Target,
}

/// What was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Divided {
    /// Digest of the image's manifest as it was.
    pub old: Digest,
    /// Digest of the slim image's manifest.
    pub image: Digest,
    /// What the slim image says of the artifact.
    pub models: Models,
    /// The layers of the image before and after, in bytes.
    pub layer_bytes: (u64, u64),
    /// How many layers were made over.
    pub made_over: usize,
}

/// Hears how it goes, and may stand between a layer's bytes and whoever reads them: number of the layer, and its bytes.
pub type Watched<'a> = &'a (dyn Fn(usize, Arc<dyn RangeSource>) -> Arc<dyn RangeSource> + Sync);

/// Takes `chosen` out of `image`, whose blobs come from `from`: the files go to `model`, the slim image to `slim`. The slim
/// image says that the files are in the repository `known_as`, or if that has no name for others, that they are beside it.
///
/// # Errors
/// See [`ConvertError`]. Blobs may have been pushed then, but nothing that names them.
pub async fn split(
    image: &ResolvedImage,
    from: &dyn Repository,
    chosen: &[Chosen],
    model: Place<'_>,
    known_as: Option<String>,
    slim: Place<'_>,
    watched: Watched<'_>,
) -> Result<Divided, ConvertError> {
    if image.manifest.annotations.contains_key(MODELS_ANNOTATION) {
        let what = format!(
            "{} has its models beside it already; take them out of the image that it was made of",
            image.name
        );
        return Err(ConvertError::Settings(what));
    }
    if chosen.is_empty() {
        return Err(ConvertError::Settings(format!("{} has nothing to take out", image.name)));
    }
    let settings = Settings::new(Encoding::Gzip);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = Arc::new(Workers::start(threads, &settings).map_err(ConvertError::Settings)?);
    let mut splitter =
        Splitter { image, from, model, known_as, slim, settings, workers, files: Vec::new(), made_over: 0 };
    let mut layers = Vec::new();
    for (number, original) in image.layers.iter().enumerate() {
        if let Some(layer) = image.layers[..number]
            .iter()
            .position(|known| known.descriptor.digest == original.descriptor.digest)
        {
            let layer: &NewLayer = &layers[layer];
            layers.push(layer.clone());
            continue;
        }
        let paths: Vec<Vec<u8>> = chosen
            .iter()
            .filter(|file| file.layer == number)
            .map(|file| file.path.trim_start_matches('/').as_bytes().to_vec())
            .collect();
        let source = watched(number, from.resilient_blob(&original.descriptor));
        layers.push(if paths.is_empty() {
            splitter.keep(original, source).await?
        } else {
            splitter.make_over(original, source, paths).await?
        });
    }
    splitter.publish(chosen, &layers).await
}

struct Splitter<'a> {
    image: &'a ResolvedImage,
    from: &'a dyn Repository,
    model: Place<'a>,
    known_as: Option<String>,
    slim: Place<'a>,
    settings: Settings,
    workers: Arc<Workers>,
    /// The files that are in their place.
    files: Vec<ModelFile>,
    /// How many layers were made over.
    made_over: usize,
}

impl Splitter<'_> {
    /// A layer as it is, for the slim image.
    async fn keep(
        &self,
        layer: &ResolvedLayer,
        source: Arc<dyn RangeSource>,
    ) -> Result<NewLayer, ConvertError> {
        let descriptor = &layer.descriptor;
        if layer.kind.foreign {
            let (image, media_type) = (self.image.name.clone(), descriptor.media_type.clone());
            return Err(ConvertError::Foreign { image, layer: descriptor.digest, media_type });
        }
        if self.from.name() != self.slim.repository.name() && !has(self.slim.repository, descriptor).await {
            let copy = copy(&*source, descriptor.digest, self.slim.repository.spool_dir()).await?;
            push_file(self.slim.repository, &copy.0).await?;
        }
        let media_type = match layer.kind.compression {
            Compression::None => media::OCI_LAYER,
            Compression::Gzip => media::OCI_LAYER_GZIP,
            Compression::Zstd => media::OCI_LAYER_ZSTD,
        };
        Ok(NewLayer {
            descriptor: Descriptor::new(media_type, descriptor.digest, descriptor.size),
            diff_id: layer.diff_id,
            annotations: descriptor.annotations.clone(),
        })
    }

    /// A layer without the files of these normalised paths, which are pushed.
    async fn make_over(
        &mut self,
        original: &ResolvedLayer,
        source: Arc<dyn RangeSource>,
        paths: Vec<Vec<u8>>,
    ) -> Result<NewLayer, ConvertError> {
        let (slim_dir, model_dir) = (self.slim.repository.spool_dir(), self.model.repository.spool_dir());
        let blob = original.descriptor.digest;
        let (tar, taken) = sieve(original, &*source, paths, slim_dir, model_dir).await?;
        for taken in taken {
            let table = taken.table.encode();
            push_file(self.model.repository, &taken.blob).await?;
            let chunks = push_blob(self.model.repository, table.clone().into()).await?;
            self.files.push(file(&taken, chunks, table.len() as u64));
        }
        let made =
            layer::pack(blob, Arc::new(tar), None, &self.settings, self.workers.clone(), slim_dir).await?;
        push_file(self.slim.repository, &made.blob).await?;
        self.made_over += 1;
        let descriptor =
            Descriptor::new(self.settings.encoding.media_type(), made.blob.digest, made.blob.size);
        Ok(NewLayer { descriptor, diff_id: made.diff_id, annotations: made.annotations.clone() })
    }

    /// Pushes the documents, then names them.
    async fn publish(mut self, chosen: &[Chosen], layers: &[NewLayer]) -> Result<Divided, ConvertError> {
        let malformed = |source| ConvertError::Document { image: self.image.name.clone(), source };
        self.files.sort_by(|a, b| a.path.cmp(&b.path));
        let (model, slim) = (self.model.repository, self.slim.repository);

        let config = documents::config(&self.files, format(chosen)).map_err(malformed)?;
        let described = Descriptor::of(documents::CONFIG_TYPE, &config);
        push_blob(model, config.into()).await?;
        let artifact: Bytes = documents::manifest(&self.files, &described).map_err(malformed)?.into();
        let artifact_digest = Digest::of(&artifact);

        let old: Vec<Digest> = self.image.layers.iter().map(|layer| layer.diff_id).collect();
        let new: Vec<Vec<Digest>> = layers.iter().map(|layer| vec![layer.diff_id]).collect();
        let config = crate::documents::config(&self.image.config_bytes, &old, &new).map_err(malformed)?;
        let described = Descriptor::of(media::OCI_CONFIG, &config);
        push_blob(slim, config.into()).await?;
        let models = Models { artifact: artifact_digest, repository: self.known_as, files: self.files };
        let of_image: Vec<Vec<&NewLayer>> = layers.iter().map(|layer| vec![layer]).collect();
        let manifest = crate::documents::manifest(&self.image.manifest_bytes, &described, &of_image);
        let text = models.encode().map_err(malformed)?;
        let manifest = documents::annotated(&manifest.map_err(malformed)?, MODELS_ANNOTATION, &text);
        let manifest: Bytes = manifest.map_err(malformed)?.into();
        let image_digest = Digest::of(&manifest);

        for (place, digest, bytes) in
            [(self.model, artifact_digest, &artifact), (self.slim, image_digest, &manifest)]
        {
            push_manifest(place.repository, &Target::Digest(digest), bytes.clone()).await?;
        }
        for (place, bytes) in [(self.model, artifact), (self.slim, manifest)] {
            push_manifest(place.repository, place.name, bytes).await?;
        }
        let layer_bytes = (
            self.image.layers.iter().map(|layer| layer.descriptor.size).sum(),
            layers.iter().map(|layer| layer.descriptor.size).sum(),
        );
        let (old, made_over) = (self.image.manifest_digest, self.made_over);
        Ok(Divided { old, image: image_digest, models, layer_bytes, made_over })
    }
}

/// What an image says of a file that was taken out.
fn file(taken: &Taken, chunks: Digest, chunks_size: u64) -> ModelFile {
    let entry = &taken.entry;
    let path = glowplug_tarwalk::normalise(&entry.path).unwrap_or_default();
    ModelFile {
        path: format!("/{}", String::from_utf8_lossy(&path)),
        digest: taken.blob.digest,
        size: taken.blob.size,
        chunks,
        chunks_size,
        mode: entry.mode,
        // The sieve takes only what fits.
        uid: entry.uid as u32,
        gid: entry.gid as u32,
        mtime: entry.mtime_s,
        mtime_nanoseconds: entry.mtime_ns,
    }
}

/// The format of all weights, if it is one and known.
fn format(chosen: &[Chosen]) -> Option<&'static str> {
    let first = chosen.first()?.format?;
    chosen.iter().all(|file| file.format == Some(first)).then_some(first)
}

/// Takes files out of a layer: the tar without them, in a file in `slim_dir`, and the files, in `model_dir`.
async fn sieve(
    layer: &ResolvedLayer,
    source: &dyn RangeSource,
    paths: Vec<Vec<u8>>,
    slim_dir: Option<&Path>,
    model_dir: Option<&Path>,
) -> Result<(SpooledTar, Vec<Taken>), ConvertError> {
    let blob = layer.descriptor.digest;
    let spool = |(path, source)| ConvertError::Spool { path, source };
    let mut tar = Spool::create(slim_dir).map_err(spool)?;
    let estargz = layer.descriptor.annotations.contains_key(TOC_DIGEST_ANNOTATION);
    let mut sieve = Sieve::new(&paths, if estargz { &ESTARGZ_OWN } else { &[] }, model_dir);
    let (sender, pieces) = std::sync::mpsc::sync_channel::<Option<Vec<u8>>>(PIECES_AHEAD);
    let sieving = tokio::task::spawn_blocking(move || {
        let mut whole = glowplug_base::Hasher::new();
        let mut keep =
            |bytes: &[u8]| tar.append(bytes).map_err(|error| Halt::Spool(tar.path().to_owned(), error));
        for piece in pieces {
            let Some(piece) = piece else {
                let taken = sieve.finish(&mut keep)?;
                return Ok(Some((whole.finish(), tar.finish_tar().0, taken)));
            };
            whole.update(&piece);
            sieve.push(&piece, &mut keep)?;
        }
        Ok::<_, Halt>(None)
    });
    let sink = move |piece| sender.send(piece).is_ok();
    let decoded = glowplug_image::stream_by(source, blob, layer.kind.compression, sink).await;
    let sieved = sieving.await.map_err(|error| ConvertError::layer(blob, error))?;
    let sieved = sieved.map_err(|halt| match halt {
        Halt::Tar(error) => ConvertError::layer(blob, error),
        Halt::Spool(path, source) => ConvertError::Spool { path, source },
        Halt::Entry { path, what } => {
            let path = String::from_utf8_lossy(&path).into_owned();
            ConvertError::Taken { layer: blob, path, what: what.to_owned() }
        }
    })?;
    decoded?;
    let (found, tar, taken) = sieved.ok_or_else(|| ConvertError::layer(blob, "it could not be decoded"))?;
    if found != layer.diff_id {
        return Err(ConvertError::DiffId { layer: blob, expected: layer.diff_id, found });
    }
    Ok((tar, taken))
}

/// Whether a repository has a blob, as far as it can be told by asking for a byte of it.
async fn has(repository: &dyn Repository, descriptor: &Descriptor) -> bool {
    let first = ByteRange::new(0, descriptor.size.min(1));
    read_all(&*repository.blob(descriptor), first, Cause::Metadata).await.is_ok()
}

/// A blob in a file of its own, which goes with what is beside it.
async fn copy(
    source: &dyn RangeSource,
    digest: Digest,
    dir: Option<&Path>,
) -> Result<(BlobFile, impl Drop), ConvertError> {
    let mut spool = Spool::create(dir).map_err(|(path, source)| ConvertError::Spool { path, source })?;
    let read = |source| ConvertError::Read(glowplug_image::ImageError::Source { layer: digest, source });
    let mut stream = source.open(ByteRange::new(0, source.size()), Cause::Background).await.map_err(read)?;
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(read)?;
        let written = tokio::task::spawn_blocking(move || (spool.append(&piece), spool));
        let (outcome, back) = written.await.map_err(|error| ConvertError::layer(digest, error))?;
        spool = back;
        outcome.map_err(|source| ConvertError::Spool { path: spool.path().to_owned(), source })?;
    }
    let (blob, path) = spool.finish();
    if blob.digest != digest {
        return Err(ConvertError::layer(digest, "its bytes do not match its digest"));
    }
    Ok((blob, path))
}

fn pushing(repository: &dyn Repository) -> impl Fn(glowplug_registry::Error) -> ConvertError {
    let place = repository.name().to_owned();
    move |source| ConvertError::Push { place: place.clone(), source }
}

async fn push_file(repository: &dyn Repository, blob: &BlobFile) -> Result<(), ConvertError> {
    repository.push_file(blob).await.map_err(pushing(repository))
}

async fn push_blob(repository: &dyn Repository, bytes: Bytes) -> Result<Digest, ConvertError> {
    repository.push_blob(bytes).await.map_err(pushing(repository))
}

async fn push_manifest(
    repository: &dyn Repository,
    name: &Target,
    bytes: Bytes,
) -> Result<Digest, ConvertError> {
    repository.push_manifest(name, bytes, media::OCI_MANIFEST).await.map_err(pushing(repository))
}
