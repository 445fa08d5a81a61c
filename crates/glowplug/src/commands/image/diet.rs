//! `glowplug image diet`: what an image is made of, and what to do about it.
//!
//! The image is opened as for a start, so that layers without an index stream by once; they are in the store then.

use std::sync::Arc;

use anyhow::Context as _;
use glowplug_base::Clock;
use glowplug_convert::diet::{Contents, Facts, Inventory, examine};
use glowplug_image::profile::shared;
use glowplug_image::{Image, Profile};
use glowplug_registry::ResolvedImage;
use glowplug_timeline::Timeline;

use super::{browse, split};
use crate::cli::{DietArgs, Global};
use crate::commands::runtime;
use crate::diet::{Report, document, page, table};
use crate::node::{Located, locate, open_store, profiles};
use crate::output::Output;

/// Runs the command.
pub fn diet(global: &Global, args: &DietArgs, output: &Output, clock: Clock) -> anyhow::Result<()> {
    let store = open_store(global)?;
    let timeline = Timeline::new(clock);
    runtime()?.block_on(async {
        if let Some(to) = &args.split.split_models {
            return split::split(args, to, &store, output, &timeline).await;
        }
        let located = locate(&store, &args.registry, &args.image, &timeline).await?;
        let image = Arc::new(browse::open(&store, &located, output, &timeline).await?);
        let mut profiles = profiles(&store, located.image.manifest_digest);
        if profiles.is_empty() {
            // What this node has not learned another may have published.
            let (manifest, command) = (&located.image.manifest_digest, shared::command(None, &[]));
            profiles.extend(shared::find(&*located.repository, manifest, &command).await);
        }
        report(args, &located, image, profiles, output).await
    })
}

async fn report(
    args: &DietArgs,
    located: &Located,
    image: Arc<Image>,
    profiles: Vec<Profile>,
    output: &Output,
) -> anyhow::Result<()> {
    let (with_contents, resolved) = (!args.no_contents, &located.image);
    let artifact = located.artifact()?;
    // Reading and hashing take as long as the disk does.
    let looked = tokio::task::spawn_blocking(move || {
        // What lies beside the image is no part of it, and costs a pull of it nothing.
        let indexes: Vec<_> = image.own_layers().map(|layer| layer.index()).collect();
        let inventory = Inventory::of(&indexes, image.tree(), &profiles);
        let contents = with_contents.then(|| Contents::look(&image, &inventory)).transpose();
        contents.map(|contents| (inventory, contents))
    });
    let (inventory, contents) = looked.await??;
    let config = resolved.config.config().as_ref();
    let env = config.and_then(|config| config.env().clone()).unwrap_or_default();
    let nothing = Contents::default();
    let facts = Facts { inventory: &inventory, contents: contents.as_ref().unwrap_or(&nothing), env: &env };
    let diet = examine(facts, args.link);
    let made_by = made_by(resolved);
    let report = Report {
        image: &args.image,
        manifest: resolved.manifest_digest,
        inventory: &inventory,
        contents: contents.as_ref(),
        diet: &diet,
        made_by: &made_by,
        beside: artifact.as_ref(),
    };
    if let Some(file) = &args.html {
        std::fs::write(file, page(&report, args.top)).with_context(|| format!("write {}", file.display()))?;
    }
    output.result(table(&report, args.top, output.style().width).trim_end());
    output.document(&document(&report));
    Ok(())
}

/// What made each layer, bottom first: the instructions of the image's history that made one. A history that does not fit
/// the layers tells nothing.
pub(super) fn made_by(resolved: &ResolvedImage) -> Vec<Option<String>> {
    let history = resolved.config.history().iter().flatten();
    let made = history.filter(|step| !step.empty_layer().unwrap_or(false));
    let made: Vec<Option<String>> = made.map(|step| step.created_by().clone()).collect();
    if made.len() == resolved.layers.len() { made } else { vec![None; resolved.layers.len()] }
}
