//! `glowplug explain`: how an image would start here, layer by layer, and how long it would take.

use glowplug_base::Clock;
use glowplug_base::size::human;
use glowplug_oci::Compression;
use glowplug_store::{Layer, Store};
use glowplug_timeline::Timeline;
use serde_json::json;

use crate::cli::{ExplainArgs, Global};
use crate::node::{locate, open_store};
use crate::output::Output;

/// Blob bytes that stream by in a second when the link is no limit: `cargo xtask bench index` took 1.10 s for a gzip
/// layer of 156 MB on two cores.
const STREAM_BYTES_PER_SECOND: u64 = 140_000_000;

/// Runs the command.
pub fn explain(global: &Global, args: &ExplainArgs, output: &Output, clock: Clock) -> anyhow::Result<()> {
    let store = open_store(global)?;
    let timeline = Timeline::new(clock);
    let located = super::runtime()?.block_on(locate(&store, &args.registry, &args.image, &timeline))?;
    let (mut rows, mut stream_bytes, mut missing_bytes) = (Vec::new(), 0, 0);
    output.result(format!("{}\n{}", located.image.name, located.image.manifest_digest));
    for (number, layer) in located.image.layers.iter().enumerate() {
        let size = layer.descriptor.size;
        let verdict = judge(&store, layer.descriptor.digest, layer.kind.compression, size);
        stream_bytes += if verdict.indexed { 0 } else { size };
        missing_bytes += size - verdict.here.min(size);
        output.result(format!(
            "layer {number}  {:>8}  {:<5} {}  {}, {} here",
            human(size),
            name(layer.kind.compression),
            if verdict.lazy { "lazy" } else { "not lazy" },
            verdict.why,
            human(verdict.here),
        ));
        rows.push(json!({ "digest": layer.descriptor.digest, "bytes": size, "format": name(layer.kind.compression),
            "lazy": verdict.lazy, "why": verdict.why, "indexed": verdict.indexed, "here_bytes": verdict.here }));
    }
    let bytes_per_second = args.link.max(1) * 1_000_000 / 8;
    // Layers that must stream by gate the start; the rest comes while the application works.
    let until_start = (stream_bytes as f64 / bytes_per_second as f64)
        .max(stream_bytes as f64 / STREAM_BYTES_PER_SECOND as f64);
    let until_complete = missing_bytes as f64 / bytes_per_second as f64;
    output.result(format!(
        "at {} Mbit/s: container starts after about {until_start:.1} s, every byte is here after about {until_complete:.1} s",
        args.link
    ));
    output.document(
        &json!({ "image": located.image.name, "manifest": located.image.manifest_digest, "layers": rows,
        "start_seconds": until_start, "complete_seconds": until_complete, "link_mbit": args.link }),
    );
    Ok(())
}

struct Verdict {
    indexed: bool,
    lazy: bool,
    why: String,
    here: u64,
}

fn judge(store: &Store, blob: glowplug_base::Digest, compression: Compression, size: u64) -> Verdict {
    match store.layer(&blob) {
        Some(layer) => known(&layer, compression),
        None => Verdict {
            indexed: false,
            lazy: false,
            why: format!(
                "no index yet: {} stream by once at the first start, and are indexed then",
                human(size)
            ),
            here: 0,
        },
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
    Verdict { indexed: true, lazy, why, here: layer.present_blob_bytes() }
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
