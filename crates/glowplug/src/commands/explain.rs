//! `glowplug explain`: how an image would start here, layer by layer, and how long it would take.

use glowplug_base::name::printable;
use glowplug_base::size::human;
use glowplug_base::{Clock, Digest};
use glowplug_image::models::ModelFile;
use glowplug_image::profile::shared;
use glowplug_image::{fits, offered, soci, toc};
use glowplug_oci::{Compression, LayerFormat, LayerKind};
use glowplug_registry::ResolvedLayer;
use glowplug_store::{Layer, Store};
use glowplug_timeline::Timeline;
use serde_json::{Value, json};

use crate::cli::{ExplainArgs, Global};
use crate::node::{Located, StartKind, file_document, locate, open_store};
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
        describe(&store, args, &located, output, &timeline).await
    })
}

async fn describe(
    store: &Store,
    args: &ExplainArgs,
    located: &Located,
    output: &Output,
    timeline: &Timeline,
) -> anyhow::Result<()> {
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
            name(layer.kind),
            if verdict.lazy { "lazy" } else { "not lazy" },
            verdict.why,
            human(verdict.here),
        ));
        rows.push(json!({ "digest": layer.descriptor.digest, "bytes": size, "format": name(layer.kind),
            "lazy": verdict.lazy, "why": verdict.why, "indexed": verdict.indexed, "here_bytes": verdict.here,
            "index_bytes": verdict.index_bytes, "audit": verdict.audit }));
    }
    let artifact = located.artifact()?;
    for file in artifact.iter().flat_map(|artifact| &artifact.models.files) {
        let verdict = judge_model(store, file);
        gating.index += verdict.index_bytes.unwrap_or(0);
        missing_bytes += file.size - verdict.here.min(file.size);
        output.result(format!(
            "model    {:>8}  raw   lazy  {}: {}, {} here",
            human(file.size),
            printable(file.path.as_bytes()),
            verdict.why,
            human(verdict.here),
        ));
    }
    if let Some(artifact) = &artifact {
        output.result(format!("models are in {}", printable(artifact.reference.as_bytes())));
    }
    let models = artifact.map(|artifact| artifact.document(|file| model_document(store, file)));
    let order = order(store, located, timeline).await;
    output.result(match &order {
        Some((runs, from)) => format!("order of the start: learned in {runs} runs, from {from}"),
        None => "order of the start: not known yet, the first start is watched".to_owned(),
    });
    let order = order.map(|(runs, from)| json!({ "runs": runs, "from": from }));
    let bytes_per_second = args.link.max(1) * 1_000_000 / 8;
    let until_start = gating.seconds(bytes_per_second);
    let until_complete = missing_bytes as f64 / bytes_per_second as f64;
    output.result(format!(
        "at {} Mbit/s: container starts after about {until_start:.1} s, every byte is here after about {until_complete:.1} s",
        args.link
    ));
    output.document(
        &json!({ "image": located.image.name, "manifest": located.image.manifest_digest, "layers": rows,
        "models": models, "order": order, "start_seconds": until_start, "complete_seconds": until_complete, "link_mbit": args.link }),
    );
    Ok(())
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
    /// What became of an index that somebody else made: `pending`, `confirmed` or `contradicted`.
    audit: Option<&'static str>,
}

async fn judge(store: &Store, located: &Located, soci: &soci::Lookup, layer: &ResolvedLayer) -> Verdict {
    let (blob, size, compression) = (layer.descriptor.digest, layer.descriptor.size, layer.kind.compression);
    if let Some(known_layer) = store.layer(&blob).filter(|known| fits(known, layer.kind.format)) {
        return known(store, &known_layer, compression, Some(&layer.diff_id));
    }
    let streams = format!("{} stream by once at the first start, and are indexed then", human(size));
    let unindexed =
        |why| Verdict { indexed: false, lazy: false, why, here: 0, index_bytes: None, audit: None };
    if store.distrusts(&blob) {
        let why =
            format!("the index published for it proved wrong: {} stream by at the next start", human(size));
        return Verdict { audit: Some("contradicted"), ..unindexed(why) };
    }
    if layer.kind.format == LayerFormat::Erofs {
        return unindexed(format!("an EROFS image, and nothing vouches for pieces of it: {streams}"));
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
        (None, None) => match located.neighbours.look_for_index(blob, size).await {
            Some((index_bytes, from)) => {
                let why = format!("index at {from}: lazy at the first start");
                Verdict { lazy: true, index_bytes: Some(index_bytes), ..unindexed(why) }
            }
            None => unindexed(format!("no index yet: {streams}")),
        },
    }
}

