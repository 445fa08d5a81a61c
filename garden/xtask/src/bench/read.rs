//! `cargo xtask bench read`: what the file system of a started container costs, through our doors and through plain
//! overlayfs over unpacked layers, as containerd has it.
//!
//! All lie on the same disk, are complete and have a writable directory on top. One round does every work through
//! every door, first with cold kernel caches, then warm.

mod doors;
mod work;

use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use serde::Serialize;

use self::doors::{Door, Mounted};
use self::work::{Plan, Work};
use super::at_least::{self, AtLeast};
use super::json;
use super::targets::Spread;
use crate::images::{self, Name, blob::Variant};
use crate::rig::enclosure;
use crate::step::say;
use crate::{example, interrupt};

const PACKAGE: &str = "glowplug-mount";
const EXAMPLE: &str = "mount_image";
/// Runs of each work with warm caches; their median counts.
const WARM_RUNS: usize = 5;

/// Measure reads of an image through FUSE and EROFS against overlayfs.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench read", no_binary_name = true)]
struct Args {
    /// The image.
    #[arg(long, default_value = "ocr")]
    image: Name,
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

/// The command.
pub fn run(args: &[String]) -> anyhow::Result<()> {
    let parsed = Args::parse_from(args);
    interrupt::watch()?;
    if enclosure::is_inside() {
        return measure(&parsed);
    }
    enclosure::check()?;
    images::make(parsed.image, Variant::Gzip)?;
    example::build(PACKAGE, EXAMPLE)?;
    let whole: Vec<String> =
        ["bench", "read"].map(str::to_owned).into_iter().chain(args.iter().cloned()).collect();
    enclosure::enter(&whole)
}

/// Whether the kernel's caches are empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Caches {
    Cold,
    Warm,
}

/// Seconds of one work through one door.
#[derive(Serialize)]
struct Runs {
    door: Door,
    work: Work,
    caches: Caches,
    seconds: Vec<f64>,
}

fn measure(args: &Args) -> anyhow::Result<()> {
    enclosure::furnish()?;
    let layout = images::make(args.image, Variant::Gzip)?;
    say("mounting the image through every door");
    let mounted = Door::ALL.map(|door| Mounted::new(door, &layout));
    let mounted: Vec<Mounted> = mounted.into_iter().collect::<anyhow::Result<_>>()?;
    let plan = Plan::of(mounted[0].root(), args.image.imports())?;
    say(plan.description());
    let mut runs: Vec<Runs> = Vec::new();
    for round in 1..=args.n {
        for work in plan.works() {
            for at in &mounted {
                rustix::fs::sync();
                std::fs::write("/proc/sys/vm/drop_caches", "3").context("cannot empty the page cache")?;
                let cold = plan.run(work, at.root())?;
                let warm: Vec<f64> =
                    (0..WARM_RUNS).map(|_| plan.run(work, at.root())).collect::<anyhow::Result<_>>()?;
                let warm = Spread::of(warm).context("no run")?.median;
                for (caches, seconds) in [(Caches::Cold, cold), (Caches::Warm, warm)] {
                    note(&mut runs, at.door(), work, caches, seconds);
                }
            }
        }
        say(format!("round {round} of {}", args.n));
    }
    let targets = report(&runs, &plan)?;
    if let Some(path) = &args.json {
        let report = Report { image: args.image.name(), rounds: args.n, runs: &runs, targets: &targets };
        json::write(path, &report)?;
    }
    at_least::close(&targets, args.check)
}

/// What `--json` writes.
#[derive(Serialize)]
struct Report<'a> {
    image: &'static str,
    rounds: u32,
    runs: &'a [Runs],
    targets: &'a [AtLeast],
}

fn note(runs: &mut Vec<Runs>, door: Door, work: Work, caches: Caches, seconds: f64) {
    match runs.iter_mut().find(|run| (run.door, run.work, run.caches) == (door, work, caches)) {
        Some(run) => run.seconds.push(seconds),
        None => runs.push(Runs { door, work, caches, seconds: vec![seconds] }),
    }
}

/// Prints the table; gives the targets.
fn report(runs: &[Runs], plan: &Plan) -> anyhow::Result<Vec<AtLeast>> {
    let spread = |door, work, caches| {
        let run = runs.iter().find(|run| (run.door, run.work, run.caches) == (door, work, caches));
        Spread::of(run.into_iter().flat_map(|run| run.seconds.iter().copied())).context("no run")
    };
    println!("\nmedian (least-most) of {} rounds", runs.first().map_or(0, |run| run.seconds.len()));
    print!("{:<26}", "");
    Door::ALL.iter().for_each(|door| print!("{:>28}", door.title()));
    println!();
    let mut targets = Vec::new();
    for work in plan.works() {
        for caches in [Caches::Cold, Caches::Warm] {
            let state = if caches == Caches::Cold { "cold" } else { "warm" };
            print!("{:<26}", format!("{}, {state}", work.title()));
            let peer = spread(Door::Overlay, work, caches)?.median;
            for door in Door::ALL {
                let figure = spread(door, work, caches)?;
                print!("{:>28}", plan.figure(work, &figure));
                let at_least = match (door, caches) {
                    (Door::Erofs, _) => 0.95,
                    (Door::Lazy | Door::Fuse, Caches::Warm) => 0.9,
                    _ => continue,
                };
                let what = format!("{} through {}, {state}, against overlayfs", work.title(), door.title());
                targets.push(AtLeast { what, ratio: peer / figure.median, at_least });
            }
            println!();
        }
    }
    Ok(targets)
}
