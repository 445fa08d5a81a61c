//! `glowplug image index`: makes the SOCI index of an image and publishes it.

use std::sync::Arc;

use anyhow::bail;
use glowplug_base::size::human;
use glowplug_image::soci::{self, Format, Grain, Outcome, Published};
use glowplug_oci::{Source, is_tag};
use glowplug_source::RangeSource;
use serde_json::{Value, json};

use crate::cli::IndexArgs;
use crate::commands::runtime;
use crate::node::{Located, look_up};
use crate::output::Output;

/// Runs the command.
pub fn index(args: &IndexArgs, output: &Output) -> anyhow::Result<()> {
    let format = format(args)?;
    let grain = Grain { min_layer_bytes: args.min_layer_size, span_bytes: args.span_size };
    runtime()?.block_on(async {
        let located = look_up(&args.registry, &args.image).await?;
        let published = publish(&located, &format, grain, output).await?;
        report(args, &located, &published, output)
    })
}

fn format(args: &IndexArgs) -> anyhow::Result<Format> {
    match (&*args.format, &args.tag) {
        ("v2", Some(tag)) if is_tag(tag) => Ok(Format::V2 { tag: tag.clone() }),
        ("v2", Some(tag)) => bail!("--tag {tag:?} is not a tag"),
        (_, Some(_)) => {
            bail!("--tag goes with --format v2; an index of v1 leaves the image and its tags alone")
        }
        _ => Ok(Format::V1),
    }
}

async fn publish(
    located: &Located,
    format: &Format,
    grain: Grain,
    output: &Output,
) -> anyhow::Result<Published> {
    let (repository, image) = (&*located.repository, &located.image);
    let metered = |(number, layer): (usize, &glowplug_registry::ResolvedLayer)| {
        output.progress().metered(number, repository.resilient_blob(&layer.descriptor))
    };
    let sources: Vec<Arc<dyn RangeSource>> = image.layers.iter().enumerate().map(metered).collect();
    let size: u64 = image.layers.iter().map(|layer| layer.descriptor.size).sum();
    output.note(format!("{}: {} layers, {}", image.name, image.layers.len(), human(size)));
    let told = |number: usize, outcome: &Outcome| {
        let layer = format!("layer {number}, {}", human(image.layers[number].descriptor.size));
        match outcome {
            Outcome::Ztoc { size, .. } => output.note(format!("{layer}: zTOC of {}", human(*size))),
            Outcome::Skipped(why) => output.note(format!("{layer}: no zTOC: {why}")),
        }
    };
    Ok(soci::publish(repository, image, &sources, format, grain, &told).await?)
}

fn report(args: &IndexArgs, located: &Located, published: &Published, output: &Output) -> anyhow::Result<()> {
    let image = &located.image;
    let of = |outcome: &Outcome| match outcome {
        Outcome::Ztoc { size, .. } => Some(*size),
        Outcome::Skipped(_) => None,
    };
    let sizes: Vec<u64> = published.layers.iter().filter_map(of).collect();
    output.result(format!(
        "SOCI index {}: {} of {} layers have a zTOC, {} in all",
        published.index,
        sizes.len(),
        published.layers.len(),
        human(sizes.iter().sum())
    ));
    // What the copy goes by, in the words in which it can be asked for.
    let copy = match (args.image.parse()?, &args.tag) {
        (Source::Layout { dir, .. }, Some(tag)) => Some(format!("oci:{}:{tag}", dir.display())),
        (_, Some(tag)) => Some(format!("{}:{tag}", located.repository.name())),
        (_, None) => None,
    };
    output.result(match &copy {
        Some(copy) => format!(
            "{copy} is a copy of {} that names it; its digest is {}, not the image's {}",
            image.name, published.manifest, image.manifest_digest
        ),
        None => format!("it refers to {}@{}, which stays as it is", image.name, image.manifest_digest),
    });
    let layers = image.layers.iter().zip(&published.layers).map(|(layer, outcome)| {
        let (digest, bytes) = (layer.descriptor.digest, layer.descriptor.size);
        match outcome {
            Outcome::Ztoc { digest: ztoc, size } => {
                json!({ "digest": digest, "bytes": bytes, "ztoc": { "digest": ztoc, "bytes": size } })
            }
            Outcome::Skipped(why) => {
                json!({ "digest": digest, "bytes": bytes, "ztoc": null, "why": why.to_string() })
            }
        }
    });
    output.document(&json!({ "image": image.name, "manifest": image.manifest_digest, "format": args.format,
        "index": published.index, "copy": copy, "copy_manifest": copy.as_ref().map(|_| published.manifest),
        "copy_digest": published.tagged, "layers": layers.collect::<Vec<Value>>() }));
    Ok(())
}
