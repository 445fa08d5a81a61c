//! Opens an image to look into it instead of starting it: what can be read lazily moves only when somebody looks at it.

use std::collections::HashSet;
use std::sync::Arc;

use glowplug_base::size::human;
use glowplug_image::{Image, LayerSpec, toc};
use glowplug_store::Store;
use glowplug_timeline::Timeline;

use crate::node::{Located, Neighbours};
use crate::output::Output;

/// Opens the image in the node's store, and says what has to stream by for that, and why.
pub async fn open(
    store: &Arc<Store>,
    located: &Located,
    output: &Output,
    timeline: &Timeline,
) -> anyhow::Result<Image> {
    store.enforce_quota()?;
    let mut layers = located.layers();
    let streaming = streaming(store, &layers, &located.neighbours).await;
    if !streaming.is_empty() {
        output.note(format!(
            "{}: {} of {} layers have no index anywhere, so {} stream by once: the list of a layer's files is spread over all of it; \
             they are kept in the store, indexed, and only what is wanted of them moves from then on",
            located.image.name,
            streaming.len(),
            layers.len(),
            human(streaming.iter().sum()),
        ));
    }
    for (number, layer) in layers.iter_mut().enumerate() {
        layer.source = output.progress().metered(number, layer.source.clone());
    }
    let neighbours = &*located.neighbours;
    let opened =
        glowplug_image::open_with(store, &layers, &located.models, neighbours.asked(), timeline).await?;
    if opened.streamed > 0 {
        neighbours.offer_indexes(&opened.image).await;
    }
    Ok(opened.image)
}

/// Sizes of the layers that nobody has an index of, as far as that can be known before they are asked for: one that proves unusable adds
/// its layer.
async fn streaming(store: &Store, layers: &[LayerSpec], neighbours: &Neighbours) -> Vec<u64> {
    let mut sizes = Vec::new();
    let mut seen = HashSet::new();
    for layer in layers.iter().filter(|layer| seen.insert(layer.blob)) {
        if store.layer(&layer.blob).is_some() {
            continue;
        }
        let size = layer.source.size();
        let published = match &layer.soci {
            _ if store.distrusts(&layer.blob) => false,
            _ if toc::kind(layer.compression, &layer.annotations).is_some() => true,
            Some(soci) => soci.listed(&layer.blob, size).await.is_some(),
            None => false,
        };
        let offered = async || neighbours.look_for_index(layer.blob, size).await.is_some();
        if !published && (store.distrusts(&layer.blob) || !offered().await) {
            sizes.push(size);
        }
    }
    sizes
}
