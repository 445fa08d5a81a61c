//! `glowplug explain`: how an image would start here, layer by layer, and how long it would take.

use glowplug_base::Clock;
use glowplug_base::size::human;
use glowplug_image::soci;
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
        let verdict = judge(store, &soci, layer).await;
        match (verdict.indexed, verdict.ztoc_bytes) {
            (true, _) => {}
            (false, Some(ztoc_bytes)) => gating.index += ztoc_bytes,
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
            "soci_bytes": verdict.ztoc_bytes }),
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
    /// Length of the zTOC that was published beside the image; layers in the store are not looked for.
    ztoc_bytes: Option<u64>,
}

async fn judge(store: &Store, soci: &soci::Lookup, layer: &ResolvedLayer) -> Verdict {
    let (blob, size, compression) = (layer.descriptor.digest, layer.descriptor.size, layer.kind.compression);
    if let Some(layer) = store.layer(&blob) {
        return known(&layer, compression);
    }
    // Whoever lists a zTOC for a zstd layer is wrong about it.
    let (distrusted, zstd) = (store.distrusts(&blob), compression == Compression::Zstd);
    let listed = if distrusted || zstd { None } else { soci.listed(&blob, size).await };
    let why = match listed {
        Some(_) => "SOCI index beside the image: lazy at the first start".to_owned(),
        None if distrusted => {
            format!(
                "the SOCI index beside the image proved wrong: {} stream by at the next start",
                human(size)
            )
        }
        None => {
            format!("no index yet: {} stream by once at the first start, and are indexed then", human(size))
        }
    };
    let ztoc_bytes = listed.map(|listed| listed.size);
    Verdict { indexed: false, lazy: listed.is_some(), why, here: 0, ztoc_bytes }
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
    Verdict { indexed: true, lazy, why, here: layer.present_blob_bytes(), ztoc_bytes: None }
}

fn origin(layer: &Layer) -> &'static str {
    match layer.index().origin {
        glowplug_layer::Origin::Streamed => "its own first start",
        glowplug_layer::Origin::Soci => "SOCI",
    }
}

const fn name(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "tar",
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
    }
}
