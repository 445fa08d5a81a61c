//! Tables of eStargz layers that lie in an image of their own, `NAME:TAG-esgztoc` beside `NAME:TAG`: layers then hold nothing but files.
//!
//! Whatever is found there is believed no further than the digest of the table in the layer's own manifest reaches.

use std::sync::Arc;

use glowplug_base::Digest;
use glowplug_oci::{Descriptor, Document, Limits};
use glowplug_registry::{Repository, Target};
use tokio::sync::OnceCell;

use crate::error::chain;

/// What follows the image's tag in the tag of the tables' image.
const TAG_SUFFIX: &str = "-esgztoc";
/// Annotation of a table: the layer that it is of.
const LAYER_ANNOTATION: &str = "containerd.io/snapshot/stargz/layer.digest";
/// Most manifests of the tables' image: one for each platform.
const MAX_MANIFESTS: usize = 16;
/// Longest table that is fetched, in bytes as it travels.
const MAX_TABLE_BYTES: u64 = 128 << 20;

/// Looks for the tables of one image when they are first needed, and once only.
#[derive(Debug)]
pub struct External {
    repository: Arc<dyn Repository>,
    tag: String,
    tables: OnceCell<Result<Vec<Descriptor>, String>>,
}

impl External {
    /// For the image with this tag. Asks nothing yet.
    pub fn new(repository: Arc<dyn Repository>, tag: &str) -> Self {
        Self { repository, tag: format!("{tag}{TAG_SUFFIX}"), tables: OnceCell::new() }
    }

    /// The blob that holds the table of a layer.
    pub(super) async fn table(&self, layer: &Digest) -> Result<Vec<u8>, String> {
        let tables = self.tables.get_or_init(|| self.find()).await.as_ref().map_err(Clone::clone)?;
        let of_layer = |table: &&Descriptor| {
            table.annotations.get(LAYER_ANNOTATION).is_some_and(|of| *of == layer.to_string())
        };
        let table = tables.iter().find(of_layer);
        let table = table.ok_or_else(|| format!("the image {} has no table of it", self.tag))?;
        let bytes = self.repository.small_blob(table, MAX_TABLE_BYTES).await;
        bytes.map(|bytes| bytes.to_vec()).map_err(|error| chain(&error))
    }

    async fn find(&self) -> Result<Vec<Descriptor>, String> {
        let mut open = vec![Target::Tag(self.tag.clone())];
        let mut tables = Vec::new();
        for _ in 0..MAX_MANIFESTS {
            let Some(target) = open.pop() else { break };
            let fetched = self.repository.document(&target).await.map_err(|error| chain(&error))?;
            let kind = fetched.media_type.as_deref();
            match Document::parse(&fetched.bytes, kind, &Limits::default()).map_err(|error| chain(&error))? {
                Document::Manifest(manifest) => tables.extend(manifest.layers),
                Document::Index(index) => {
                    open.extend(index.manifests.iter().map(|listed| Target::Digest(listed.digest)));
                }
            }
        }
        Ok(tables)
    }
}
