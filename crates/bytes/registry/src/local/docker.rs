//! What `docker save` writes: `manifest.json`, a configuration, and layers by path.
//!
//! There is no manifest in it, so one is made: it has the configuration that Docker wrote and the layers as they lie in
//! the archive. The digest of an uncompressed layer is the one in the configuration; it is believed here and checked
//! by whoever keeps the bytes, like any other digest. Compressed layers are read once for theirs.

use std::collections::{BTreeMap, HashMap};
use std::io::Read as _;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use glowplug_base::{Digest, Hasher};
use glowplug_oci::{Descriptor, Limits, Manifest, media, parse_config};
use glowplug_source::{Kind, RangeSource, SourceError};
use serde::Deserialize;

use super::files::Files;
use super::source::FileSource;
use crate::{BlobFile, Error, Fetched, Repository, Target};

const MANIFEST: &str = "manifest.json";
/// Bytes that tell a compression.
const MAGIC_BYTES: usize = 4;

/// A Docker archive.
#[derive(Debug)]
pub(crate) struct DockerArchive {
    name: String,
    images: Vec<Image>,
    blobs: HashMap<Digest, FileSource>,
    files: Files,
}

#[derive(Debug)]
struct Image {
    tags: Vec<String>,
    fetched: Fetched,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

impl DockerArchive {
    /// Blocks.
    pub(crate) fn open(files: Files) -> Result<Self, Error> {
        let limits = Limits::default();
        let Some(manifest) = files.small(MANIFEST, limits.document_bytes)? else {
            return Err(match files.size("oci-layout")? {
                Some(_) => files.local_error("this is an OCI archive; name it oci-archive:FILE"),
                None => files.local_error("no Docker archive: the file manifest.json is missing"),
            });
        };
        let listed: Vec<Listed> = serde_json::from_slice(&manifest)
            .map_err(|error| files.local_error(format!("malformed manifest.json: {error}")))?;
        let name = files.path().display().to_string();
        let mut archive = Self { name, images: Vec::new(), blobs: HashMap::new(), files };
        for image in listed.into_iter().take(limits.entries) {
            let image = archive.read(image, &limits)?;
            archive.images.push(image);
        }
        Ok(archive)
    }

    fn read(&mut self, listed: Listed, limits: &Limits) -> Result<Image, Error> {
        let missing = |name: &str| self.files.local_error(format!("the archive lacks {name:?}"));
        let config =
            self.files.small(&listed.config, limits.config_bytes)?.ok_or_else(|| missing(&listed.config))?;
        let layers = listed.layers.unwrap_or_default();
        let refused = |source| Error::Config { name: self.name.clone(), source };
        let (_, diff_ids) = parse_config(&config, layers.len(), limits).map_err(refused)?;
        let mut descriptors = Vec::new();
        for (path, diff_id) in layers.iter().zip(diff_ids) {
            let size = self.files.size(path)?.ok_or_else(|| missing(path))?;
            let (media_type, digest) = self.identify(path, diff_id)?;
            self.blobs.insert(digest, self.files.source(path, digest.to_string(), size));
            descriptors.push(Descriptor::new(media_type, digest, size));
        }
        let config_descriptor = Descriptor::of(media::OCI_CONFIG, &config);
        let source =
            self.files.source(&listed.config, config_descriptor.digest.to_string(), config_descriptor.size);
        self.blobs.insert(config_descriptor.digest, source);
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(media::OCI_MANIFEST.to_owned()),
            artifact_type: None,
            config: config_descriptor,
            layers: descriptors,
            subject: None,
            annotations: BTreeMap::new(),
        };
        let bytes = serde_json::to_vec(&manifest)
            .map_err(|error| Error::Document { name: self.name.clone(), source: error.into() })?;
        let fetched = Fetched {
            digest: Digest::of(&bytes),
            bytes: bytes.into(),
            media_type: Some(media::OCI_MANIFEST.to_owned()),
        };
        Ok(Image { tags: listed.repo_tags.unwrap_or_default(), fetched })
    }

    /// Media type and digest of a layer.
    fn identify(&self, path: &str, diff_id: Digest) -> Result<(&'static str, Digest), Error> {
        let failed = |source| Error::File { path: self.files.path().join(path), source };
        let Some(mut reader) = self.files.open(path)? else {
            return Err(self.files.local_error(format!("the archive lacks {path:?}")));
        };
        let mut hasher = Hasher::new();
        let mut magic = Vec::new();
        reader.by_ref().take(MAGIC_BYTES as u64).read_to_end(&mut magic).map_err(failed)?;
        let media_type = match magic.as_slice() {
            [0x1f, 0x8b, ..] => media::OCI_LAYER_GZIP,
            [0x28, 0xb5, 0x2f, 0xfd] => media::OCI_LAYER_ZSTD,
            _ => return Ok((media::OCI_LAYER, diff_id)),
        };
        hasher.update(&magic);
        let mut piece = vec![0; 1 << 20];
        loop {
            match reader.read(&mut piece).map_err(failed)? {
                0 => return Ok((media_type, hasher.finish())),
                read => hasher.update(&piece[..read]),
            }
        }
    }

    fn find(&self, target: &Target) -> Result<Fetched, Error> {
        let label = || format!("{}:{target}", self.name);
        let found = match target {
            Target::Digest(digest) => self.images.iter().find(|image| image.fetched.digest == *digest),
            Target::Tag(tag) => self.images.iter().find(|image| image.tags.contains(tag)),
            Target::Only if self.images.len() > 1 => {
                let names = self.images.iter().take(32).map(|image| image.tags.join(" "));
                let names = names.collect::<Vec<_>>().join(", ");
                return Err(Error::Several { path: self.files.path().to_owned(), names });
            }
            Target::Only => self.images.first(),
        };
        Ok(found.ok_or_else(|| SourceError::new(label(), Kind::NotFound))?.fetched.clone())
    }
}

impl Repository for DockerArchive {
    fn name(&self) -> &str {
        &self.name
    }

    fn document<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<Fetched, Error>> {
        Box::pin(async move { self.find(target) })
    }

    fn blob(&self, descriptor: &Descriptor) -> Arc<dyn RangeSource> {
        let label = descriptor.digest.to_string();
        match self.blobs.get(&descriptor.digest) {
            Some(source) => Arc::new(source.clone()),
            // Reading it says that it is not there.
            None => {
                Arc::new(FileSource::new(label.clone(), self.files.path().join(label), 0, descriptor.size))
            }
        }
    }

    /// A Docker archive has no referrers.
    fn referrers<'a>(
        &'a self,
        _: &'a Digest,
        _: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<Descriptor>, Error>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn check_push(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async { Err(Error::ReadOnly(self.name.clone())) })
    }

    fn push_blob(&self, _: Bytes) -> BoxFuture<'_, Result<Digest, Error>> {
        Box::pin(async { Err(Error::ReadOnly(self.name.clone())) })
    }

    fn push_file<'a>(&'a self, _: &'a BlobFile) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async { Err(Error::ReadOnly(self.name.clone())) })
    }

    fn push_manifest<'a>(
        &'a self,
        _: &'a Target,
        _: Bytes,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Digest, Error>> {
        Box::pin(async { Err(Error::ReadOnly(self.name.clone())) })
    }
}
