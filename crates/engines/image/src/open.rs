//! Opening an image: an index for every layer, then one tree.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use glowplug_base::Digest;
use glowplug_layer::Origin;
use glowplug_oci::{Compression, LayerFormat};
use glowplug_source::{RangeSource, Traced};
use glowplug_store::{Layer, Store};
use glowplug_timeline::{Phase, Timeline};

use crate::error::chain;
use crate::fetch::{Scheduler, Supply};
use crate::models::{self, ModelSpec};
use crate::offered::{self, Neighbours};
use crate::{Image, ImageError, ingest, soci, toc};

/// Layers that stream by at the same time when nothing is known about an image: the link is shared by all of them and
/// each takes up to two cores, so more would only cost memory.
const LAYERS_AT_ONCE: usize = 3;
/// Published indexes on their way at the same time: they are small, so it is the round trips that count.
const INDEXES_AT_ONCE: usize = 8;

/// One layer of the image to open.
#[derive(Debug, Clone)]
pub struct LayerSpec {
    /// Its blob.
    pub blob: Digest,
    /// What it is: an archive, or an EROFS image.
    pub format: LayerFormat,
    /// How the blob is compressed.
    pub compression: Compression,
    /// Digest of its archive as the image's configuration has it: what a published index is held against without fetching anything
    /// twice.
    pub diff_id: Option<Digest>,
    /// Where the blob's bytes come from.
    pub source: Arc<dyn RangeSource>,
    /// Annotations of the layer in the manifest: they tell of a table of contents in the layer itself.
    pub annotations: BTreeMap<String, String>,
    /// Where the table of an eStargz layer is that does not carry it itself.
    pub external: Option<Arc<toc::External>>,
    /// Where to look for an index that was published beside the image; asked when the store has none and neither has the layer.
    pub soci: Option<Arc<soci::Lookup>>,
}

impl LayerSpec {
    /// The layer, if the store has an index of it.
    pub(crate) fn kept(&self, store: &Store) -> Option<Arc<Layer>> {
        store.layer(&self.blob).filter(|layer| fits(layer, self.format))
    }
}

/// Whether a layer in the store is what a manifest calls it. Some blobs are both an archive and an EROFS image: zeros end an archive,
/// and an image may begin with as many. Which of the two is shown is for the manifest to say, not for whoever came first.
pub fn fits(layer: &Layer, format: LayerFormat) -> bool {
    (layer.index().origin == Origin::Erofs) == (format == LayerFormat::Erofs)
}

/// An image, and how its layers' indexes were come by.
#[derive(Debug)]
pub struct Opened {
    /// The image.
    pub image: Image,
    /// Layers whose index was in the store.
    pub known: usize,
    /// Layers whose index was published, in the layer or beside the image.
    pub adopted: usize,
    /// Layers whose index came from another node.
    pub offered: usize,
    /// Layers that had to stream by.
    pub streamed: usize,
    /// Those of them whose published index was found to be wrong on an earlier start.
    pub distrusted: usize,
}

/// Opens the image made of `layers`, bottom first. Layers without an index, in the store or beside the image, stream by
/// first, largest first.
///
/// # Errors
/// The first layer that cannot be had, or layers that do not form a tree.
pub async fn open(
    store: &Arc<Store>,
    layers: &[LayerSpec],
    timeline: &Timeline,
) -> Result<Opened, ImageError> {
    open_with(store, layers, &[], None, timeline).await
}

