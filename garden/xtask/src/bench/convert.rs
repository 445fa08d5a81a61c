//! `cargo xtask bench convert`: how fast images are made over and indexed, against the tools of those who read them.
//!
//! Each job goes from a layout to a layout, on all processors, and makes the same: the same format, chunks of the same length,
//! the same level of compression; spans of the same length, and an index of every layer. SOCI's command copies the image
//! besides, twice, so its library alone stands beside it. What was made is weighed too: who compresses less is quicker.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use clap::Parser;
use flate2::bufread::MultiGzDecoder;
use serde::Serialize;

use super::at_least::{self, AtLeast};
use super::cost::{self, Cost};
use super::json;
use crate::images::layout::Layout;
use crate::images::{self, Name, blob::Variant};
use crate::interrupt::{self, Partial};
use crate::peers::converters::{self, Program};
use crate::roundtrip::glowplug::{Format, Glowplug};
use crate::roundtrip::{SPAN_BYTES, copy, theirs};
use crate::{paths, step};

/// The promise.
const AT_LEAST: f64 = 2.0;
/// Our level for gzip; that of the peer's library is 9 by default.
const GZIP_LEVEL: u32 = 6;
/// Everybody's level for zstd.
const ZSTD_LEVEL: u32 = 3;
/// Each format that is made, at which level.
const FORMATS: [(Format, u32); 3] = [
    (Format::Estargz, GZIP_LEVEL),
    (Format::ZstdChunkedStargz, ZSTD_LEVEL),
    (Format::ZstdChunkedStorage, ZSTD_LEVEL),
];

/// Measure the conversion and the indexing of an image against stargz-snapshotter, containers/storage and SOCI.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench convert", no_binary_name = true)]
struct Args {
    /// The image.
    #[arg(long, default_value = "ocr")]
    image: Name,
    /// Rounds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    n: u32,
    /// Measure this binary instead of building one.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Write everything that was measured here.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Fail when a target is missed.
    #[arg(long)]
    check: bool,
}

/// Who does a job: given a folder that is not there yet, where the result goes, the command.
type Contestant<'a> = Box<dyn Fn(&Path) -> anyhow::Result<Command> + 'a>;

/// The runs of one program at one job.
#[derive(Serialize)]
struct Runs {
    job: &'static str,
    name: &'static str,
    ours: bool,
    costs: Vec<Cost>,
    /// Bytes of blobs in the result that are not the original's.
    made_bytes: u64,
}

/// What `--json` writes.
#[derive(Serialize)]
struct Report<'a> {
    /// Length of all layers uncompressed, in bytes.
    bytes: u64,
    versions: &'a [String],
    runs: &'a [Runs],
    targets: &'a [AtLeast],
}

/// The command.
pub fn run(args: &[String]) -> anyhow::Result<()> {
    let args = Args::parse_from(args);
    interrupt::watch()?;
    converters::make()?;
    let versions = converters::versions()?;
    let original = images::make(args.image, Variant::Gzip)?;
    let place = Partial::folder(&paths::target().join("bench/convert"))?;
    let glowplug = Glowplug::new(args.binary.as_deref(), &place.path().join("store"))?;
    // It also brings them into the page cache, for all alike.
    let bytes = uncompressed_bytes(&original)?;
    let (mut runs, contestants): (Vec<Runs>, Vec<Contestant<'_>>) =
        contestants(&glowplug, &original, place.path())?.into_iter().unzip();
    let known = blobs(&original)?;
    for round in 1..=args.n {
        for (runs, contestant) in runs.iter_mut().zip(&contestants) {
            glowplug.forget()?;
            let result = Partial::folder(&place.path().join("result"))?;
            let to = result.path().join("image");
            let mut command = contestant(&to)?;
            // What an earlier one wrote is not to be written while this one runs.
            rustix::fs::sync();
            let (cost, _) = cost::of(&mut command)?;
            runs.costs.push(cost);
            runs.made_bytes = bytes_below(&to, &known)?;
        }
        step::say(format!("round {round} of {}", args.n));
    }
    let targets = report(bytes, &versions, &runs)?;
    if let Some(path) = &args.json {
        json::write(path, &Report { bytes, versions: &versions, runs: &runs, targets: &targets })?;
    }
    at_least::close(&targets, args.check)
}

/// Everybody at every job, ours before its peers.
fn contestants<'a>(
    glowplug: &'a Glowplug,
    original: &'a Layout,
    scratch: &'a Path,
) -> anyhow::Result<Vec<(Runs, Contestant<'a>)>> {
    let runs = |job, name, ours| Runs { job, name, ours, costs: Vec::new(), made_bytes: 0 };
    let mut all: Vec<(Runs, Contestant<'a>)> = Vec::new();
    for (format, level) in FORMATS {
        let ours: Contestant<'a> =
            Box::new(move |to| Ok(glowplug.convert(format, Some(level), original, to)));
        all.push((runs(format.name(), "glowplug image convert", true), ours));
        let peer: Contestant<'a> = Box::new(move |to| {
            let mut command = theirs::converter(format, Some(level), scratch);
            command.arg(original.folder()).arg(to);
            Ok(command)
        });
        let name = match format {
            Format::Estargz | Format::ZstdChunkedStargz => "stargz-snapshotter",
            Format::ZstdChunkedStorage => "containers/storage",
        };
        all.push((runs(format.name(), name, false), peer));
    }
    let job = "SOCI index";
    let ours: Contestant<'a> = Box::new(|to| Ok(glowplug.index(&copy(original, to)?, SPAN_BYTES)));
    all.push((runs(job, "glowplug image index", true), ours));
    let command: Contestant<'a> = Box::new(|to| Ok(theirs::soci_convert(original, SPAN_BYTES, scratch, to)));
    all.push((runs(job, "soci convert", false), command));
    let layers = layers(original)?;
    let library: Contestant<'a> = Box::new(move |to| {
        std::fs::create_dir_all(to)?;
        let mut command = Command::new(Program::MakeZtocs.path());
        command.arg(SPAN_BYTES.to_string()).arg(to).args(&layers);
        Ok(command)
    });
    all.push((runs(job, "soci's library alone", false), library));
    Ok(all)
}

