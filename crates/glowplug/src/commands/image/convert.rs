//! `glowplug image convert`: packs the layers of an image anew and publishes it under another name.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use glowplug_base::size::human;
use glowplug_convert::{Converted, ConvertedLayer, Dialect, Encoding, Plan, Settings, Watch};
use glowplug_oci::{Platform, Source};
use glowplug_registry::Target;
use glowplug_source::RangeSource;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::ConvertArgs;
use crate::commands::runtime;
use crate::node::client;
use crate::output::Output;

/// Runs the command.
pub fn convert(args: &ConvertArgs, output: &Output) -> anyhow::Result<()> {
    let settings = settings(args)?;
    let (from, to) = (args.image.parse::<Source>()?, destination(args)?);
    runtime()?.block_on(async {
        // Whoever is asked to stop leaves no half-made blob behind.
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            done = publish(args, &from, &to, &settings, output) => done,
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
    let settings = Settings { level, chunk_bytes: args.chunk_size, platforms, ..Settings::new(encoding) };
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
    args: &ConvertArgs,
    from: &Source,
    to: &Source,
    settings: &Settings,
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
    let teller = Teller { output, tar_changes: settings.encoding == Encoding::Estargz };
    let converted =
        glowplug_convert::convert(&plan, &*origin, &*place, &Target::from(to), settings, &teller).await?;
    report(args, to, &plan, &converted, output);
    Ok(())
}

/// Tells of layers as they come.
struct Teller<'a> {
    output: &'a Output,
    tar_changes: bool,
}

impl Watch for Teller<'_> {
    fn source(&self, number: usize, source: Arc<dyn RangeSource>) -> Arc<dyn RangeSource> {
        self.output.progress().metered(number, source)
    }

    fn layer(&self, number: usize, layer: &ConvertedLayer) {
        let tar = if self.tar_changes { "; its tar changes, too" } else { "" };
        let (old, new) = (human(layer.old_bytes), human(layer.new_bytes));
        self.output.note(format!("layer {number}: {old} become {new}{tar}"));
    }
}

fn report(args: &ConvertArgs, to: &Source, plan: &Plan, converted: &Converted, output: &Output) {
    let (old_bytes, new_bytes) = converted
        .layers
        .iter()
        .fold((0, 0), |(old, new), layer| (old + layer.old_bytes, new + layer.new_bytes));
    output.result(format!("{to}: {} of layers became {} of {}", human(old_bytes), human(new_bytes), args.to));
    output.result(format!(
        "its digest is {}, not the {} of {}: signatures and attestations of that are not about it",
        converted.new, converted.old, args.image
    ));
    let layers = converted.layers.iter().map(|layer| {
        json!({ "old": layer.old, "old_bytes": layer.old_bytes, "new": layer.new, "new_bytes": layer.new_bytes,
            "diff_id": layer.diff_id })
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
