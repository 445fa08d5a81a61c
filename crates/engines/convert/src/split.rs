//! Weights taken out of images into model artifacts: the images get small, and weights that images share are kept once.
//!
//! ```text
//! choose      an opened image -> the files to take, and those that have to stay
//! split       each layer with such files once: tar -> sieve -> the tar without them, packed anew as gzip; and each file,
//!             as it is, with its chunk table
//! publish     blobs, then the artifacts, then the images and the index that lists them, then the names
//! ```
//!
//! Invariants: the layers' tars stay as they are but for what was taken, byte for byte; layers without such files stay
//! altogether, and so do images that nothing is taken out of, digest and all. A slim image with its artifact shows what the
//! image showed, entry by entry ([`glowplug_image::models`]). Images with the same files have the same artifact. Equal
//! images give equal bytes on every machine. A name is given last.
//!
//! What an image index lists beside its images is left behind, and so are indexes of the old layers.

mod choose;
mod documents;
mod layer;
mod sieve;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use glowplug_base::Digest;
use glowplug_image::models::{MODELS_ANNOTATION, Models};
use glowplug_oci::{Descriptor, Platform, media};
use glowplug_registry::{Repository, ResolvedImage, Target};
use glowplug_source::RangeSource;

pub use choose::{Chosen, DEFAULT_LEAST_BYTES, Left, Reason, Wish, choose};
use layer::{Maker, Slim};

use crate::documents::NewLayer;
use crate::publish::{self, Document};
use crate::settings::{Encoding, Settings};
use crate::workers::Workers;
use crate::{ConvertError, Plan};

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
    /// Digest of what the image's name leads to.
    pub old: Digest,
    /// Digest of what the slim image's name leads to.
    pub new: Digest,
    /// Digest of what the models' name leads to: the artifact, or an index of several.
    pub models: Digest,
    /// The images, in the order of the plan.
    pub images: Vec<DividedImage>,
    /// The layers before and after, each once, in bytes.
    pub layer_bytes: (u64, u64),
    /// How many layers were made over.
    pub made_over: usize,
}

/// An image, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DividedImage {
    /// What it runs on.
    pub platform: Platform,
    /// Digest of its manifest as it was.
    pub old: Digest,
    /// Digest of its manifest as it is now: the same if nothing was taken out.
    pub new: Digest,
    /// What it says of its artifact, if something was.
    pub models: Option<Models>,
}

/// Hears how it goes, and may stand between a layer's bytes and whoever reads them: number of the layer in the plan, and its
/// bytes.
pub type Watched<'a> = &'a (dyn Fn(usize, Arc<dyn RangeSource>) -> Arc<dyn RangeSource> + Sync);

/// Refuses images out of which nothing can be taken, before anybody looks for what to take.
///
/// # Errors
/// [`ConvertError::Settings`] for an image that has models beside it already.
pub fn check(plan: &Plan) -> Result<(), ConvertError> {
    let is_divided = |image: &&ResolvedImage| image.manifest.annotations.contains_key(MODELS_ANNOTATION);
    match plan.images().iter().find(is_divided) {
        None => Ok(()),
        Some(image) => Err(ConvertError::Settings(format!(
            "{} has its models beside it already; take them out of the image that it was made of",
            image.name
        ))),
    }
}

/// Takes files out of the images of `plan`, whose blobs come from `from`: of each those that `chosen` has at the image's
/// number. The files go to `model`, the slim images, and the index that lists them if there was one, to `slim`. Slim images
/// say that the files are in the repository `known_as`, or if that has no name for others, that they are beside them.
///
/// # Errors
/// See [`ConvertError`]. Blobs may have been pushed then, but nothing that names them.
pub async fn split(
    plan: &Plan,
    from: &dyn Repository,
    chosen: &[Vec<Chosen>],
    model: Place<'_>,
    known_as: Option<String>,
    slim: Place<'_>,
    watched: Watched<'_>,
) -> Result<Divided, ConvertError> {
    check(plan)?;
    if chosen.len() != plan.images().len() || chosen.iter().all(Vec::is_empty) {
        return Err(ConvertError::Settings("there is nothing to take out".to_owned()));
    }
    let settings = Settings::new(Encoding::Gzip);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = Arc::new(Workers::start(threads, &settings).map_err(ConvertError::Settings)?);
    let maker = Maker { from, model: model.repository, slim: slim.repository, settings, workers };
    let mut splitter =
        Splitter { plan, maker, watched, known_as, layers: HashMap::new(), artifacts: Vec::new() };
    let (mut images, mut manifests) = (Vec::new(), Vec::new());
    for (number, chosen) in chosen.iter().enumerate() {
        let (image, manifest) = splitter.image(number, chosen).await?;
        images.push(image);
        manifests.push(manifest);
    }
    let models = splitter.models().await?;
    let root = publish::tree(&plan.root, &manifests, slim.repository, None).await?;
    publish::document(model.repository, Some(model.name), &models).await?;
    publish::document(slim.repository, Some(slim.name), &root).await?;
    let after: BTreeMap<Digest, u64> = splitter
        .layers
        .values()
        .map(|slim| (slim.layer.descriptor.digest, slim.layer.descriptor.size))
        .collect();
    Ok(Divided {
        old: plan.digest(),
        new: Digest::of(&root.bytes),
        models: Digest::of(&models.bytes),
        images,
        layer_bytes: (plan.layer_bytes().sum(), after.values().sum()),
        made_over: splitter.layers.values().filter(|slim| !slim.files.is_empty()).count(),
    })
}

/// A layer's blob, and the normalised paths of what is taken out of it.
type Job = (Digest, BTreeSet<Vec<u8>>);

