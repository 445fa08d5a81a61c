//! `cargo xtask bench decode`: how fast one gzip layer with checkpoints is decoded, on one processor and on two.
//!
//! Each program decodes the whole file to nowhere, from the page cache; what has checkpoints made them before. rapidgzip is
//! the fastest that reads gzip in parallel with an index, pigz what people have.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use clap::Parser;
use serde::Serialize;

use super::at_least::{self, AtLeast};
use super::cost::{self, Cost};
use super::json;
use crate::images::layout::Layout;
use crate::interrupt::{self, Partial};
use crate::packages::debian::Debian;
use crate::packages::python::Python;
use crate::rig::enclosure;
use crate::{example, paths, step};

const PACKAGE: &str = "glowplug-gzindex";
const EXAMPLE: &str = "decode_spans";
/// Where rapidgzip's lock file is, relative to the workspace.
const RAPIDGZIP_LOCK: &str = "garden/xtask/tools/rapidgzip/requirements.txt";
/// What runs rapidgzip, whose command is a module.
const RAPIDGZIP: &str = "import sys, rapidgzip; sys.exit(rapidgzip.cli())";
/// The promise: no slower than the fastest that there is.
const AT_LEAST: f64 = 1.0;

/// Measure the decoding of a gzip layer with checkpoints against rapidgzip with its index and pigz.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench decode", no_binary_name = true)]
struct Args {
    /// A gzip file; without it the largest layer of `torch`, which must be made: cargo xtask image torch.
    file: Option<PathBuf>,
    /// Rounds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    n: u32,
    /// Write everything that was measured here.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Fail when a target is missed.
    #[arg(long)]
    check: bool,
}

/// One program on so many processors.
struct Contestant {
    name: &'static str,
    processors: usize,
    /// It prints how many bytes it decoded; the others print the bytes.
    tells_length: bool,
    command: Box<dyn Fn() -> Command>,
}

/// Its runs.
#[derive(Serialize)]
struct Runs {
    name: &'static str,
    processors: usize,
    costs: Vec<Cost>,
}

/// The command.
pub fn run(args: &[String]) -> anyhow::Result<()> {
    let args = Args::parse_from(args);
    interrupt::watch()?;
    enclosure::find("taskset").context("`taskset` is missing: apt-get install util-linux")?;
    let program = example::build(PACKAGE, EXAMPLE)?;
    let debian = Debian::open()?;
    let pigz = debian.tool("pigz", &["pigz"])?.join("usr/bin/pigz");
    let python = Python::open(&debian)?;
    let rapidgzip = python.module("rapidgzip", &paths::workspace().join(RAPIDGZIP_LOCK))?;
    let file = match args.file {
        Some(file) => file,
        None => default_layer()?,
    };
    let place = Partial::folder(&paths::target().join("bench/decode"))?;
    let (ours, theirs) = (place.path().join("checkpoints"), place.path().join("rapidgzip"));
    step::say("making the checkpoints and the peer's index");
    step::run(Command::new(&program).arg("index").arg(&file).arg(&ours))?;
    let mut export = rapidgzip_command(&python, &rapidgzip);
    step::run(
        export.args(["-P", "2", "-d", "-c", "--export-index"]).arg(&theirs).arg(&file).stdout(Stdio::null()),
    )?;

    let contestants = contestants(&program, &pigz, &python, &rapidgzip, &file, &ours, &theirs);
    let mut runs: Vec<Runs> = contestants
        .iter()
        .map(|it| Runs { name: it.name, processors: it.processors, costs: Vec::new() })
        .collect();
    let mut bytes = 0;
    for round in 1..=args.n {
        for (contestant, runs) in contestants.iter().zip(&mut runs) {
            let mut command = (contestant.command)();
            if contestant.tells_length {
                let (cost, printed) = cost::of(&mut command)?;
                bytes = printed.trim().parse().context("decode_spans printed something else")?;
                runs.costs.push(cost);
            } else {
                runs.costs.push(cost::of_discarding(&mut command)?);
            }
        }
        step::say(format!("round {round} of {}", args.n));
    }
    let targets = report(&file, bytes, &runs)?;
    if let Some(path) = &args.json {
        json::write(path, &Report { bytes, runs: &runs, targets: &targets })?;
    }
    at_least::close(&targets, args.check)
}

