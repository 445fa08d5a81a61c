//! `glowplug image convert`: packs the layers of an image anew and publishes it under another name.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use glowplug_base::size::human;
use glowplug_convert::{Converted, ConvertedLayer, Dialect, Encoding, Plan, Settings, Watch};
use glowplug_image::Profile;
use glowplug_image::profile::shared;
use glowplug_oci::{Platform, Source};
use glowplug_registry::{Repository, Target};
use glowplug_source::RangeSource;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{ConvertArgs, Global};
use crate::commands::runtime;
use crate::node::{StartKind, client, open_store, profiles};
use crate::output::Output;

/// Runs the command.
pub fn convert(global: &Global, args: &ConvertArgs, output: &Output) -> anyhow::Result<()> {
    let settings = settings(args)?;
    let (from, to) = (args.image.parse::<Source>()?, destination(args)?);
    runtime()?.block_on(async {
        // Whoever is asked to stop leaves no half-made blob behind.
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            done = publish(global, args, (&from, &to), settings, output) => done,
            _ = tokio::signal::ctrl_c() => bail!("stopped; nothing was published"),
            _ = terminate.recv() => bail!("stopped; nothing was published"),
        }
    })
}

fn settings(args: &ConvertArgs) -> anyhow::Result<Settings> {
    let dialect = if args.dialect == "stargz" { Dialect::Stargz } else { Dialect::Storage };
    let encoding = match &*args.to {
        "estargz" => Encoding::Estargz,
        "zstd-chunked" => Encoding::ZstdChunked(dialect),
        "zstd" => Encoding::Zstd,
        _ => Encoding::Gzip,
    };
    let platforms = args.platform.iter().map(|text| text.parse()).collect::<Result<Vec<Platform>, _>>()?;
    let level = args.level.unwrap_or(encoding.default_level());
    let layer_bytes = args.arrange.repack.then_some(args.arrange.layer_size);
    let chunk_bytes = args.chunk_size;
    let settings = Settings { level, chunk_bytes, platforms, layer_bytes, ..Settings::new(encoding) };
    settings.check()?;
    Ok(settings)
}

fn destination(args: &ConvertArgs) -> anyhow::Result<Source> {
    let to: Source = args.output.parse().with_context(|| format!("--output {:?}", args.output))?;
    if let Source::Registry(reference) = &to
        && reference.digest().is_some()
    {
        bail!("--output {:?} names a digest; the result has one that nobody knows yet", args.output);
    }
    Ok(to)
}

async fn publish(
    global: &Global,
    args: &ConvertArgs,
    (from, to): (&Source, &Source),
    mut settings: Settings,
    output: &Output,
) -> anyhow::Result<()> {
    let client = client(&args.reach)?;
    let origin = client.open(from).await?;
    let plan = Plan::make(&*origin, &Target::from(from), &settings.platforms).await?;
    let place = client.create(to).await?;
    let (images, layers) = (plan.images().len(), plan.layer_bytes().len());
    let size: u64 = plan.layer_bytes().sum();
    let noun = if images == 1 { "image" } else { "images" };
    output.note(format!("{}: {images} {noun}, {layers} layers, {}", args.image, human(size)));
    plan.dropped().iter().for_each(|dropped| output.note(dropped));
    if let Some(order) = &args.arrange.order {
        let profile = profile(global, order, &plan, &*origin).await?;
        settings.order = profile.files().map(str::to_owned).collect();
        let (runs, files) = (profile.runs, settings.order.len());
        if files == 0 {
            bail!("--order {order}: the start profile names no file");
        }
        output.note(format!("{runs} recorded starts read {files} files, which come first in their layers"));
    }
    let teller = Teller { output };
    let converted =
        glowplug_convert::convert(&plan, &*origin, &*place, &Target::from(to), &settings, &teller).await?;
    report(args, to, &plan, &converted, output);
    Ok(())
}

