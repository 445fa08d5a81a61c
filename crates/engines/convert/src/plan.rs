//! What there is to make over: every image behind a name, and each of their layers once.
//!
//! Everything is looked at before the first layer is read, so that what cannot be made over is refused at once.

use std::fmt;

use futures::future::BoxFuture;
use glowplug_base::Digest;
use glowplug_oci::{Descriptor, LayerFormat, Limits, Platform};
use glowplug_registry::{Error, Found, Repository, ResolvedImage, ResolvedIndex, Target, look_at};

use crate::ConvertError;
use crate::layer::Original;

/// How many indexes may lead to an image. One is common, two occur.
const MAX_INDEXES: usize = 4;

/// What there is to make over.
#[derive(Debug)]
pub struct Plan {
    pub(crate) root: Node,
    /// The images, each once, in the order of the index.
    pub(crate) images: Vec<ResolvedImage>,
    /// The layers of all images, each once, in the order of the images.
    pub(crate) layers: Vec<(Descriptor, Original)>,
    dropped: Vec<Dropped>,
}

/// Something that an index lists and that is not made over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// What.
    pub digest: Digest,
    /// Why.
    pub reason: Reason,
}

/// Why something is not made over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It is about something that will have another digest: provenance, signatures, an index of its layers.
    About,
    /// It is for a platform that was not asked for.
    Platform(String),
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = self.digest;
        match &self.reason {
            Reason::About => {
                write!(
                    f,
                    "{digest} is left out: an attestation or artifact about what now has another digest"
                )
            }
            Reason::Platform(platform) => write!(f, "{digest} is left out: {platform} was not asked for"),
        }
    }
}

/// A document that is made over.
#[derive(Debug)]
pub(crate) enum Node {
    /// An image, by its number in the plan.
    Image(usize),
    /// An index and what of it is kept.
    Index(Box<ResolvedIndex>, Vec<(Digest, Node)>),
}

impl Plan {
    /// Looks at what `target` names in `from`: all of it, or what is for `platforms`, if there are any.
    ///
    /// # Errors
    /// See [`ConvertError`]: an image or layer that cannot be made over, or a platform that is not there.
    pub async fn make(
        from: &dyn Repository,
        target: &Target,
        platforms: &[Platform],
    ) -> Result<Self, ConvertError> {
        let mut planner = Planner { from, platforms, images: Vec::new(), dropped: Vec::new() };
        let root = planner.look(target.clone(), None, 0).await?;
        let Planner { images, dropped, .. } = planner;
        let mut layers: Vec<(Descriptor, Original)> = Vec::new();
        for layer in images.iter().flat_map(|image| &image.layers) {
            let blob = layer.descriptor.digest;
            let original = Original { blob, compression: layer.kind.compression, diff_id: layer.diff_id };
            match layers.iter().find(|(_, known)| known.blob == blob) {
                None => layers.push((layer.descriptor.clone(), original)),
                // One of the two images is wrong about it, so neither is to be trusted.
                Some((_, known)) if known.diff_id != layer.diff_id => {
                    let (expected, found) = (known.diff_id, layer.diff_id);
                    return Err(ConvertError::DiffId { layer: blob, expected, found });
                }
                Some(_) => {}
            }
        }
        Ok(Self { root, images, layers, dropped })
    }

    /// The images that are made over.
    pub fn images(&self) -> &[ResolvedImage] {
        &self.images
    }

    /// What the image of this number in [`Self::images`] runs on: as the index says that lists it, for it may be more exact,
    /// else as its own configuration does.
    pub fn platform(&self, image: usize) -> Platform {
        listed(&self.root, image).unwrap_or_else(|| self.images[image].platform())
    }

    /// Length in bytes of each layer, each once: they are converted under these numbers.
    pub fn layer_bytes(&self) -> impl ExactSizeIterator<Item = u64> + '_ {
        self.layers.iter().map(|(descriptor, _)| descriptor.size)
    }

    /// What is left out.
    pub fn dropped(&self) -> &[Dropped] {
        &self.dropped
    }

    /// Digest of what the name leads to now.
    pub fn digest(&self) -> Digest {
        match &self.root {
            Node::Image(number) => self.images[*number].manifest_digest,
            Node::Index(index, _) => index.digest,
        }
    }
}

