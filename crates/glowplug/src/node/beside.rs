//! The models that lie beside an image: which they are, and where their bytes come from.
//!
//! The image's own repository is asked first, so that an image runs wherever it was copied together with its models; then
//! the one that the image names, which is a registry's: an image is not believed about places on this machine.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use glowplug_base::Digest;
use glowplug_image::models::{ModelFile, ModelSpec, Models};
use glowplug_oci::{Descriptor, Source};
use glowplug_registry::{Client, Repository, ResolvedImage};
use glowplug_source::{Elsewhere, RangeSource};
use serde_json::{Value, json};

/// The model artifact that an image names.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// Where it is and which it is, as `REPOSITORY@DIGEST`.
    pub reference: String,
    /// What the image says of it.
    pub models: Models,
}

impl Artifact {
    /// That of `image`, which came from the repository of the name `own`.
    pub fn of(image: &ResolvedImage, own: &str) -> anyhow::Result<Option<Self>> {
        let of = |models: Models| {
            let repository = models.repository.as_deref().unwrap_or(own);
            Self { reference: format!("{repository}@{}", models.artifact), models }
        };
        Ok(named(image)?.map(of))
    }

    /// Length of all files in bytes.
    pub fn bytes(&self) -> u64 {
        self.models.files.iter().map(|file| file.size).sum()
    }

    /// It as JSON, with its files as `file` has them.
    pub fn document(&self, file: impl Fn(&ModelFile) -> Value) -> Value {
        json!({ "reference": self.reference, "digest": self.models.artifact, "bytes": self.bytes(),
            "files": self.models.files.iter().map(file).collect::<Vec<Value>>() })
    }
}

/// A file of an artifact as JSON: what there is to know about it from the image alone.
pub fn file_document(file: &ModelFile) -> Value {
    json!({ "path": file.path, "digest": file.digest, "bytes": file.size,
        "chunk_table": { "digest": file.chunks, "bytes": file.chunks_size } })
}

/// What `image` says of the models beside it.
fn named(image: &ResolvedImage) -> anyhow::Result<Option<Models>> {
    let models = Models::of(&image.manifest.annotations).map_err(anyhow::Error::msg);
    models.with_context(|| format!("the models beside {}", image.name))
}

/// The models beside `image`, which came from `own`.
pub async fn models(
    client: &Client,
    own: &dyn Repository,
    image: &ResolvedImage,
) -> anyhow::Result<Vec<ModelSpec>> {
    let Some(models) = named(image)? else { return Ok(Vec::new()) };
    let other = match &models.repository {
        Some(name) if name != own.name() => Some(open(client, name, image).await?),
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
async fn open(client: &Client, name: &str, image: &ResolvedImage) -> anyhow::Result<Arc<dyn Repository>> {
    let source = name.parse::<Source>();
    match source.with_context(|| format!("the models beside {} are in {name:?}", image.name))? {
        source @ Source::Registry(_) => Ok(client.open(&source).await?),
        _ => bail!("the models beside {} are in {name:?}, which is no registry", image.name),
    }
}