/// Opens the image made of `layers`, bottom first, and of `models`, files that lie beside it and are shown above its layers.
/// `neighbours` are asked for the indexes that nobody published.
///
/// # Errors
/// As [`open`], or a model whose chunk table cannot be had or is none.
pub async fn open_with(
    store: &Arc<Store>,
    layers: &[LayerSpec],
    models: &[ModelSpec],
    neighbours: Option<&dyn Neighbours>,
    timeline: &Timeline,
) -> Result<Opened, ImageError> {
    let mut found: Vec<Option<Arc<Layer>>> = layers.iter().map(|layer| layer.kept(store)).collect();
    let mut missing: Vec<usize> = (0..layers.len()).filter(|at| found[*at].is_none()).collect();
    let mut known = layers.len() - missing.len();
    // One layer may be there twice; it streams by once.
    largest_first(&mut missing, layers);

    let distrusted = missing.iter().filter(|at| store.distrusts(&layers[**at].blob)).count();

    let (mut adopted, mut offered, mut to_stream) = (0, 0, Vec::new());
    for (at, layer) in adopt(store, layers, missing, neighbours, timeline).await {
        match &layer {
            Some(layer) if layer.index().origin == Origin::Peer => offered += 1,
            Some(_) => adopted += 1,
            None => to_stream.push(at),
        }
        found[at] = layer;
    }
    stream(store, layers, &to_stream, &mut found, timeline).await?;
    let beside = beside(store, models, timeline).await?;
    let image = match assemble(store, layers, &found, &beside, timeline) {
        // What streams by is right whatever an index said, now or on an earlier start.
        Err(ImageError::Tree(error)) if found.iter().any(is_published) => {
            tracing::warn!(%error, "the published indexes are wrong about the layers, they stream by");
            let mut again: Vec<usize> = (0..layers.len()).filter(|at| is_published(&found[*at])).collect();
            again.iter().for_each(|at| found[*at] = None);
            known -= again.len() - std::mem::take(&mut adopted) - std::mem::take(&mut offered);
            largest_first(&mut again, layers);
            stream(store, layers, &again, &mut found, timeline).await?;
            to_stream.append(&mut again);
            assemble(store, layers, &found, &beside, timeline)?
        }
        other => other?,
    };
    Ok(Opened { image, known, adopted, offered, streamed: to_stream.len(), distrusted })
}

/// Sorts layers by size, and drops what is there twice.
fn largest_first(which: &mut Vec<usize>, layers: &[LayerSpec]) {
    which.sort_by_key(|at| (std::cmp::Reverse(layers[*at].source.size()), layers[*at].blob));
    which.dedup_by_key(|at| layers[*at].blob);
}

/// Whether the index of a layer was published, so that it may be wrong.
fn is_published(layer: &Option<Arc<Layer>>) -> bool {
    layer.as_ref().is_some_and(|layer| layer.index().origin.is_published())
}

/// Takes in the indexes in the layers, beside the image and of other nodes, and says for each layer in `missing` what came of it.
async fn adopt(
    store: &Arc<Store>,
    layers: &[LayerSpec],
    missing: Vec<usize>,
    neighbours: Option<&dyn Neighbours>,
    timeline: &Timeline,
) -> Vec<(usize, Option<Arc<Layer>>)> {
    let adopting = futures::stream::iter(missing.into_iter().map(|at| {
        let (store, spec, timeline) = (store.clone(), layers[at].clone(), timeline.clone());
        async move {
            // Nobody publishes indexes of EROFS images.
            if store.distrusts(&spec.blob) || spec.format == LayerFormat::Erofs {
                return (at, None);
            }
            // What the image's publisher vouches for comes first.
            let published = published(&store, &spec, at, &timeline).await;
            match (published, neighbours) {
                (None, Some(neighbours)) => {
                    let layer = (spec.blob, spec.source.size(), spec.compression);
                    (at, offered::adopt(&store, layer, at, neighbours, &timeline).await)
                }
                (published, _) => (at, published),
            }
        }
    }));
    adopting.buffered(INDEXES_AT_ONCE).collect().await
}

/// Takes in the index in a layer or beside its image.
async fn published(
    store: &Arc<Store>,
    spec: &LayerSpec,
    at: usize,
    timeline: &Timeline,
) -> Option<Arc<Layer>> {
    if let Some(kind) = toc::kind(spec.compression, &spec.annotations) {
        let _span = timeline.span(Phase::Pull, format!("read the {kind} table of layer {at}"));
        match adopt_toc(store, spec).await {
            Ok(layer) => return layer,
            Err(reason) => tracing::warn!(layer = %spec.blob, %reason, "the {kind} table cannot be used"),
        }
    }
    let lookup = spec.soci.clone()?;
    let _span = timeline.span(Phase::Pull, format!("look for a SOCI index of layer {at}"));
    adopt_ztoc(store, spec, &lookup).await.unwrap_or_else(|reason| {
        tracing::warn!(layer = %spec.blob, %reason, "the SOCI index cannot be used");
        None
    })
}

/// Takes in the table that the layer carries.
async fn adopt_toc(store: &Arc<Store>, spec: &LayerSpec) -> Result<Option<Arc<Layer>>, String> {
    let Some(table) =
        toc::find(&*spec.source, spec.compression, &spec.annotations, &spec.blob, spec.external.as_deref())
            .await?
    else {
        return Ok(None);
    };
    let (store, blob, size, compression) = (store.clone(), spec.blob, spec.source.size(), spec.compression);
    let work = tokio::task::spawn_blocking(move || {
        let index = toc::to_index(&table.toc, blob, size, compression)?;
        let builder = store.build(blob).map_err(|error| chain(&error))?;
        store.adopt(builder, &index).map_err(|error| chain(&error))
    });
    work.await.map_err(|panic| panic.to_string())?.map(Some)
}