/// The platform that an index below `node` lists an image with.
fn listed(node: &Node, image: usize) -> Option<Platform> {
    let Node::Index(index, children) = node else { return None };
    children.iter().find_map(|(digest, child)| match child {
        Node::Image(number) if *number == image => {
            index.index.manifests.iter().find(|entry| entry.digest == *digest)?.platform.clone()
        }
        child => listed(child, image),
    })
}

struct Planner<'a> {
    from: &'a dyn Repository,
    platforms: &'a [Platform],
    images: Vec<ResolvedImage>,
    dropped: Vec<Dropped>,
}

impl Planner<'_> {
    fn look(
        &mut self,
        target: Target,
        told: Option<String>,
        depth: usize,
    ) -> BoxFuture<'_, Result<Node, ConvertError>> {
        Box::pin(async move {
            let found = look_at(self.from, &target, told.as_deref(), &Limits::default()).await?;
            match found {
                Found::Image(image) if depth == 0 => {
                    self.check_platform(&image)?;
                    self.image(*image)
                }
                Found::Image(image) => self.image(*image),
                Found::Index(index) if depth == MAX_INDEXES => Err(Error::TooDeep(index.name).into()),
                Found::Index(index) => self.index(index, depth).await,
            }
        })
    }

    async fn index(&mut self, found: Box<ResolvedIndex>, depth: usize) -> Result<Node, ConvertError> {
        let mut wanted: Vec<Digest> = Vec::new();
        for platform in self.platforms {
            let chosen = found.index.select(platform);
            let chosen = chosen.map_err(|source| Error::Select { name: found.name.clone(), source })?;
            wanted.push(chosen.digest);
        }
        let mut kept: Vec<(Digest, Node)> = Vec::new();
        for entry in &found.index.manifests {
            let digest = entry.digest;
            let reason = if !entry.is_image() {
                Some(Reason::About)
            } else if !self.platforms.is_empty() && !wanted.contains(&digest) {
                Some(Reason::Platform(entry.platform.as_ref().map_or("it".to_owned(), Platform::to_string)))
            } else {
                None
            };
            match reason {
                Some(reason) => self.dropped.push(Dropped { digest, reason }),
                None if kept.iter().any(|(known, _)| *known == digest) => {}
                None => {
                    let told = Some(entry.media_type.clone());
                    let node = self.look(Target::Digest(digest), told, depth + 1).await?;
                    kept.push((digest, node));
                }
            }
        }
        Ok(Node::Index(found, kept))
    }

    fn image(&mut self, image: ResolvedImage) -> Result<Node, ConvertError> {
        if let Some(layer) = image.layers.iter().find(|layer| layer.kind.foreign) {
            let Descriptor { digest, media_type, .. } = layer.descriptor.clone();
            return Err(ConvertError::Foreign { image: image.name, layer: digest, media_type });
        }
        refuse_erofs(&image)?;
        let known = self.images.iter().position(|known| known.manifest_digest == image.manifest_digest);
        let number = known.unwrap_or_else(|| {
            self.images.push(image);
            self.images.len() - 1
        });
        Ok(Node::Image(number))
    }

    /// An image that no index lists is for one platform, which must be one of those asked for.
    fn check_platform(&self, image: &ResolvedImage) -> Result<(), ConvertError> {
        let found = image.platform();
        let Some(wanted) = self.platforms.first() else { return Ok(()) };
        if self.platforms.iter().any(|wanted| found.runs_on(wanted)) {
            return Ok(());
        }
        let (name, found, wanted) = (image.name.clone(), found.to_string(), wanted.to_string());
        Err(Error::Platform { name, found, wanted }.into())
    }
}

/// Refuses images with layers that are no archives.
fn refuse_erofs(image: &ResolvedImage) -> Result<(), ConvertError> {
    match image.layers.iter().find(|layer| layer.kind.format == LayerFormat::Erofs) {
        Some(layer) => Err(ConvertError::Erofs { image: image.name.clone(), layer: layer.descriptor.digest }),
        None => Ok(()),
    }
}
