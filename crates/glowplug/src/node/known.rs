//! The images that this node has seen: what `store ls` lists and what garbage collection keeps.

use glowplug_base::Digest;
use glowplug_image::models::ModelSpec;
use glowplug_registry::ResolvedImage;
use glowplug_store::{Store, StoreError};
use serde::{Deserialize, Serialize};

const KIND: &str = "images";

/// One image by the name it was asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KnownImage {
    /// As the user wrote it.
    pub name: String,
    /// Its manifest.
    pub manifest: Digest,
    /// Its layers' blobs, bottom first, and their lengths in bytes; models beside it by their chunk tables, as in the store.
    pub layers: Vec<(Digest, u64)>,
}

impl KnownImage {
    /// An image as it was just looked up.
    pub fn of(name: &str, image: &ResolvedImage, models: &[ModelSpec]) -> Self {
        let layers = image.layers.iter().map(|layer| (layer.descriptor.digest, layer.descriptor.size));
        let models = models.iter().map(|model| (model.file.chunks, model.file.size));
        Self {
            name: name.to_owned(),
            manifest: image.manifest_digest,
            layers: layers.chain(models).collect(),
        }
    }

    /// Keeps it.
    pub fn save(&self, store: &Store) -> Result<(), StoreError> {
        store.documents().put(KIND, &self.name, &serde_json::to_vec(self).unwrap_or_default())
    }

    /// Forgets it.
    pub fn forget(&self, store: &Store) -> Result<(), StoreError> {
        store.documents().remove(KIND, &self.name)
    }

    /// All of them, by name.
    pub fn all(store: &Store) -> Vec<Self> {
        let documents = store.documents().all(KIND);
        let mut images: Vec<Self> =
            documents.iter().filter_map(|bytes| serde_json::from_slice(bytes).ok()).collect();
        images.sort_by(|a, b| a.name.cmp(&b.name));
        images
    }
}