/// Takes in the zTOC that was published for the layer.
async fn adopt_ztoc(
    store: &Arc<Store>,
    spec: &LayerSpec,
    lookup: &soci::Lookup,
) -> Result<Option<Arc<Layer>>, String> {
    let (store, blob, size, compression) = (store.clone(), spec.blob, spec.source.size(), spec.compression);
    let Some(ztoc) = lookup.ztoc(&blob, size).await else { return Ok(None) };
    let prefetch = lookup.prefetch(&blob).await;
    let work = tokio::task::spawn_blocking(move || {
        let mut imported = soci::from_ztoc(&ztoc, blob, size, compression).map_err(|error| chain(&error))?;
        // Spans beyond the last are its publisher's mistake, and harmless.
        let count = imported.index.spans.len() as u32;
        imported.index.prefetch = prefetch.into_iter().filter(|range| range.end <= count).collect();
        soci::adopt(&store, imported).map_err(|error| chain(&error))
    });
    work.await.map_err(|panic| panic.to_string())?.map(Some)
}

/// Streams the layers `which` by and puts them into `found`.
async fn stream(
    store: &Arc<Store>,
    layers: &[LayerSpec],
    which: &[usize],
    found: &mut [Option<Arc<Layer>>],
    timeline: &Timeline,
) -> Result<(), ImageError> {
    let streaming = futures::stream::iter(which.iter().copied().map(|at| {
        let (store, layer, timeline) = (store.clone(), layers[at].clone(), timeline.clone());
        async move {
            let mut span = timeline.span(Phase::Pull, format!("stream and index layer {at}"));
            span.detail(glowplug_base::size::human(layer.source.size()));
            let source: Arc<dyn RangeSource> = Arc::new(Traced::new(layer.source, timeline));
            let made = ingest(store, source, layer.blob, layer.format, layer.compression).await?;
            match fits(&made, layer.format) {
                true => Ok((at, made)),
                // What somebody has open stays.
                false => Err(ImageError::layer(layer.blob, "it is open as a layer of another format")),
            }
        }
    }));
    let made: Vec<_> = streaming.buffer_unordered(LAYERS_AT_ONCE).try_collect().await?;
    for (at, layer) in made {
        found[at] = Some(layer);
    }
    Ok(())
}

/// The layers of the files that lie beside the image.
async fn beside(
    store: &Arc<Store>,
    models: &[ModelSpec],
    timeline: &Timeline,
) -> Result<Vec<Supply>, ImageError> {
    if models.is_empty() {
        return Ok(Vec::new());
    }
    let _span = timeline.span(Phase::Pull, "read the chunk tables of the models");
    let opening = futures::stream::iter(models.iter().cloned().map(|model| {
        let (store, timeline) = (store.clone(), timeline.clone());
        async move {
            let layer = models::layer(&store, &model).await?;
            let source: Arc<dyn RangeSource> = Arc::new(Traced::new(model.source, timeline));
            let (compression, placed) = (Compression::None, Some(vec![model.file.placed()]));
            Ok::<_, ImageError>(Supply { layer, source, compression, diff_id: None, placed })
        }
    }));
    opening.buffered(INDEXES_AT_ONCE).try_collect().await
}

/// Makes the image of layers that all have an index now.
fn assemble(
    store: &Arc<Store>,
    layers: &[LayerSpec],
    found: &[Option<Arc<Layer>>],
    beside: &[Supply],
    timeline: &Timeline,
) -> Result<Image, ImageError> {
    let mut supplies = Vec::with_capacity(layers.len());
    for (spec, layer) in layers.iter().zip(found) {
        let layer = layer
            .clone()
            .or_else(|| spec.kept(store))
            .ok_or_else(|| ImageError::layer(spec.blob, "the index just made cannot be read back"))?;
        let source: Arc<dyn RangeSource> = Arc::new(Traced::new(spec.source.clone(), timeline.clone()));
        let (compression, diff_id) = (spec.compression, spec.diff_id);
        supplies.push(Supply { layer, source, compression, diff_id, placed: None });
    }
    supplies.extend_from_slice(beside);
    let _merging = timeline.span(Phase::Pull, "merge layers");
    Image::new(supplies, store.companion(Scheduler::new), timeline.clone())
}
