//! The models that lie beside an image: where their bytes come from.
//!
//! The image's own repository is asked first, so that an image runs wherever it was copied together with its models; then
//! the one that the image names, which is a registry's: an image is not believed about places on this machine.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use glowplug_base::Digest;
use glowplug_image::models::{ModelSpec, Models};
use glowplug_oci::{Descriptor, Source};
use glowplug_registry::{Client, Repository, ResolvedImage};
use glowplug_source::{Elsewhere, RangeSource};

/// The models beside `image`, which came from `own`.
pub async fn models(
    client: &Client,
    own: &dyn Repository,
    image: &ResolvedImage,
) -> anyhow::Result<Vec<ModelSpec>> {
    let models = Models::of(&image.manifest.annotations).map_err(anyhow::Error::msg);
    let Some(models) = models.with_context(|| format!("the models beside {}", image.name))? else {
        return Ok(Vec::new());
    };
    let other = match &models.repository {
        Some(name) if name != own.name() => Some(named(client, name, image).await?),
        _ => None,
    };
    let source = |digest: Digest, size: u64| -> Arc<dyn RangeSource> {
        let descriptor = Descriptor::new("", digest, size);
        let here = own.resilient_blob(&descriptor);
        match &other {
            None => here,
            Some(other) => Arc::new(Elsewhere::new(here, other.resilient_blob(&descriptor))),
        }
    };
    let specs = models.files.into_iter().map(|file| ModelSpec {
        source: source(file.digest, file.size),
        table: source(file.chunks, file.chunks_size),
        file,
    });
    Ok(specs.collect())
}

/// The repository of that name in a registry.
async fn named(client: &Client, name: &str, image: &ResolvedImage) -> anyhow::Result<Arc<dyn Repository>> {
    let source = name.parse::<Source>();
    match source.with_context(|| format!("the models beside {} are in {name:?}", image.name))? {
        source @ Source::Registry(_) => Ok(client.open(&source).await?),
        _ => bail!("the models beside {} are in {name:?}, which is no registry", image.name),
    }
}
