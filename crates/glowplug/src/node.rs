//! What every command that touches images begins with: the store, the image's source, and what is known about it.

mod beside;
mod known;
mod neighbours;
mod remembered;
mod starts;

use std::sync::Arc;

use anyhow::Context as _;
use glowplug_image::models::ModelSpec;
use glowplug_image::{LayerSpec, soci, toc};
use glowplug_oci::{Limits, Platform, Source};
use glowplug_registry::{Client, Repository, ResolvedImage, Target, Via, resolve};
use glowplug_store::{Options, Store};
use glowplug_timeline::{Phase, Timeline};

use crate::cli::{Global, ReachArgs, RegistryArgs};
pub use beside::{Artifact, file_document};
pub use known::KnownImage;
pub use neighbours::{Neighbours, SERVICE_DIR};
use remembered::Remembered;
pub use starts::{StartKind, profiles};

/// Opens the store.
pub fn open_store(global: &Global) -> anyhow::Result<Arc<Store>> {
    Ok(Arc::new(Store::open(&global.store, Options { quota_bytes: global.quota })?))
}

/// An image that was looked up.
#[derive(Debug)]
pub struct Located {
    /// Where its blobs come from.
    pub repository: Arc<dyn Repository>,
    /// What it is.
    pub image: ResolvedImage,
    /// The tag that it was asked for by.
    pub tag: Option<String>,
    /// Files that lie beside it and belong to it.
    pub models: Vec<ModelSpec>,
    /// The node's peer service, where it has one.
    pub neighbours: Arc<Neighbours>,
}

impl Located {
    /// An image of `source` that is looked at and not run: what lies beside it is left out.
    pub fn alone(repository: Arc<dyn Repository>, image: ResolvedImage, source: &Source) -> Self {
        Self { repository, image, tag: tag(source), models: Vec::new(), neighbours: Arc::default() }
    }

    /// The model artifact that the image names, if it names one. Nobody is asked for it.
    ///
    /// # Errors
    /// What the image says makes no sense.
    pub fn artifact(&self) -> anyhow::Result<Option<Artifact>> {
        Artifact::of(&self.image, self.repository.name())
    }

    /// Looks for the SOCI index of the image, when it is first asked.
    pub fn soci(&self) -> soci::Lookup {
        let (manifest, digest) = (self.image.manifest.clone(), self.image.manifest_digest);
        soci::Lookup::new(self.repository.clone(), manifest, digest)
    }

    /// Looks for tables that lie in an image beside this one, when it is first asked; only images that go by a tag have one.
    pub fn external(&self) -> Option<toc::External> {
        self.tag.as_deref().map(|tag| toc::External::new(self.repository.clone(), tag))
    }

    /// The layers, bottom first, for the image engine.
    pub fn layers(&self) -> Vec<LayerSpec> {
        let lookup = Arc::new(self.soci());
        let external = self.external().map(Arc::new);
        let spec = |layer: &glowplug_registry::ResolvedLayer| LayerSpec {
            blob: layer.descriptor.digest,
            format: layer.kind.format,
            compression: layer.kind.compression,
            diff_id: Some(layer.diff_id),
            source: self.repository.resilient_blob(&layer.descriptor),
            annotations: layer.descriptor.annotations.clone(),
            external: external.clone(),
            soci: Some(lookup.clone()),
        };
        self.image.layers.iter().map(spec).collect()
    }
}

/// A client as the flags ask for it.
pub fn client(args: &ReachArgs) -> anyhow::Result<Client> {
    Ok(Client::new(reach(args)?)?)
}

/// The same for a node that asks for others.
pub fn service_client(args: &ReachArgs, via: Via) -> anyhow::Result<Client> {
    Ok(Client::new(glowplug_registry::Options { via: Some(via), ..reach(args)? })?)
}

fn reach(args: &ReachArgs) -> anyhow::Result<glowplug_registry::Options> {
    let mut options = glowplug_registry::Options {
        plain_http: args.plain_http,
        insecure: args.insecure.clone(),
        ca_files: args.ca_file.clone(),
        ..glowplug_registry::Options::default()
    };
    for pair in &args.mirror {
        let (registry, mirror) =
            pair.split_once('=').with_context(|| format!("--mirror {pair:?} is not REGISTRY=MIRROR"))?;
        options.mirrors.entry(registry.to_owned()).or_default().push(mirror.to_owned());
    }
    Ok(options)
}

/// The platform to run on.
pub fn platform(args: &RegistryArgs) -> anyhow::Result<Platform> {
    args.platform.as_deref().map_or_else(|| Ok(Platform::host()), |text| Ok(text.parse()?))
}

/// Looks an image up where it is, without a store, to be looked at and not opened: what lies beside it is left out.
pub async fn look_up(args: &RegistryArgs, image: &str) -> anyhow::Result<Located> {
    let source: Source = image.parse()?;
    let repository = client(&args.reach)?.open(&source).await?;
    let image = resolve(&*repository, Target::from(&source), &platform(args)?, &Limits::default()).await?;
    Ok(Located::alone(repository, image, &source))
}

/// Looks an image up. What was seen before is found in the store, also when the registry is away.
pub async fn locate(
    store: &Arc<Store>,
    args: &RegistryArgs,
    image: &str,
    timeline: &Timeline,
) -> anyhow::Result<Located> {
    let mut span = timeline.span(Phase::Pull, "resolve manifest");
    let source: Source = image.parse()?;
    let client = client(&args.reach)?;
    let repository = client.open(&source).await?;
    let remembered = Arc::new(Remembered::new(repository, store.documents()));
    let resolved = resolve(&*remembered, Target::from(&source), &platform(args)?, &Limits::default()).await?;
    remembered.remember(&resolved);
    span.detail(resolved.manifest_digest.to_string());
    let models = beside::models(&client, &*remembered, &resolved).await?;
    KnownImage::of(image, &resolved, &models).save(store)?;
    let neighbours = Arc::new(Neighbours::of(store, args, &source));
    Ok(Located { repository: remembered, image: resolved, tag: tag(&source), models, neighbours })
}

/// The tag that a source is asked for by.
fn tag(source: &Source) -> Option<String> {
    match source {
        Source::Registry(reference) => reference.tag().map(str::to_owned),
        Source::Layout { tag, .. } => tag.clone(),
        _ => None,
    }
}
