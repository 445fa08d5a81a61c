//! `glowplug store`: what the node holds, and how it is made smaller.

use std::collections::HashSet;

use anyhow::bail;
use glowplug_base::Digest;
use glowplug_base::size::human;
use glowplug_store::{Store, Usage};
use serde_json::json;

use crate::cli::{Global, StoreCommand};
use crate::node::{KnownImage, open_store};
use crate::output::Output;

/// Runs the command.
pub fn run(global: &Global, command: &StoreCommand, output: &Output) -> anyhow::Result<()> {
    let store = open_store(global)?;
    match command {
        StoreCommand::Ls => list(&store, output),
        StoreCommand::Gc => collect(&store, output),
        StoreCommand::Verify => verify(&store, output),
        StoreCommand::Rm { data, all, images } => remove(&store, *data, *all, images, output),
    }
}

fn list(store: &Store, output: &Output) -> anyhow::Result<()> {
    let (images, usage) = (KnownImage::all(store), store.usage()?);
    let of = |blob: &Digest| usage.iter().find(|layer| layer.blob == *blob);
    let mut rows = Vec::new();
    for image in &images {
        let layers: Vec<&Usage> = image.layers.iter().filter_map(|(blob, _)| of(blob)).collect();
        let size: u64 = image.layers.iter().map(|(_, size)| size).sum();
        let here: u64 = layers.iter().map(|layer| layer.data_bytes).sum();
        output.result(format!(
            "{}\n  {}  {} layers, {} compressed, {} here, {} of {} indexed",
            image.name,
            image.manifest,
            image.layers.len(),
            human(size),
            human(here),
            layers.len(),
            image.layers.len(),
        ));
        rows.push(json!({ "name": image.name, "manifest": image.manifest, "layers": image.layers.len(),
            "compressed_bytes": size, "data_bytes": here, "indexed_layers": layers.len() }));
    }
    let total: u64 = usage.iter().map(|layer| layer.data_bytes + layer.index_bytes).sum();
    output.result(format!("{} images, {} layers, {} on disk", images.len(), usage.len(), human(total)));
    output.document(&json!({ "images": rows, "layers": usage.len(), "bytes": total }));
    Ok(())
}

fn collect(store: &Store, output: &Output) -> anyhow::Result<()> {
    let keep: HashSet<Digest> =
        KnownImage::all(store).iter().flat_map(|image| image.layers.iter().map(|(blob, _)| *blob)).collect();
    let (unused, evicted) = (store.collect_garbage(&keep)?, store.enforce_quota()?);
    output.result(format!(
        "removed {} unused layers ({}), evicted the data of {} ({})",
        unused.layers,
        human(unused.bytes),
        evicted.layers,
        human(evicted.bytes)
    ));
    output.document(&json!({ "removed_layers": unused.layers, "removed_bytes": unused.bytes,
        "evicted_layers": evicted.layers, "evicted_bytes": evicted.bytes }));
    Ok(())
}

fn verify(store: &Store, output: &Output) -> anyhow::Result<()> {
    let (mut sound, mut damaged) = (0, 0);
    for usage in store.usage()? {
        let Some(layer) = store.layer(&usage.blob) else {
            output.result(format!("{}: no usable index", usage.blob));
            damaged += 1;
            continue;
        };
        let verdict = layer.verify();
        sound += verdict.sound;
        damaged += verdict.damaged;
        if verdict.damaged > 0 {
            output.result(format!("{}: {} damaged spans will be fetched again", usage.blob, verdict.damaged));
        }
    }
    output.result(format!("{sound} spans sound, {damaged} damaged"));
    output.document(&json!({ "sound_spans": sound, "damaged_spans": damaged }));
    Ok(())
}

fn remove(store: &Store, data: bool, all: bool, names: &[String], output: &Output) -> anyhow::Result<()> {
    let known = KnownImage::all(store);
    if !all && names.is_empty() {
        bail!("name the images to remove, or say --all");
    }
    if let Some(missing) = names.iter().find(|name| !known.iter().any(|image| image.name == **name)) {
        bail!("{missing} is not in the store; `glowplug store ls` lists what is");
    }
    let (chosen, kept): (Vec<_>, Vec<_>) =
        known.into_iter().partition(|image| all || names.contains(&image.name));
    let still_used: HashSet<Digest> =
        kept.iter().flat_map(|image| image.layers.iter().map(|layer| layer.0)).collect();
    for blob in chosen.iter().flat_map(|image| image.layers.iter().map(|layer| layer.0)) {
        // A layer that another image has stays for it.
        match (data, still_used.contains(&blob)) {
            (_, true) => {}
            (true, false) => store.drop_data(&blob)?,
            (false, false) => store.remove(&blob)?,
        }
    }
    if !data {
        chosen.iter().try_for_each(|image| image.forget(store))?;
    }
    let what = if data { "the data of " } else { "" };
    output.result(format!("removed {what}{} images", chosen.len()));
    output.document(
        &json!({ "images": chosen.iter().map(|image| &image.name).collect::<Vec<_>>(), "data_only": data }),
    );
    Ok(())
}
