//! `glowplug image diet --split-models`: takes model weights out of an image into an artifact beside it.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use glowplug_base::name::printable;
use glowplug_base::size::human;
use glowplug_convert::split::{Chosen, Divided, Left, Place, Wish, choose};
use glowplug_image::Image;
use glowplug_oci::Source;
use glowplug_registry::Target;
use glowplug_source::RangeSource;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{DietArgs, SplitArgs};
use crate::node::{Located, client};
use crate::output::Output;

/// What is put behind the tag of the models for that of the image.
const IMAGE_ENDING: &str = "-image";

/// Takes weights out of an opened image; `to` is where they go.
pub async fn split(
    args: &DietArgs,
    to: &str,
    located: &Located,
    image: &Image,
    output: &Output,
) -> anyhow::Result<()> {
    let (to, slim) = destinations(&args.split, to)?;
    // Whoever is asked to stop leaves no half-made blob behind.
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        done = publish(args, located, image, &to, &slim, output) => done,
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
    located: &Located,
    image: &Image,
    to: &Source,
    slim: &Source,
    output: &Output,
) -> anyhow::Result<()> {
    let wish = Wish { least_bytes: args.split.min_model_size, paths: args.split.model_path.clone() };
    let (chosen, left) = choose(image, &wish).await?;
    for file in &left {
        output.note(format!("{} stays in the image: {}", printable(file.path.as_bytes()), file.reason));
    }
    if chosen.is_empty() {
        bail!(
            "{} has no model weights of {} or more to take out; --model-path says where they are",
            args.image,
            human(wish.least_bytes)
        );
    }
    let taken: u64 = chosen.iter().map(|file| file.bytes).sum();
    output.note(format!("{}: files to take out: {}, {}", args.image, chosen.len(), human(taken)));
    if located.image.index.is_some() {
        output.note(format!(
            "only the image for {} is made over, not all of the index",
            located.image.platform()
        ));
    }
    let client = client(&args.registry.reach)?;
    let (models, image) = (client.create(to).await?, client.create(slim).await?);
    let (model_name, slim_name) = (Target::from(to), Target::from(slim));
    let known_as = matches!(to, Source::Registry(_)).then(|| models.name().to_owned());
    let watched = |number: usize, source: Arc<dyn RangeSource>| output.progress().metered(number, source);
    let divided = glowplug_convert::split::split(
        &located.image,
        &*located.repository,
        &chosen,
        Place { repository: &*models, name: &model_name },
        known_as,
        Place { repository: &*image, name: &slim_name },
        &watched,
    )
    .await?;
    report(args, (to, slim), (&chosen, &left), &divided, output);
    Ok(())
}

fn report(
    args: &DietArgs,
    (to, slim): (&Source, &Source),
    (chosen, left): (&[Chosen], &[Left]),
    divided: &Divided,
    output: &Output,
) {
    let (before, after) = divided.layer_bytes;
    let models: u64 = divided.models.files.iter().map(|file| file.size).sum();
    output.result(format!(
        "{slim}: {} of layers became {}; models in {to}: {}, {}",
        human(before),
        human(after),
        chosen.len(),
        human(models)
    ));
    output.result(format!(
        "its digest is {}, not the {} of {}: signatures, attestations and SOCI indexes of that are not about it",
        divided.image, divided.old, args.image
    ));
    output.result(
        "run it with glowplug, which shows the files where they were; other runtimes do not see them",
    );
    let files = divided.models.files.iter().map(|file| {
        let format = chosen.iter().find(|chosen| chosen.path == file.path).and_then(|chosen| chosen.format);
        json!({ "path": file.path, "digest": file.digest, "bytes": file.size, "format": format })
    });
    let stay = left
        .iter()
        .map(|file| json!({ "path": file.path, "bytes": file.bytes, "why": file.reason.to_string() }));
    output.document(&json!({
        "image": args.image, "old": divided.old, "old_bytes": before,
        "output": slim.to_string(), "new": divided.image, "new_bytes": after, "layers_made_over": divided.made_over,
        "models": to.to_string(), "artifact": divided.models.artifact, "models_bytes": models,
        "files": files.collect::<Vec<Value>>(), "stay": stay.collect::<Vec<Value>>(),
    }));
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
