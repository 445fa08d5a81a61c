//! `cargo xtask bench index`: how fast a layer is indexed while it streams by.
//!
//! Our side does everything that a first pull does after the network: it hashes and inflates the blob, walks the archive,
//! hashes every span, writes data, windows and index into a store. The peers only inflate, to nowhere. Compared are bytes
//! of the uncompressed layer per second of CPU, because a layer that is pulled has the link's time but not more cores.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use clap::Parser;
use glowplug_base::Digest;
use serde::{Deserialize, Serialize};

use super::at_least::{self, AtLeast};
use super::cost::{self, Cost};
use super::json;
use super::targets::Spread;
use crate::images::layout::Layout;
use crate::interrupt::{self, Partial};
use crate::packages::debian::Debian;
use crate::rig::enclosure;
use crate::{example, paths, step};

const PACKAGE: &str = "glowplug-image";
const EXAMPLE: &str = "index_layer";
/// The promise: indexing costs no more than the faster peer's inflating.
const AT_LEAST: f64 = 1.0;

/// Measure the indexing of a gzip layer against gunzip and pigz.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench index", no_binary_name = true)]
struct Args {
    /// A gzip-compressed tar; without it the largest layer of `ocr`, or this toolchain packed up.
    file: Option<PathBuf>,
    /// Rounds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    n: u32,
    /// Write everything that was measured here.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Fail when the target is missed.
    #[arg(long)]
    check: bool,
}

/// What our side prints.
#[derive(Debug, Deserialize, Serialize)]
struct Made {
    stream_bytes: u64,
    spans: u64,
    entries: u64,
    readable_s: f64,
    durable_s: f64,
}

/// The runs of one program.
#[derive(Serialize)]
struct Runs {
    name: &'static str,
    costs: Vec<Cost>,
}

impl Runs {
    fn of(name: &'static str) -> Self {
        Self { name, costs: Vec::new() }
    }
}

/// The command.
pub fn run(args: &[String]) -> anyhow::Result<()> {
    let args = Args::parse_from(args);
    interrupt::watch()?;
    let program = example::build(PACKAGE, EXAMPLE)?;
    enclosure::find("gunzip").context("`gunzip` is missing: apt-get install gzip")?;
    let pigz = Debian::open()?.tool("pigz", &["pigz"])?.join("usr/bin/pigz");
    let file = match args.file {
        Some(file) => file,
        None => default_layer()?,
    };
    // Reading it for its digest also brings it into the page cache, for all three alike.
    let digest = digest(&file)?;
    step::say(format!("{}: {:.1} MB", file.display(), file.metadata()?.len() as f64 / 1e6));
    let (mut ours, mut gunzip, mut pigz_runs) =
        (Runs::of("glowplug"), Runs::of("gunzip -c"), Runs::of("pigz -dc"));
    let mut made = Vec::new();
    for round in 1..=args.n {
        let store = Partial::folder(&paths::target().join("bench/store"))?;
        let mut index = Command::new(&program);
        let (cost, printed) = cost::of(index.arg(&file).arg(digest.to_string()).arg(store.path()))?;
        drop(store);
        ours.costs.push(cost);
        made.push(serde_json::from_str::<Made>(&printed).context("index_layer printed something else")?);
        gunzip.costs.push(cost::of_discarding(Command::new("gunzip").arg("-c").arg(&file))?);
        pigz_runs.costs.push(cost::of_discarding(Command::new(&pigz).arg("-dc").arg(&file))?);
        step::say(format!("round {round} of {}", args.n));
    }
    let runs = [ours, gunzip, pigz_runs];
    let target = report(&runs, &made)?;
    if let Some(path) = &args.json {
        json::write(path, &Report { runs: &runs, made: &made, target: &target })?;
    }
    at_least::close(&[target], args.check)
}

/// What `--json` writes.
#[derive(Serialize)]
struct Report<'a> {
    runs: &'a [Runs; 3],
    made: &'a [Made],
    target: &'a AtLeast,
}

/// Prints the table; gives the target.
fn report(runs: &[Runs; 3], made: &[Made]) -> anyhow::Result<AtLeast> {
    let first = made.first().context("no run")?;
    let gigabytes = first.stream_bytes as f64 / 1e9;
    println!(
        "\n{:.2} GB uncompressed, {} entries, {} spans; median (least-most)",
        gigabytes, first.entries, first.spans
    );
    println!("{:<12}{:>24}{:>24}{:>12}{:>10}", "", "GB/s per core", "wall s", "GB/s wall", "CPU s");
    for run in runs {
        let rate = cost::spread(&run.costs, |cost| gigabytes / cost.cpu_seconds)?;
        let wall = cost::spread(&run.costs, |cost| cost.wall_seconds)?;
        println!(
            "{:<12}{:>24}{:>24}{:>12.2}{:>10.2}",
            run.name,
            rate.shown(3),
            wall.shown(2),
            gigabytes / wall.median,
            cost::spread(&run.costs, |cost| cost.cpu_seconds)?.median,
        );
    }
    let median =
        |figure: fn(&Made) -> f64| Spread::of(made.iter().map(figure)).map_or(0.0, |spread| spread.median);
    println!(
        "glowplug's layer was readable after {:.2} s, durable on disk after {:.2} s",
        median(|made| made.readable_s),
        median(|made| made.durable_s)
    );
    let per_core = |run: &Runs| {
        Ok::<_, anyhow::Error>(cost::spread(&run.costs, |cost| gigabytes / cost.cpu_seconds)?.median)
    };
    let [ours, gunzip, pigz] = [per_core(&runs[0])?, per_core(&runs[1])?, per_core(&runs[2])?];
    let peers = [("gunzip to nowhere", gunzip), ("pigz to nowhere", pigz)];
    AtLeast::best("indexed and written per core", ours, peers, AT_LEAST)
}

/// The largest layer of `ocr` where that image is made; else the Rust toolchain, packed as a layer would be.
fn default_layer() -> anyhow::Result<PathBuf> {
    if let Ok(largest) = Layout::at(paths::images().join("ocr-gzip")).largest_layer() {
        return Ok(largest);
    }
    let place = paths::target().join("bench/toolchain.tar.gz");
    if !place.exists() {
        step::say("packing this toolchain as a layer");
        let root = step::read(Command::new("rustc").args(["--print", "sysroot"]))?;
        let partial = Partial::of(&place)?;
        let mut tar = Command::new("tar");
        tar.args(["--sort=name", "--gzip", "--create", "--file"]).arg(partial.path());
        step::run(tar.args(["--directory", root.trim_end(), "."]))?;
        partial.commit()?;
    }
    Ok(place)
}

fn digest(file: &Path) -> anyhow::Result<Digest> {
    let mut reader = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut hasher = glowplug_base::Hasher::new();
    let mut piece = vec![0; 1 << 20];
    loop {
        match reader.read(&mut piece)? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(&piece[..read]),
        }
    }
}