/// A layer in the store, for an image that says `archive` is the digest of its archive.
fn known(store: &Store, layer: &Layer, compression: Compression, archive: Option<&Digest>) -> Verdict {
    let lazy = layer.index().is_lazy();
    let (audit, held) = match (layer.index().origin.is_published(), layer.is_confirmed_for(archive)) {
        (false, _) => (None, ""),
        (true, false) => (Some("pending"), ", not yet held against the whole layer"),
        (true, true) => (Some("confirmed"), ", held against the whole layer"),
    };
    let why = match (lazy, compression) {
        (true, _) => {
            format!("{} spans, index from {}{held}", layer.index().spans.len(), origin(store, layer))
        }
        (false, Compression::Zstd) => {
            "one large zstd frame has no way in: what is missing streams by again".to_owned()
        }
        (false, _) => {
            "a deflate block of more than 32 MiB has no way in: what is missing streams by again".to_owned()
        }
    };
    Verdict { indexed: true, lazy, why, here: layer.present_blob_bytes(), index_bytes: None, audit }
}

/// A file that lies beside the image: each piece of it is fetched by itself, as its chunk table says.
fn judge_model(store: &Store, file: &ModelFile) -> Verdict {
    match store.layer(&file.chunks) {
        Some(layer) => known(store, &layer, Compression::None, None),
        None => {
            let why = format!("a chunk table of {} comes at the first start", human(file.chunks_size));
            Verdict {
                indexed: false,
                lazy: true,
                why,
                here: 0,
                index_bytes: Some(file.chunks_size),
                audit: None,
            }
        }
    }
}

fn model_document(store: &Store, file: &ModelFile) -> Value {
    let verdict = judge_model(store, file);
    let mut document = file_document(file);
    document["indexed"] = verdict.indexed.into();
    document["here_bytes"] = verdict.here.into();
    document
}

fn origin(store: &Store, layer: &Layer) -> String {
    let index = layer.index();
    let origin = match index.origin {
        glowplug_layer::Origin::Streamed | glowplug_layer::Origin::Erofs => "its own first start",
        glowplug_layer::Origin::Soci => "SOCI",
        glowplug_layer::Origin::Toc => "the layer's own table of contents",
        glowplug_layer::Origin::Chunks => "the model's chunk table",
        glowplug_layer::Origin::Peer => {
            return format!(
                "a peer, {}",
                offered::giver(store, &index.blob).as_deref().unwrap_or("whose name is lost")
            );
        }
    };
    origin.to_owned()
}

/// In which order a start of what the image itself would run is streamed, and who learned it.
async fn order(store: &Store, located: &Located, timeline: &Timeline) -> Option<(u32, String)> {
    let kind = StartKind::of(located.image.manifest_digest, None, &[]);
    if let Some(learned) = kind.profile(store) {
        return Some((learned.runs, "starts on this node".to_owned()));
    }
    let order = located.order(&shared::command(None, &[]), timeline).await?;
    Some((order.profile.runs, order.from))
}

const fn name(kind: LayerKind) -> &'static str {
    match (kind.format, kind.compression) {
        (LayerFormat::Erofs, _) => "erofs",
        (LayerFormat::Tar, Compression::None) => "tar",
        (LayerFormat::Tar, Compression::Gzip) => "gzip",
        (LayerFormat::Tar, Compression::Zstd) => "zstd",
    }
}
