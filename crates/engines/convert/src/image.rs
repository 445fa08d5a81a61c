//! An image made over and published: layers, then configurations, then manifests, then indexes, and the name last.

mod rearrange;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use glowplug_base::Digest;
use glowplug_oci::{Descriptor, Platform, media};
use glowplug_registry::{Repository, ResolvedImage, Target};
use glowplug_source::RangeSource;

use crate::ConvertError;
use crate::documents::{self, NewLayer};
use crate::layer;
use crate::plan::Plan;
use crate::publish::{self, Document};
use crate::settings::Settings;
use crate::workers::Workers;
use rearrange::{Job, Tar};

/// Layers at work at the same time: while one is pushed the next is made, and decoding, which cannot be shared, goes
/// on for several where there are processors for it.
const LAYERS_AT_ONCE: usize = 3;

/// Hears how it goes.
pub trait Watch: Sync {
    /// Whatever is to be between layer number `number` of the plan and whoever reads it, such as something that counts.
    fn source(&self, number: usize, source: Arc<dyn RangeSource>) -> Arc<dyn RangeSource> {
        let _ = number;
        source
    }

    /// All layers lie in `dir`, `bytes` of tars, until they are packed.
    fn unpacked(&self, dir: &Path, bytes: u64) {
        let _ = (dir, bytes);
    }

    /// Layer number `number` can neither be put in order nor be split, for this reason: it is only packed anew.
    fn fixed(&self, number: usize, why: &str) {
        let _ = (number, why);
    }

    /// Layer number `number`, or a piece of it, is made over and pushed.
    fn layer(&self, number: usize, layer: &ConvertedLayer) {
        let _ = (number, layer);
    }
}

/// Nobody hears it.
#[derive(Debug, Clone, Copy)]
pub struct Unwatched;

impl Watch for Unwatched {}

/// A layer that was made over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConvertedLayer {
    /// Digest of the blob as it was.
    pub old: Digest,
    /// Its length in bytes.
    pub old_bytes: u64,
    /// Digest of the tar as it was.
    pub old_diff_id: Digest,
    /// Digest of the blob as it is now.
    pub new: Digest,
    /// Its length in bytes.
    pub new_bytes: u64,
    /// Digest of its tar.
    pub diff_id: Digest,
    /// Which piece of the old layer it is, from 0.
    pub piece: usize,
    /// How many pieces there are; one, if the layer was not split.
    pub pieces: usize,
}

/// An image that was made over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConvertedImage {
    /// What it runs on.
    pub platform: Platform,
    /// Digest of the manifest as it was.
    pub old: Digest,
    /// Digest of the manifest as it is now.
    pub new: Digest,
    /// Its layers, lowest first, as numbers in [`Converted::layers`].
    pub layers: Vec<usize>,
}

/// What was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// Digest of what the old name leads to.
    pub old: Digest,
    /// Digest of what the new name leads to.
    pub new: Digest,
    /// The images.
    pub images: Vec<ConvertedImage>,
    /// Their layers, each once, the pieces of one beside each other.
    pub layers: Vec<ConvertedLayer>,
}

