//! `glowplug image optimize`: publishes what starts of an image read, for every node that starts it next.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use glowplug_base::Clock;
use glowplug_image::profile::shared;
use glowplug_image::{Profile, soci};
use glowplug_timeline::Timeline;
use serde_json::json;

use crate::cli::{Global, OptimizeArgs, RunArgs};
use crate::commands::{run, runtime};
use crate::node::{Located, locate, look_up, open_store};
use crate::output::Output;

/// Runs the command.
pub fn optimize(
    global: &Global,
    mut args: OptimizeArgs,
    output: &Output,
    clock: Clock,
) -> anyhow::Result<ExitCode> {
    if !args.dry_run {
        // A refusal is heard before the image is started.
        runtime()?.block_on(async {
            let located = look_up(&args.run.registry, &args.run.image).await?;
            let taken = located.repository.check_push().await;
            taken.with_context(|| format!("publish the start profile of {}", located.image.name))
        })?;
    }
    let profile = match &args.profile {
        Some(file) => {
            let bytes = std::fs::read(file).with_context(|| format!("read {}", file.display()))?;
            Profile::parse(&bytes).with_context(|| format!("{} is no start profile", file.display()))?
        }
        None => match recorded(global, &args.run, clock.clone())? {
            Some(profile) => profile,
            None => {
                output.note("no start of this image and command is recorded here: starting it once");
                args.run.until_ready = true;
                run::run(global, &args.run, &output.of_a_part(), clock.clone())?;
                recorded(global, &args.run, clock)?.context("the start taught nothing: it read no file")?
            }
        },
    };
    if profile.is_empty() {
        bail!("the profile names no file");
    }
    if let Some(file) = &args.save {
        std::fs::write(file, profile.encode()).with_context(|| format!("write {}", file.display()))?;
    }
    let (runs, files, pieces) = (profile.runs, profile.files().count(), profile.touches.len());
    output.note(format!("{runs} recorded starts read {pieces} pieces of {files} files"));
    if args.dry_run {
        output.document(&json!({ "runs": runs, "files": files, "pieces": pieces, "published": null }));
        return Ok(ExitCode::SUCCESS);
    }
    runtime()?.block_on(async {
        let located = look_up(&args.run.registry, &args.run.image).await?;
        publish(&located, &args.run, &profile, output).await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What starts of this image and command taught this node.
fn recorded(global: &Global, args: &RunArgs, clock: Clock) -> anyhow::Result<Option<Profile>> {
    let store = open_store(global)?;
    let timeline = Timeline::new(clock);
    let located = runtime()?.block_on(locate(&store, &args.registry, &args.image, &timeline))?;
    Ok(run::learned(&store, &located, args))
}

async fn publish(
    located: &Located,
    args: &RunArgs,
    profile: &Profile,
    output: &Output,
) -> anyhow::Result<()> {
    let (repository, image) = (&*located.repository, &located.image);
    let command = shared::command(args.entrypoint.as_deref(), &args.args);
    let artifact = shared::publish(repository, image, &command, profile)
        .await
        .with_context(|| format!("publish the start profile of {}", image.name))?;
    output.result(format!(
        "start profile {artifact}: it refers to {}@{}, which stays as it is",
        image.name, image.manifest_digest
    ));
    let prefetched = soci::publish_prefetch(repository, image, profile)
        .await
        .with_context(|| format!("publish the prefetch lists of {}", image.name))?;
    output.result(match &prefetched {
        Ok(made) => format!(
            "SOCI index {}: lists of {} spans for {} layers, for those who read SOCI only",
            made.index, made.spans, made.layers
        ),
        Err(why) => format!("no SOCI prefetch lists: {why}"),
    });
    let soci = match &prefetched {
        Ok(made) => json!({ "index": made.index, "layers": made.layers, "spans": made.spans }),
        Err(why) => json!({ "index": null, "why": why.to_string() }),
    };
    output.document(&json!({ "image": image.name, "manifest": image.manifest_digest, "published": artifact,
        "runs": profile.runs, "files": profile.files().count(), "pieces": profile.touches.len(), "soci": soci }));
    Ok(())
}
