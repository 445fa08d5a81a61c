//! `glowplug explain`: how an image would start here, layer by layer, and how long it would take.

use glowplug_base::Clock;
use glowplug_base::size::human;
use glowplug_image::{soci, toc};
use glowplug_oci::Compression;
use glowplug_registry::ResolvedLayer;
use glowplug_store::{Layer, Store};
use glowplug_timeline::Timeline;
use serde_json::json;

use crate::cli::{ExplainArgs, Global};
use crate::node::{Located, locate, open_store};
use crate::output::Output;

/// Blob bytes that stream by in a second when the link is no limit: `cargo xtask bench index` took 1.10 s for a gzip
/// layer of 156 MB on two cores.
const STREAM_BYTES_PER_SECOND: u64 = 140_000_000;

/// Runs the command.
pub fn explain(global: &Global, args: &ExplainArgs, output: &Output, clock: Clock) -> anyhow::Result<()> {
    let store = open_store(global)?;
    let timeline = Timeline::new(clock);
    super::runtime()?.block_on(async {
        let located = locate(&store, &args.registry, &args.image, &timeline).await?;
        describe(&store, args, &located, output).await;
        Ok(())
    })
}

async fn describe(store: &Store, args: &ExplainArgs, located: &Located, output: &Output) {
    let soci = located.soci();
    let (mut rows, mut gating, mut missing_bytes) = (Vec::new(), Gating::default(), 0);
    output.result(format!("{}\n{}", located.image.name, located.image.manifest_digest));
    for (number, layer) in located.image.layers.iter().enumerate() {
        let size = layer.descriptor.size;
        let verdict = judge(store, located, &soci, layer).await;
        match (verdict.indexed, verdict.index_bytes) {
            (true, _) => {}
            (false, Some(index_bytes)) => gating.index += index_bytes,
            (false, None) => gating.stream += size,
        }
        missing_bytes += size - verdict.here.min(size);
        output.result(format!(
            "layer {number}  {:>8}  {:<5} {}  {}, {} here",
            human(size),
            name(layer.kind.compression),
            if verdict.lazy { "lazy" } else { "not lazy" },
            verdict.why,
            human(verdict.here),
        ));
        rows.push(
            json!({ "digest": layer.descriptor.digest, "bytes": size, "format": name(layer.kind.compression),
            "lazy": verdict.lazy, "why": verdict.why, "indexed": verdict.indexed, "here_bytes": verdict.here,
            "index_bytes": verdict.index_bytes }),
        );
    }
    let bytes_per_second = args.link.max(1) * 1_000_000 / 8;
    let until_start = gating.seconds(bytes_per_second);
    let until_complete = missing_bytes as f64 / bytes_per_second as f64;
    output.result(format!(
        "at {} Mbit/s: container starts after about {until_start:.1} s, every byte is here after about {until_complete:.1} s",
        args.link
    ));
    output.document(
        &json!({ "image": located.image.name, "manifest": located.image.manifest_digest, "layers": rows,
        "start_seconds": until_start, "complete_seconds": until_complete, "link_mbit": args.link }),
    );
}

/// What must come before the container starts, in bytes; the rest comes while the application works.
#[derive(Debug, Default)]
struct Gating {
    /// Layers that stream by.
    stream: u64,
    /// Published indexes of the others.
    index: u64,
}

impl Gating {
    fn seconds(&self, bytes_per_second: u64) -> f64 {
        let link = (self.stream + self.index) as f64 / bytes_per_second as f64;
        link.max(self.stream as f64 / STREAM_BYTES_PER_SECOND as f64)
    }
}

struct Verdict {
    indexed: bool,
    lazy: bool,
    why: String,
    here: u64,
    /// Length of the index that was published in the layer or beside the image, as it travels; of layers in the store none is
    /// looked for.
    index_bytes: Option<u64>,
}

async fn judge(store: &Store, located: &Located, soci: &soci::Lookup, layer: &ResolvedLayer) -> Verdict {
    let (blob, size, compression) = (layer.descriptor.digest, layer.descriptor.size, layer.kind.compression);
    if let Some(layer) = store.layer(&blob) {
        return known(&layer, compression);
    }
    let streams = format!("{} stream by once at the first start, and are indexed then", human(size));
    let unindexed = |why| Verdict { indexed: false, lazy: false, why, here: 0, index_bytes: None };
    if store.distrusts(&blob) {
        return unindexed(format!(
            "the index published for it proved wrong: {} stream by at the next start",
            human(size)
        ));
    }
    let source = located.repository.resilient_blob(&layer.descriptor);
    let annotations = &layer.descriptor.annotations;
    let external = located.external();
    let table = match (
        toc::kind(compression, annotations),
        toc::find(&*source, compression, annotations, &blob, external.as_ref()).await,
    ) {
        (Some(kind), Ok(Some(table))) => match toc::to_index(&table.toc, blob, size, compression) {
            Ok(_) => {
                let why = format!("{kind} table in the layer: lazy at the first start");
                return Verdict { lazy: true, index_bytes: Some(table.stored_bytes), ..unindexed(why) };
            }
            Err(reason) => Some(format!("its {kind} table cannot be used ({reason})")),
        },
        (Some(kind), Err(reason)) => Some(format!("its {kind} table cannot be used ({reason})")),
        _ => toc::unvouched(&*source, compression)
            .await
            .map(|kind| format!("it has a {kind} table, but the manifest does not name the table's digest")),
    };
    // Whoever lists a zTOC for a zstd layer is wrong about it.
    let listed = if compression == Compression::Zstd { None } else { soci.listed(&blob, size).await };
    match (listed, table) {
        (Some(listed), _) => {
            let why = "SOCI index beside the image: lazy at the first start".to_owned();
            Verdict { lazy: true, index_bytes: Some(listed.size), ..unindexed(why) }
        }
        (None, Some(trouble)) => unindexed(format!("{trouble}: {streams}")),
        (None, None) => unindexed(format!("no index yet: {streams}")),
    }
}

fn known(layer: &Layer, compression: Compression) -> Verdict {
    let lazy = layer.index().is_lazy();
    let why = match (lazy, compression) {
        (true, _) => format!("{} spans, index from {}", layer.index().spans.len(), origin(layer)),
        (false, Compression::Zstd) => {
            "one large zstd frame has no way in: what is missing streams by again".to_owned()
        }
        (false, _) => {
            "a deflate block of more than 32 MiB has no way in: what is missing streams by again".to_owned()
        }
    };
    Verdict { indexed: true, lazy, why, here: layer.present_blob_bytes(), index_bytes: None }
}

fn origin(layer: &Layer) -> &'static str {
    match layer.index().origin {
        glowplug_layer::Origin::Streamed => "its own first start",
        glowplug_layer::Origin::Soci => "SOCI",
        glowplug_layer::Origin::Toc => "the layer's own table of contents",
        glowplug_layer::Origin::Chunks => "the model's chunk table",
    }
}

const fn name(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "tar",
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
    }
}