/// Prints the table; gives the targets.
fn report(bytes: u64, versions: &[String], runs: &[Runs]) -> anyhow::Result<Vec<AtLeast>> {
    let gigabytes = bytes as f64 / 1e9;
    println!("\n{}", versions.join("\n"));
    println!("\n{gigabytes:.2} GB of layers, uncompressed; median (least-most)");
    println!("{:<24}{:<26}{:>22}{:>22}{:>8}{:>10}", "", "", "GB/s", "wall s", "CPU s", "MB made");
    let rate = |runs: &Runs| cost::spread(&runs.costs, |cost| gigabytes / cost.wall_seconds);
    for run in runs {
        let (rate, wall) = (rate(run)?, cost::spread(&run.costs, |cost| cost.wall_seconds)?);
        println!(
            "{:<24}{:<26}{:>22}{:>22}{:>8.2}{:>10.1}",
            run.job,
            run.name,
            rate.shown(3),
            wall.shown(2),
            cost::spread(&run.costs, |cost| cost.cpu_seconds)?.median,
            run.made_bytes as f64 / 1e6,
        );
    }
    let mut targets = Vec::new();
    for ours in runs.iter().filter(|run| run.ours) {
        let peers = runs.iter().filter(|run| run.job == ours.job && !run.ours);
        let peers =
            peers.map(|peer| Ok((peer.name, rate(peer)?.median))).collect::<anyhow::Result<Vec<_>>>()?;
        let what = format!("{} made", ours.job);
        targets.push(AtLeast::best(&what, rate(ours)?.median, peers, AT_LEAST)?);
    }
    Ok(targets)
}

fn layers(image: &Layout) -> anyhow::Result<Vec<PathBuf>> {
    let (_, manifest) = image.manifest()?;
    manifest.layers.iter().map(|layer| Ok(image.blobs().join(layer.hex()?))).collect()
}

fn uncompressed_bytes(image: &Layout) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for layer in layers(image)? {
        let file = File::open(&layer).with_context(|| format!("cannot read {}", layer.display()))?;
        let mut plain = MultiGzDecoder::new(std::io::BufReader::with_capacity(1 << 20, file));
        let mut piece = vec![0; 1 << 20];
        loop {
            match plain.read(&mut piece)? {
                0 => break,
                read => bytes += read as u64,
            }
        }
    }
    Ok(bytes)
}

fn blobs(image: &Layout) -> anyhow::Result<BTreeSet<OsString>> {
    std::fs::read_dir(image.blobs())?.map(|blob| Ok(blob?.file_name())).collect()
}

/// Of all files below a folder, apart from those of the `known` names that were made of a layer: the result may lie as a layout,
/// or its blobs alone.
fn bytes_below(folder: &Path, known: &BTreeSet<OsString>) -> anyhow::Result<u64> {
    let blobs = Layout::at(folder).blobs();
    let is_layout = blobs.exists();
    let mut bytes = 0;
    for blob in std::fs::read_dir(if is_layout { &blobs } else { folder })? {
        let blob = blob?;
        if !is_layout || !known.contains(&blob.file_name()) {
            bytes += blob.metadata()?.len();
        }
    }
    Ok(bytes)
}
