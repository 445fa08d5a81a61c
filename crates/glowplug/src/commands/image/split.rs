//! `glowplug image diet --split-models`: takes model weights out of images into artifacts beside them.
//!
//! Of an image for several platforms all are opened, one after the other, unless one is asked for.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use glowplug_base::name::printable;
use glowplug_base::size::human;
use glowplug_convert::split::{Chosen, Divided, DividedImage, Left, Place, Wish, choose};
use glowplug_convert::{Plan, check_push};
use glowplug_image::models::ModelFile;
use glowplug_oci::{Platform, Source};
use glowplug_registry::{Repository, Target};
use glowplug_source::RangeSource;
use glowplug_store::Store;
use glowplug_timeline::Timeline;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use super::browse;
use crate::cli::{DietArgs, SplitArgs};
use crate::node::{Located, client};
use crate::output::Output;

/// What is put behind the tag of the models for that of the image.
const IMAGE_ENDING: &str = "-image";

/// Takes weights out of the image; `to` is where they go.
pub async fn split(
    args: &DietArgs,
    to: &str,
    store: &Arc<Store>,
    output: &Output,
    timeline: &Timeline,
) -> anyhow::Result<()> {
    let (to, slim) = destinations(&args.split, to)?;
    // Whoever is asked to stop leaves no half-made blob behind.
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        done = publish(args, (&to, &slim), store, output, timeline) => done,
        _ = tokio::signal::ctrl_c() => bail!("stopped; nothing was published"),
        _ = terminate.recv() => bail!("stopped; nothing was published"),
    }
}

/// Where the models go, and the image.
fn destinations(args: &SplitArgs, to: &str) -> anyhow::Result<(Source, Source)> {
    let models: Source = to.parse().with_context(|| format!("--split-models {to:?}"))?;
    let slim = args.output.clone().unwrap_or_else(|| beside(&models));
    let image: Source = slim.parse().with_context(|| format!("--output {slim:?}"))?;
    for (flag, text, source) in [("--split-models", to, &models), ("--output", &slim, &image)] {
        if matches!(Target::from(source), Target::Digest(_)) {
            bail!("{flag} {text:?} names a digest; the result has one that nobody knows yet");
        }
    }
    let name = |source: &Source| Target::from(source).to_string();
    match (&models, &image) {
        _ if place(&models) == place(&image) && name(&models) == name(&image) => {
            bail!("{to} cannot be both the models and the image without them; name another --output")
        }
        // An image is not believed about places on the machine that runs it.
        (Source::Layout { .. }, _) if place(&models) != place(&image) => {
            bail!("models in a layout directory are found by an image in the same directory only")
        }
        _ => Ok((models, image)),
    }
}

/// The same place, by another tag.
fn beside(models: &Source) -> String {
    let tag = Target::from(models);
    format!("{}:{tag}{IMAGE_ENDING}", place(models))
}

/// A source without its tag.
fn place(source: &Source) -> String {
    match source {
        Source::Registry(reference) => format!("{}/{}", reference.registry(), reference.repository()),
        Source::Layout { dir, .. } => format!("oci:{}", dir.display()),
        other => other.to_string(),
    }
}

async fn publish(
    args: &DietArgs,
    (to, slim): (&Source, &Source),
    store: &Arc<Store>,
    output: &Output,
    timeline: &Timeline,
) -> anyhow::Result<()> {
    let from: Source = args.image.parse()?;
    let client = client(&args.registry.reach)?;
    let origin = client.open(&from).await?;
    let platforms =
        args.registry.platform.iter().map(|text| text.parse()).collect::<Result<Vec<Platform>, _>>()?;
    let plan = Plan::make(&*origin, &Target::from(&from), &platforms).await?;
    glowplug_convert::split::check(&plan)?;
    let (models, image) = (client.create(to).await?, client.create(slim).await?);
    check_push(&*models).await?;
    if image.name() != models.name() {
        check_push(&*image).await?;
    }
    plan.dropped().iter().for_each(|dropped| output.note(dropped));

    let wish = Wish { least_bytes: args.split.min_model_size, paths: args.split.model_path.clone() };
    let found = Found::look(&plan, &origin, &from, &wish, store, output, timeline).await?;
    if found.chosen.iter().all(Vec::is_empty) {
        bail!(
            "{} has no model weights of {} or more to take out; --model-path says where they are",
            args.image,
            human(wish.least_bytes)
        );
    }
    let (model_name, slim_name) = (Target::from(to), Target::from(slim));
    let known_as = matches!(to, Source::Registry(_)).then(|| models.name().to_owned());
    let watched = |number: usize, source: Arc<dyn RangeSource>| output.progress().metered(number, source);
    let divided = glowplug_convert::split::split(
        &plan,
        &*origin,
        &found.chosen,
        Place { repository: &*models, name: &model_name },
        known_as,
        Place { repository: &*image, name: &slim_name },
        &watched,
    )
    .await?;
    report(args, (to, slim), &plan, &found, &divided, output);
    Ok(())
}

/// What there is to take out of each image of a plan, and what stays that was asked for.
struct Found {
    chosen: Vec<Vec<Chosen>>,
    left: Vec<Vec<Left>>,
}

