//! Builds images and publishes them.

use std::collections::BTreeMap;

use bytes::Bytes;
use glowplug_base::Digest;
use glowplug_oci::{Descriptor, Manifest, Platform, media};
use serde_json::{Value, json};

use crate::{Layer, TestRegistry};

/// Collects the parts of an image.
#[derive(Debug, Clone)]
pub struct ImageBuilder {
    layers: Vec<Layer>,
    config: Value,
    docker: bool,
    annotations: BTreeMap<String, String>,
}

impl Default for ImageBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl ImageBuilder {
    /// An image for this machine without layers.
    pub fn new() -> Self {
        let config = json!({"created": "2024-01-01T00:00:00Z", "architecture": "", "os": "", "config": {}});
        Self { layers: Vec::new(), config, docker: false, annotations: BTreeMap::new() }
            .platform(&Platform::host())
    }

    /// Adds a layer on top.
    #[must_use]
    pub fn layer(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        self
    }

    /// Says what the image runs on.
    #[must_use]
    pub fn platform(mut self, platform: &Platform) -> Self {
        self.config["architecture"] = platform.architecture.clone().into();
        self.config["os"] = platform.os.clone().into();
        if let Some(variant) = &platform.variant {
            self.config["variant"] = variant.clone().into();
        }
        self
    }

    /// Sets the command.
    #[must_use]
    pub fn cmd<S: AsRef<str>>(self, words: impl IntoIterator<Item = S>) -> Self {
        self.words("Cmd", words)
    }

    /// Sets the entry point.
    #[must_use]
    pub fn entrypoint<S: AsRef<str>>(self, words: impl IntoIterator<Item = S>) -> Self {
        self.words("Entrypoint", words)
    }

    /// Sets the environment, as `NAME=value`.
    #[must_use]
    pub fn env<S: AsRef<str>>(self, words: impl IntoIterator<Item = S>) -> Self {
        self.words("Env", words)
    }

    fn words<S: AsRef<str>>(mut self, key: &str, words: impl IntoIterator<Item = S>) -> Self {
        self.config["config"][key] = words.into_iter().map(|word| word.as_ref().to_owned()).collect();
        self
    }

    /// Changes the configuration as JSON, for whatever has no method here.
    #[must_use]
    pub fn config(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.config);
        self
    }

    /// Adds an annotation to the manifest.
    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Writes Docker's media types instead of OCI's.
    #[must_use]
    pub fn docker(mut self) -> Self {
        self.docker = true;
        self
    }

    /// Puts the parts together.
    pub fn build(mut self) -> Image {
        let diff_ids: Vec<_> = self.layers.iter().map(|layer| layer.diff_id().to_string()).collect();
        self.config["rootfs"] = json!({"type": "layers", "diff_ids": diff_ids});
        let config = Bytes::from(self.config.to_string());
        let (manifest_type, config_type) = match self.docker {
            true => (media::DOCKER_MANIFEST, media::DOCKER_CONFIG),
            false => (media::OCI_MANIFEST, media::OCI_CONFIG),
        };
        let descriptors = self.layers.iter().map(|layer| {
            let media_type = if self.docker { docker_type(&layer.media_type) } else { &layer.media_type };
            let mut descriptor = Descriptor::of(media_type, &layer.blob);
            descriptor.annotations = layer.annotations.iter().cloned().collect();
            descriptor
        });
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(manifest_type.to_owned()),
            artifact_type: None,
            config: Descriptor::of(config_type, &config),
            layers: descriptors.collect(),
            subject: None,
            annotations: self.annotations,
        };
        let manifest = Bytes::from(serde_json::to_vec(&manifest).expect("a manifest is JSON"));
        let text = |key: &str| self.config[key].as_str().unwrap_or_default().to_owned();
        let mut platform = Platform::new(text("os"), text("architecture"));
        platform.variant = self.config["variant"].as_str().map(str::to_owned);
        Image { manifest, media_type: manifest_type.to_owned(), config, layers: self.layers, platform }
    }

    /// Builds and publishes as `repository:tag`.
    pub fn push(self, registry: &TestRegistry, name: &str) -> Image {
        let image = self.build();
        image.push(registry, name);
        image
    }
}

fn docker_type(oci: &str) -> &str {
    match oci {
        media::OCI_LAYER => media::DOCKER_LAYER,
        media::OCI_LAYER_GZIP => media::DOCKER_LAYER_GZIP,
        media::OCI_LAYER_ZSTD => media::DOCKER_LAYER_ZSTD,
        other => other,
    }
}

/// A built image.
#[derive(Debug, Clone)]
pub struct Image {
    /// The manifest's bytes.
    pub manifest: Bytes,
    /// The manifest's media type.
    pub media_type: String,
    /// The configuration's bytes.
    pub config: Bytes,
    /// The layers, lowest first.
    pub layers: Vec<Layer>,
    /// What it runs on.
    pub platform: Platform,
}

impl Image {
    /// The manifest's digest.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }

    /// The manifest's descriptor, with its platform, as an index lists it.
    pub fn descriptor(&self) -> Descriptor {
        let platform = Some(self.platform.clone());
        Descriptor { platform, ..Descriptor::of(self.media_type.as_str(), &self.manifest) }
    }

    /// All blobs but the manifest.
    pub fn blobs(&self) -> impl Iterator<Item = &Bytes> {
        std::iter::once(&self.config).chain(self.layers.iter().map(|layer| &layer.blob))
    }

    /// Publishes as `repository:tag`, or by digest alone as `repository`.
    pub fn push(&self, registry: &TestRegistry, name: &str) {
        let (repository, tag) =
            name.split_once(':').map_or((name, None), |(repository, tag)| (repository, Some(tag)));
        self.blobs().for_each(|blob| _ = registry.put_blob(blob.clone()));
        registry.put_manifest(repository, tag, self.manifest.clone(), &self.media_type);
    }
}