/// The profile that `--order` names; of several images the first that has one.
async fn profile(
    global: &Global,
    order: &str,
    plan: &Plan,
    origin: &dyn Repository,
) -> anyhow::Result<Profile> {
    let images = plan.images().iter().map(|image| image.manifest_digest);
    match order {
        "recorded" => {
            let store = open_store(global)?;
            let own = |image| StartKind::of(image, None, &[]).profile(&store);
            let other = |image| profiles(&store, image).into_iter().max_by_key(|profile| profile.runs);
            let mut found = images.filter_map(|image| own(image).or_else(|| other(image)));
            found.next().context("no start of this image is recorded here; run makes one")
        }
        "published" => {
            let command = shared::command(None, &[]);
            for image in images {
                if let Some(profile) = shared::find(origin, &image, &command).await {
                    return Ok(profile);
                }
            }
            bail!("no start profile of this image is published beside it; image optimize makes one")
        }
        file => {
            let bytes = std::fs::read(file).with_context(|| format!("read {file}"))?;
            Profile::parse(&bytes).with_context(|| format!("{file} is no start profile"))
        }
    }
}

/// Tells of layers as they come.
struct Teller<'a> {
    output: &'a Output,
}

impl Watch for Teller<'_> {
    fn source(&self, number: usize, source: Arc<dyn RangeSource>) -> Arc<dyn RangeSource> {
        self.output.progress().metered(number, source)
    }

    fn unpacked(&self, dir: &Path, bytes: u64) {
        let (dir, bytes) = (dir.display(), human(bytes));
        self.output.note(format!("all layers are unpacked: {bytes} in {dir}, until they are packed"));
    }

    fn fixed(&self, number: usize, why: &str) {
        self.output.note(format!("layer {number} keeps its order and length: {why}"));
    }

    fn layer(&self, number: usize, layer: &ConvertedLayer) {
        let tar = if layer.diff_id == layer.old_diff_id { "" } else { "; its tar changes, too" };
        let (old, new) = (human(layer.old_bytes), human(layer.new_bytes));
        let (piece, pieces) = (layer.piece + 1, layer.pieces);
        self.output.note(match pieces {
            1 => format!("layer {number}: {old} become {new}{tar}"),
            _ => format!(
                "layer {number}, piece {piece} of {pieces}: {new} of what were {old}; a tar of its own"
            ),
        });
    }
}

fn report(args: &ConvertArgs, to: &Source, plan: &Plan, converted: &Converted, output: &Output) {
    // Of pieces each has what all of them were.
    let once = |layer: &ConvertedLayer| if layer.piece == 0 { layer.old_bytes } else { 0 };
    let (old_bytes, new_bytes) =
        converted.layers.iter().fold((0, 0), |(old, new), layer| (old + once(layer), new + layer.new_bytes));
    output.result(format!("{to}: {} of layers became {} of {}", human(old_bytes), human(new_bytes), args.to));
    output.result(format!(
        "its digest is {}, not the {} of {}: signatures and attestations of that are not about it",
        converted.new, converted.old, args.image
    ));
    let layers = converted.layers.iter().map(|layer| {
        json!({ "old": layer.old, "old_bytes": layer.old_bytes, "new": layer.new, "new_bytes": layer.new_bytes,
            "diff_id": layer.diff_id, "piece": layer.piece, "pieces": layer.pieces })
    });
    let images = converted.images.iter().map(|image| {
        json!({ "platform": image.platform.to_string(), "old": image.old, "new": image.new, "layers": image.layers })
    });
    let dropped =
        plan.dropped().iter().map(|dropped| json!({ "digest": dropped.digest, "why": dropped.to_string() }));
    output.document(&json!({ "image": args.image, "output": to.to_string(), "format": args.to,
        "old": converted.old, "new": converted.new, "images": images.collect::<Vec<Value>>(),
        "layers": layers.collect::<Vec<Value>>(), "dropped": dropped.collect::<Vec<Value>>() }));
}