impl Found {
    async fn look(
        plan: &Plan,
        origin: &Arc<dyn Repository>,
        from: &Source,
        wish: &Wish,
        store: &Arc<Store>,
        output: &Output,
        timeline: &Timeline,
    ) -> anyhow::Result<Self> {
        let mut found = Self { chosen: Vec::new(), left: Vec::new() };
        for (number, image) in plan.images().iter().enumerate() {
            let located = Located::alone(origin.clone(), image.clone(), from);
            let opened = browse::open(store, &located, output, timeline).await?;
            let (chosen, left) = choose(&opened, wish).await?;
            let platform = plan.platform(number);
            for file in &left {
                let path = printable(file.path.as_bytes());
                output.note(format!("{platform}: {path} stays in the image: {}", file.reason));
            }
            let taken: u64 = chosen.iter().map(|file| file.bytes).sum();
            output.note(format!("{platform}: files to take out: {}, {}", chosen.len(), human(taken)));
            found.chosen.push(chosen);
            found.left.push(left);
        }
        Ok(found)
    }
}

fn report(
    args: &DietArgs,
    (to, slim): (&Source, &Source),
    plan: &Plan,
    found: &Found,
    divided: &Divided,
    output: &Output,
) {
    let (before, after) = divided.layer_bytes;
    // Each blob once, whichever images have it.
    let mut files: Vec<(&ModelFile, Option<&'static str>)> = Vec::new();
    for (image, chosen) in divided.images.iter().zip(&found.chosen) {
        for file in image.models.iter().flat_map(|models| &models.files) {
            if files.iter().all(|(known, _)| (&known.path, known.digest) != (&file.path, file.digest)) {
                files.push((file, format(file, chosen)));
            }
        }
    }
    let mut blobs: Vec<_> = files.iter().map(|(file, _)| (file.digest, file.size)).collect();
    blobs.sort_unstable();
    blobs.dedup();
    let models: u64 = blobs.iter().map(|(_, size)| size).sum();
    output.result(format!(
        "{slim}: {} of layers became {}; models in {to}: {}, {}",
        human(before),
        human(after),
        blobs.len(),
        human(models)
    ));
    output.result(format!(
        "its digest is {}, not the {} of {}: signatures, attestations and SOCI indexes of that are not about it",
        divided.new, divided.old, args.image
    ));
    output.result(
        "run it with glowplug, which shows the files where they were; other runtimes do not see them",
    );
    let images = divided.images.iter().zip(&found.chosen).zip(&found.left);
    let images = images.map(|((image, chosen), left)| image_document(image, chosen, left));
    let dropped =
        plan.dropped().iter().map(|dropped| json!({ "digest": dropped.digest, "why": dropped.to_string() }));
    output.document(&json!({
        "image": args.image, "old": divided.old, "old_bytes": before,
        "output": slim.to_string(), "new": divided.new, "new_bytes": after, "layers_made_over": divided.made_over,
        "models": to.to_string(), "artifact": divided.models, "models_bytes": models,
        "files": files.iter().map(|(file, format)| file_document(file, *format)).collect::<Vec<Value>>(),
        "images": images.collect::<Vec<Value>>(), "dropped": dropped.collect::<Vec<Value>>(),
    }));
}

/// The format of the weights in a file, if its first bytes told.
fn format(file: &ModelFile, chosen: &[Chosen]) -> Option<&'static str> {
    chosen.iter().find(|chosen| chosen.path == file.path).and_then(|chosen| chosen.format)
}

fn file_document(file: &ModelFile, format: Option<&str>) -> Value {
    json!({ "path": file.path, "digest": file.digest, "bytes": file.size, "format": format })
}

/// What became of one image.
fn image_document(image: &DividedImage, chosen: &[Chosen], left: &[Left]) -> Value {
    let files = image.models.iter().flat_map(|models| &models.files);
    let files = files.map(|file| file_document(file, format(file, chosen)));
    let stay = left
        .iter()
        .map(|file| json!({ "path": file.path, "bytes": file.bytes, "why": file.reason.to_string() }));
    json!({ "platform": image.platform.to_string(), "old": image.old, "new": image.new,
        "artifact": image.models.as_ref().map(|models| models.artifact),
        "files": files.collect::<Vec<Value>>(), "stay": stay.collect::<Vec<Value>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn went(to: &str, output: Option<&str>) -> Result<String, String> {
        let args = SplitArgs {
            split_models: Some(to.to_owned()),
            output: output.map(str::to_owned),
            min_model_size: 1,
            model_path: Vec::new(),
        };
        destinations(&args, to).map(|(_, slim)| slim.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_image_goes_beside_its_models_unless_told_otherwise() {
        assert_eq!(went("r.io/a/models:v1", None).unwrap(), "r.io/a/models:v1-image");
        assert_eq!(went("r.io/a/models:v1", Some("r.io/a/app:v2")).unwrap(), "r.io/a/app:v2");
        assert_eq!(went("oci:/there:m", None).unwrap(), "oci:/there:m-image");
        for (to, output, why) in [
            ("r.io/a/b:v1", Some("r.io/a/b:v1"), "another --output"),
            ("oci:/there:m", Some("r.io/a/b:v1"), "same directory"),
            ("oci:/there:m", Some("oci:/elsewhere:m"), "same directory"),
        ] {
            assert!(went(to, output).unwrap_err().contains(why), "{to} {output:?}");
        }
        let digest = format!("r.io/a/b@sha256:{}", "0".repeat(64));
        assert!(went(&digest, None).is_err() && went("r.io/a/b:v1", Some(&digest)).is_err());
    }
}