struct Splitter<'a> {
    plan: &'a Plan,
    maker: Maker<'a>,
    watched: Watched<'a>,
    known_as: Option<String>,
    /// What was made so far: images that share a layer, and what is taken out of it, share what it becomes.
    layers: HashMap<Job, Slim>,
    /// The artifacts, each once, and the platforms that they are for.
    artifacts: Vec<(Document, Vec<Platform>)>,
}

impl Splitter<'_> {
    /// An image without the files `chosen`, and its manifest. Everything that this lists is pushed.
    async fn image(
        &mut self,
        number: usize,
        chosen: &[Chosen],
    ) -> Result<(DividedImage, Document), ConvertError> {
        let image = &self.plan.images[number];
        let mut slim = Vec::new();
        for layer in &image.layers {
            let blob = layer.descriptor.digest;
            let is_here = |file: &&Chosen| {
                image.layers.get(file.layer).is_some_and(|layer| layer.descriptor.digest == blob)
            };
            let path = |file: &Chosen| file.path.trim_start_matches('/').as_bytes().to_vec();
            let job = (blob, chosen.iter().filter(is_here).map(path).collect::<BTreeSet<_>>());
            if !self.layers.contains_key(&job) {
                let place = self.plan.layers.iter().position(|(_, known)| known.blob == blob);
                let source = self.maker.from.resilient_blob(&layer.descriptor);
                let source = (self.watched)(place.unwrap_or_default(), source);
                let paths: Vec<Vec<u8>> = job.1.iter().cloned().collect();
                let made = if paths.is_empty() {
                    self.maker.keep(layer, source).await?
                } else {
                    self.maker.make_over(layer, source, paths).await?
                };
                self.layers.insert(job.clone(), made);
            }
            slim.extend(self.layers.get(&job).cloned());
        }
        let (platform, old) = (self.plan.platform(number), image.manifest_digest);
        let (models, manifest) = if chosen.is_empty() {
            (None, self.as_it_is(image).await?)
        } else {
            let (models, manifest) = self.without(image, chosen, &slim, &platform).await?;
            (Some(models), manifest)
        };
        Ok((DividedImage { platform, old, new: Digest::of(&manifest.bytes), models }, manifest))
    }

    /// The manifest of an image that nothing is taken out of.
    async fn as_it_is(&self, image: &ResolvedImage) -> Result<Document, ConvertError> {
        publish::blob(self.maker.slim, image.config_bytes.clone()).await?;
        let media_type = image.manifest.media_type.clone().unwrap_or_else(|| media::OCI_MANIFEST.to_owned());
        Ok(Document { bytes: image.manifest_bytes.clone(), media_type })
    }

    /// The manifest of an image without its files, and what it says of them.
    async fn without(
        &mut self,
        image: &ResolvedImage,
        chosen: &[Chosen],
        slim: &[Slim],
        platform: &Platform,
    ) -> Result<(Models, Document), ConvertError> {
        let malformed = |source| ConvertError::Document { image: image.name.clone(), source };
        let mut files: Vec<_> = slim.iter().flat_map(|layer| layer.files.clone()).collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let config = documents::config(&files, format(chosen)).map_err(malformed)?;
        let described = Descriptor::of(documents::CONFIG_TYPE, &config);
        publish::blob(self.maker.model, config.into()).await?;
        let artifact = oci(documents::manifest(&files, &described).map_err(malformed)?);
        let digest = Digest::of(&artifact.bytes);
        match self.artifacts.iter_mut().find(|(known, _)| known.bytes == artifact.bytes) {
            Some((_, platforms)) => platforms.push(platform.clone()),
            None => self.artifacts.push((artifact, vec![platform.clone()])),
        }

        let old: Vec<Digest> = image.layers.iter().map(|layer| layer.diff_id).collect();
        let new: Vec<Vec<Digest>> = slim.iter().map(|slim| vec![slim.layer.diff_id]).collect();
        let config = crate::documents::config(&image.config_bytes, &old, &new).map_err(malformed)?;
        let described = Descriptor::of(media::OCI_CONFIG, &config);
        publish::blob(self.maker.slim, config.into()).await?;
        let models = Models { artifact: digest, repository: self.known_as.clone(), files };
        let layers: Vec<Vec<&NewLayer>> = slim.iter().map(|slim| vec![&slim.layer]).collect();
        let manifest = crate::documents::manifest(&image.manifest_bytes, &described, &layers);
        let text = models.encode().map_err(malformed)?;
        let manifest = documents::annotated(&manifest.map_err(malformed)?, MODELS_ANNOTATION, &text);
        Ok((models, oci(manifest.map_err(malformed)?)))
    }

    /// Pushes the artifacts by their digests. Gives what the models' name is to lead to: the only one, or an index of all,
    /// so that none of them is without a name.
    async fn models(&self) -> Result<Document, ConvertError> {
        for (artifact, _) in &self.artifacts {
            publish::document(self.maker.model, None, artifact).await?;
        }
        if let [(only, _)] = &self.artifacts[..] {
            return Ok(only.clone());
        }
        let listed = self.artifacts.iter().map(|(artifact, platforms)| (&artifact.bytes[..], &platforms[..]));
        let bytes = documents::index(listed)
            .map_err(|source| ConvertError::Document { image: "the models".to_owned(), source })?;
        Ok(Document { bytes: bytes.into(), media_type: media::OCI_INDEX.to_owned() })
    }
}

/// An OCI manifest.
fn oci(bytes: Vec<u8>) -> Document {
    Document { bytes: Bytes::from(bytes), media_type: media::OCI_MANIFEST.to_owned() }
}

/// The format of all weights, if it is one and known.
fn format(chosen: &[Chosen]) -> Option<&'static str> {
    let first = chosen.first()?.format?;
    chosen.iter().all(|file| file.format == Some(first)).then_some(first)
}