/// What `--json` writes.
#[derive(Serialize)]
struct Report<'a> {
    /// Length of what was decoded, in bytes.
    bytes: u64,
    runs: &'a [Runs],
    targets: &'a [AtLeast],
}

fn contestants(
    program: &Path,
    pigz: &Path,
    python: &Python,
    rapidgzip: &Path,
    file: &Path,
    ours: &Path,
    theirs: &Path,
) -> Vec<Contestant> {
    let mut all = Vec::new();
    for processors in [1, 2] {
        let mut add = |name, tells_length, command| {
            all.push(Contestant { name, processors, tells_length, command });
        };
        let (program, file_, index) = (program.to_owned(), file.to_owned(), ours.to_owned());
        let command = move || {
            let mut command = held(processors, &program);
            command.arg("decode").arg(&file_).arg(&index).arg(processors.to_string());
            command
        };
        add("glowplug, checkpoints", true, Box::new(command));
        let (python, rapidgzip, file_, index) =
            (python.clone(), rapidgzip.to_owned(), file.to_owned(), theirs.to_owned());
        let command = move || {
            let inner = rapidgzip_command(&python, &rapidgzip);
            let mut command = held_command(processors, &inner);
            command.args(["-P", &processors.to_string(), "--import-index"]).arg(&index);
            command.args(["-d", "-c"]).arg(&file_);
            command
        };
        add("rapidgzip --import-index", false, Box::new(command));
        let (pigz, file_) = (pigz.to_owned(), file.to_owned());
        let command = move || {
            let mut command = held(processors, &pigz);
            command.arg("-dc").arg(&file_);
            command
        };
        add("pigz -dc", false, Box::new(command));
    }
    all
}

/// A program held to so many processors.
fn held(processors: usize, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.arg("--cpu-list").arg(format!("0-{}", processors - 1)).arg(program);
    command
}

fn held_command(processors: usize, inner: &Command) -> Command {
    let mut command = held(processors, Path::new(inner.get_program()));
    command.args(inner.get_args());
    for (key, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(key, value),
            None => command.env_remove(key),
        };
    }
    command
}

fn rapidgzip_command(python: &Python, module: &Path) -> Command {
    let mut command = python.command();
    command.env("PYTHONPATH", module).args(["-c", RAPIDGZIP]);
    command
}

/// Prints the table; gives the targets.
fn report(file: &Path, bytes: u64, runs: &[Runs]) -> anyhow::Result<Vec<AtLeast>> {
    let gigabytes = bytes as f64 / 1e9;
    let blob = file.metadata()?.len() as f64 / 1e9;
    println!(
        "\n{gigabytes:.2} GB in a gzip file of {blob:.2} GB; GB/s of the decoded bytes, median (least-most)"
    );
    let rate = |runs: &Runs| cost::spread(&runs.costs, |cost| gigabytes / cost.wall_seconds);
    for run in runs {
        println!(
            "{:<28}{} processor{}  {:>24}",
            run.name,
            run.processors,
            if run.processors == 1 { " " } else { "s" },
            rate(run)?.shown(3),
        );
    }
    let mut targets = Vec::new();
    for processors in [1, 2] {
        let of: Vec<&Runs> = runs.iter().filter(|run| run.processors == processors).collect();
        let [ours, peers @ ..] = &of[..] else { bail!("no run") };
        let peers = peers.iter().map(|peer| Ok((peer.name, rate(peer)?.median)));
        let peers = peers.collect::<anyhow::Result<Vec<_>>>()?;
        let what = format!("decoded on {processors} processor(s)");
        targets.push(AtLeast::best(&what, rate(ours)?.median, peers, AT_LEAST)?);
    }
    Ok(targets)
}

/// The largest layer of `torch`.
fn default_layer() -> anyhow::Result<PathBuf> {
    let layout = Layout::at(paths::images().join("torch-gzip"));
    layout.largest_layer().context("the image is not made: cargo xtask image torch")
}