/// Makes over what is in `plan`, whose blobs come from `from`, and publishes it in `to` as `name`.
///
/// # Errors
/// See [`ConvertError`]. Blobs may have been pushed then, but nothing that names them. A repository that takes nothing says
/// so before any layer is read.
pub async fn convert(
    plan: &Plan,
    from: &dyn Repository,
    to: &dyn Repository,
    name: &Target,
    settings: &Settings,
    watch: &dyn Watch,
) -> Result<Converted, ConvertError> {
    settings.check()?;
    publish::check(to).await?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = Arc::new(Workers::start(threads, settings).map_err(ConvertError::Settings)?);
    let converter = Converter { from, to, settings, watch };
    let jobs = converter.jobs(plan).await?;
    let jobs = jobs.into_iter().map(|job| converter.layer(job, workers.clone()));
    let made: Vec<(ConvertedLayer, NewLayer)> =
        futures::stream::iter(jobs).buffered(LAYERS_AT_ONCE).try_collect().await?;
    let (layers, new): (Vec<_>, Vec<_>) = made.into_iter().unzip();
    let mut numbers: HashMap<Digest, Vec<usize>> = HashMap::new();
    for (number, layer) in layers.iter().enumerate() {
        numbers.entry(layer.old).or_default().push(number);
    }
    let mut images = Vec::new();
    let mut manifests = Vec::new();
    for image in &plan.images {
        let pieces: Vec<&Vec<usize>> =
            image.layers.iter().filter_map(|layer| numbers.get(&layer.descriptor.digest)).collect();
        let of_image: Vec<Vec<&NewLayer>> =
            pieces.iter().map(|pieces| pieces.iter().map(|number| &new[*number]).collect()).collect();
        let manifest = converter.config(image, &of_image).await?;
        let (platform, old) = (image.platform(), image.manifest_digest);
        let layers = pieces.into_iter().flatten().copied().collect();
        images.push(ConvertedImage { platform, old, new: Digest::of(&manifest), layers });
        manifests.push(manifest);
    }
    let documents: Vec<Document> = manifests
        .into_iter()
        .map(|bytes| Document { bytes, media_type: media::OCI_MANIFEST.to_owned() })
        .collect();
    let root = publish::tree(&plan.root, &documents, to, Some(name)).await?;
    Ok(Converted { old: plan.digest(), new: Digest::of(&root.bytes), images, layers })
}

struct Converter<'a> {
    from: &'a dyn Repository,
    to: &'a dyn Repository,
    settings: &'a Settings,
    watch: &'a dyn Watch,
}

impl Converter<'_> {
    /// Makes a layer over, or a piece of one, and pushes it.
    async fn layer(
        &self,
        job: Job<'_>,
        workers: Arc<Workers>,
    ) -> Result<(ConvertedLayer, NewLayer), ConvertError> {
        let Job { number, descriptor, original, piece, pieces, tar } = job;
        let (settings, dir) = (self.settings, self.to.spool_dir());
        let made = match tar {
            Tar::InBlob => {
                let source = self.watch.source(number, self.from.resilient_blob(descriptor));
                layer::convert(original, &*source, settings, workers, dir).await?
            }
            Tar::OnDisk(tar, part) => layer::pack(original.blob, tar, part, settings, workers, dir).await?,
        };
        publish::file(self.to, &made.blob).await?;
        let (digest, size, diff_id) = (made.blob.digest, made.blob.size, made.diff_id);
        let converted = ConvertedLayer {
            old: original.blob,
            old_bytes: descriptor.size,
            old_diff_id: original.diff_id,
            new: digest,
            new_bytes: size,
            diff_id,
            piece,
            pieces,
        };
        self.watch.layer(number, &converted);
        let descriptor = Descriptor::new(self.settings.encoding.media_type(), digest, size);
        Ok((converted, NewLayer { descriptor, diff_id, annotations: made.annotations.clone() }))
    }

    /// Pushes the configuration of an image with these layers; gives its manifest.
    async fn config(&self, image: &ResolvedImage, layers: &[Vec<&NewLayer>]) -> Result<Bytes, ConvertError> {
        let malformed = |source| ConvertError::Document { image: image.name.clone(), source };
        let old: Vec<Digest> = image.layers.iter().map(|layer| layer.diff_id).collect();
        let diff_ids = |pieces: &Vec<&NewLayer>| pieces.iter().map(|layer| layer.diff_id).collect();
        let new: Vec<Vec<Digest>> = layers.iter().map(diff_ids).collect();
        let config = documents::config(&image.config_bytes, &old, &new).map_err(malformed)?;
        let descriptor = Descriptor::of(media::OCI_CONFIG, &config);
        publish::blob(self.to, config.into()).await?;
        documents::manifest(&image.manifest_bytes, &descriptor, layers).map(Bytes::from).map_err(malformed)
    }
}
