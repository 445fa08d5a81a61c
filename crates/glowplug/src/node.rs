//! What every command that touches images begins with: the store, the image's source, and what is known about it.

mod known;
mod remembered;
mod starts;

use std::sync::Arc;

use anyhow::Context as _;
use glowplug_image::{LayerSpec, soci};
use glowplug_oci::{Limits, Platform, Source};
use glowplug_registry::{Client, Repository, ResolvedImage, Target, resolve};
use glowplug_store::{Options, Store};
use glowplug_timeline::{Phase, Timeline};

use crate::cli::{Global, ReachArgs, RegistryArgs};
pub use known::KnownImage;
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
}

impl Located {
    /// Looks for the SOCI index of the image, when it is first asked.
    pub fn soci(&self) -> soci::Lookup {
        let (manifest, digest) = (self.image.manifest.clone(), self.image.manifest_digest);
        soci::Lookup::new(self.repository.clone(), manifest, digest)
    }

    /// The layers, bottom first, for the image engine.
    pub fn layers(&self) -> Vec<LayerSpec> {
        let lookup = Arc::new(self.soci());
        let spec = |layer: &glowplug_registry::ResolvedLayer| LayerSpec {
            blob: layer.descriptor.digest,
            compression: layer.kind.compression,
            source: self.repository.resilient_blob(&layer.descriptor),
            annotations: layer.descriptor.annotations.clone(),
            soci: Some(lookup.clone()),
        };
        self.image.layers.iter().map(spec).collect()
    }
}

/// A client as the flags ask for it.
pub fn client(args: &ReachArgs) -> anyhow::Result<Client> {
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
    Ok(Client::new(options)?)
}

/// The platform to run on.
pub fn platform(args: &RegistryArgs) -> anyhow::Result<Platform> {
    args.platform.as_deref().map_or_else(|| Ok(Platform::host()), |text| Ok(text.parse()?))
}

/// Looks an image up where it is, without a store.
pub async fn look_up(args: &RegistryArgs, image: &str) -> anyhow::Result<Located> {
    let source: Source = image.parse()?;
    let repository = client(&args.reach)?.open(&source).await?;
    let image = resolve(&*repository, Target::from(&source), &platform(args)?, &Limits::default()).await?;
    Ok(Located { repository, image })
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
    let repository = client(&args.reach)?.open(&source).await?;
    let remembered = Arc::new(Remembered::new(repository, store.documents()));
    let resolved = resolve(&*remembered, Target::from(&source), &platform(args)?, &Limits::default()).await?;
    remembered.remember(&resolved);
    span.detail(resolved.manifest_digest.to_string());
    KnownImage::of(image, &resolved).save(store)?;
    Ok(Located { repository: remembered, image: resolved })
}
