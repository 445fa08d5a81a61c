//! `cargo xtask image NAME`: the test images, made from the package registries alone.
//!
//! For given inputs (package versions, recipe) an image is the same to the byte: entries are sorted, owners and times
//! are fixed, compressors have fixed settings. An image lies as an OCI layout under `target/images/NAME-VARIANT`; one
//! whose inputs have not changed is used again. Nothing of the building machine gets into an image.

pub mod blob;
mod debian;
pub mod layout;
mod python;
mod recipe;
mod tiny;

use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;

use self::blob::{Blob, Measured, Variant};
use self::layout::{Layer, Layout};
pub use self::recipe::Name;
use self::recipe::Recipe;
use crate::interrupt::{self, Partial};
use crate::packages::debian::Debian;
use crate::packages::python::Python;
use crate::{paths, step};

/// Make a test image as an OCI layout under target/images.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask image", no_binary_name = true)]
struct Args {
    /// Which image.
    name: Name,
    /// How its layers are compressed.
    #[arg(long, default_value = "gzip")]
    variant: Variant,
    /// Resolve the Python packages anew and write the lock file; make nothing.
    #[arg(long)]
    relock: bool,
}

/// The command.
pub fn run(args: &[String]) -> anyhow::Result<()> {
    let args = Args::parse_from(args);
    interrupt::watch()?;
    if args.relock {
        let lock = args.name.lock_file().context("this image has no Python packages")?;
        let text = Python::open(&Debian::open()?)?.lock(&lock.with_extension("in"))?;
        std::fs::write(&lock, text)?;
        println!("{}", lock.display());
        return Ok(());
    }
    println!("{}", make(args.name, args.variant)?.folder().display());
    Ok(())
}

/// Makes the image, or finds it made.
pub fn make(name: Name, variant: Variant) -> anyhow::Result<Layout> {
    let recipe = name.recipe(&Debian::open()?)?;
    let inputs = recipe.inputs();
    let place = paths::images().join(format!("{}-{}", name.name(), variant.name()));
    let stamp = format!("{inputs}\n");
    if std::fs::read_to_string(place.join("inputs")).is_ok_and(|made_from| made_from == stamp) {
        return Ok(Layout::at(place));
    }
    let tars = tars(&recipe, &inputs)?;
    step::say(format!("compressing the layers of `{}` ({})", name.name(), variant.name()));
    let partial = Partial::folder(&place)?;
    let layout = Layout::at(partial.path());
    std::fs::create_dir_all(layout.blobs())?;
    let mut layers = Vec::new();
    for tar in &tars {
        layers.push(Layer {
            made_by: tar.made_by.clone(),
            diff_id: tar.diff.sha256.clone(),
            blob: blob::compress(&tar.file, variant, &layout.blobs())?,
        });
    }
    layout.seal(variant.name(), variant, &recipe.process(), &layers, recipe.annotations())?;
    std::fs::write(partial.path().join("inputs"), &stamp)?;
    partial.commit()?;
    let layout = Layout::at(place);
    let (digest, manifest) = layout.manifest()?;
    step::say(format!(
        "image `{}` ({}): {} layers, {:.1} MB compressed, {:.1} MB of tar, manifest sha256:{}",
        name.name(),
        variant.name(),
        manifest.layers.len(),
        megabytes(manifest.layer_bytes()),
        megabytes(tars.iter().map(|tar| tar.diff.size).sum()),
        &digest[..12],
    ));
    Ok(layout)
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// One layer as a tar file of this machine.
struct Tar {
    made_by: String,
    file: PathBuf,
    diff: Blob,
}

/// The layers as tar files: made once for all variants of an image.
fn tars(recipe: &Recipe, inputs: &str) -> anyhow::Result<Vec<Tar>> {
    let place = paths::images().join("tars").join(recipe.name().name());
    let made = place.join("made");
    let fresh = std::fs::read_to_string(&made).ok().and_then(|text| {
        let mut lines = text.lines();
        (lines.next() == Some(inputs)).then(|| lines.map(str::to_owned).collect::<Vec<_>>())
    });
    let names = match fresh {
        Some(names) => names,
        None => {
            let partial = Partial::folder(&place)?;
            let mut names = Vec::new();
            for (number, layer) in recipe.layers()?.into_iter().enumerate() {
                step::say(format!("layer {} of `{}`: {}", number + 1, recipe.name().name(), layer.made_by));
                let file = partial.path().join(format!("{number}.tar"));
                let out = Measured::new(BufWriter::with_capacity(1 << 20, File::create(file)?));
                let diff = layer.tree.write_tar(out)?.finish()?;
                names.push(format!("{} {} {}", diff.sha256, diff.size, layer.made_by));
            }
            std::fs::write(partial.path().join("made"), format!("{inputs}\n{}\n", names.join("\n")))?;
            partial.commit()?;
            names
        }
    };
    names
        .iter()
        .enumerate()
        .map(|(number, line)| {
            let mut words = line.splitn(3, ' ');
            let mut word = || words.next().context("a damaged record of the layers: remove target/images");
            let diff = Blob { sha256: word()?.to_owned(), size: word()?.parse()? };
            Ok(Tar { made_by: word()?.to_owned(), file: place.join(format!("{number}.tar")), diff })
        })
        .collect()
}
