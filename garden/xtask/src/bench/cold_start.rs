//! `cargo xtask bench cold-start`: how long a model server takes from the command to its first right answer.
//!
//! One round runs every case once, so that whatever drifts on the machine meets all of them alike. Before each cold run
//! the node's stores are emptied to the state that the case begins from and the page cache is dropped; what the registry
//! serves is read back into memory.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Parser;
use serde::Serialize;

use super::json;
use super::targets::{Case, Runs, Spread, Verdict, judge};
use crate::images::{self, Name, blob::Variant};
use crate::interrupt;
use crate::rig::Rig;
use crate::rig::containerd::Containerd;
use crate::rig::enclosure;
use crate::rig::glowplug::Node;
use crate::rig::link::{Link, Rate};
use crate::rig::measure::{self, Outcome};
use crate::rig::registry::Registry;
use crate::step::say;

/// Measure cold starts against containerd and against everything local.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench cold-start", no_binary_name = true)]
struct Args {
    /// The image.
    #[arg(long, default_value = "ocr")]
    image: Name,
    /// How its layers are compressed.
    #[arg(long, default_value = "gzip")]
    variant: Variant,
    /// Speed of the link to the registry: none, Nmbit or Ngbit.
    #[arg(long, default_value = "1gbit")]
    link: Rate,
    /// Rounds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    n: u32,
    /// Write everything that was measured here.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Measure only these ways to start, separated by commas. Without containerd's the targets are not judged.
    #[arg(long, value_delimiter = ',')]
    cases: Vec<Case>,
    /// Keep the timeline of each of Glowplug's starts in this folder.
    #[arg(long, value_name = "DIR")]
    timelines: Option<PathBuf>,
    /// Measure this binary instead of building one.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Fail when a target is missed.
    #[arg(long)]
    check: bool,
}

/// The command.
pub fn run(args: &[String]) -> anyhow::Result<()> {
    let parsed = Args::parse_from(args);
    interrupt::watch()?;
    if enclosure::is_inside() {
        return measure_all(&parsed);
    }
    enclosure::check()?;
    enclosure::check_build()?;
    Registry::prepare()?;
    Containerd::prepare()?;
    Link::prepare()?;
    images::make(parsed.image, parsed.variant)?;
    if parsed.binary.is_none() {
        Node::prepare()?;
    }
    let whole: Vec<String> =
        ["bench", "cold-start"].map(str::to_owned).into_iter().chain(args.iter().cloned()).collect();
    enclosure::enter(&whole)
}

/// What `--json` writes.
#[derive(Serialize)]
struct Report<'a> {
    image: &'static str,
    variant: &'static str,
    link: String,
    rounds: u32,
    image_bytes: u64,
    containerd: &'a str,
    runs: &'a Runs,
    summary: Vec<Summary>,
    targets: &'a [Verdict],
}

fn measure_all(args: &Args) -> anyhow::Result<()> {
    enclosure::furnish()?;
    let layout = images::make(args.image, args.variant)?;
    let rig = Rig::new(args.link)?;
    let name = format!("{}:{}", args.image.name(), args.variant.name());
    rig.push(&layout, &name)?;
    let bench = Bench {
        image: args.image,
        reference: format!("{}/{name}", rig.registry_addr()),
        node: Node::new(args.binary.as_deref())?,
        rig,
    };
    let mut peer = Containerd::start()?;
    let cases: Vec<Case> =
        Case::ALL.into_iter().filter(|case| args.cases.is_empty() || args.cases.contains(case)).collect();
    let needed: BTreeSet<Case> =
        cases.iter().filter_map(|case| case.needs()).filter(|needed| !cases.contains(needed)).collect();
    for needed in needed {
        say(format!("not counted: {}", needed.title()));
        bench.run(needed, &mut peer).with_context(|| needed.title())?;
    }
    let mut runs = Runs::new();
    for round in 1..=args.n {
        for case in cases.iter().copied() {
            let outcome = bench.run(case, &mut peer).with_context(|| case.title())?;
            say(format!("round {round} of {}: {}: {:.2} s", args.n, case.title(), outcome.answer_seconds));
            if let Some(folder) = args.timelines.as_ref().filter(|_| case.is_ours()) {
                std::fs::create_dir_all(folder)?;
                bench.node.keep_timeline(&folder.join(format!("{}-{round}.jsonl", case.name())))?;
            }
            runs.entry(case).or_default().push(outcome);
        }
    }
    let verdicts = judge(args.image, &runs);
    let summary: Vec<Summary> = runs.iter().filter_map(|(case, runs)| Summary::of(*case, runs)).collect();
    print(&summary, &verdicts);
    if let Some(path) = &args.json {
        let report = Report {
            image: args.image.name(),
            variant: args.variant.name(),
            link: args.link.to_string(),
            rounds: args.n,
            image_bytes: layout.manifest()?.1.layer_bytes(),
            containerd: peer.version(),
            runs: &runs,
            summary,
            targets: &verdicts,
        };
        json::write(path, &report)?;
    }
    let missed = verdicts.iter().filter(|verdict| !verdict.met).count();
    if args.check && missed > 0 {
        bail!("{missed} of {} targets missed", verdicts.len());
    }
    Ok(())
}

struct Bench {
    rig: Rig,
    image: Name,
    reference: String,
    node: Node,
}

impl Bench {
    /// One run of one case.
    fn run(&self, case: Case, peer: &mut Containerd) -> anyhow::Result<Outcome> {
        Ok(match case {
            Case::Containerd => {
                peer.reset()?;
                self.rig.drop_caches()?;
                measure::containerd(&self.rig, peer, self.image, &self.reference)?
            }
            Case::WarmLocal => measure::warm_local(&self.rig, peer, self.image, &self.reference)?,
            Case::FirstEver | Case::IndexKnown | Case::OrderLearned => {
                match case {
                    Case::FirstEver => self.node.empty()?,
                    Case::IndexKnown => self.node.drop_data_and_orders()?,
                    _ => self.node.drop_data()?,
                }
                self.rig.drop_caches()?;
                measure::glowplug(&self.rig, &self.node, self.image, &self.reference)?
            }
        })
    }
}

/// The spreads of one case.
#[derive(Serialize)]
struct Summary {
    case: Case,
    answer_seconds: Spread,
    answer_link_megabytes: Spread,
    answer_cpu_seconds: Spread,
    complete_seconds: Option<Spread>,
    complete_cpu_seconds: Spread,
    peak_loader_megabytes: Spread,
    peak_application_megabytes: Spread,
}

impl Summary {
    fn of(case: Case, runs: &[Outcome]) -> Option<Self> {
        let spread = |figure: &dyn Fn(&Outcome) -> f64| Spread::of(runs.iter().map(figure));
        Some(Self {
            case,
            answer_seconds: spread(&|run| run.answer_seconds)?,
            answer_link_megabytes: spread(&|run| run.answer_link_bytes as f64 / 1e6)?,
            answer_cpu_seconds: spread(&|run| run.answer_cpu_seconds)?,
            complete_seconds: Spread::of(runs.iter().filter_map(|run| run.complete_seconds)),
            complete_cpu_seconds: spread(&|run| run.complete_cpu_seconds)?,
            peak_loader_megabytes: spread(&|run| run.peak_loader_bytes as f64 / 1e6)?,
            peak_application_megabytes: spread(&|run| run.peak_application_bytes as f64 / 1e6)?,
        })
    }
}

fn print(summary: &[Summary], verdicts: &[Verdict]) {
    println!("\nmedian (least-most)");
    println!(
        "{:<26}{:>22}{:>10}{:>22}{:>8}{:>8}{:>11}{:>11}",
        "", "first answer s", "MB then", "every byte here s", "CPU s", "in all", "loader MB", "server MB"
    );
    let range = |spread: &Spread| format!("{:.2} ({:.2}-{:.2})", spread.median, spread.min, spread.max);
    for row in summary {
        println!(
            "{:<26}{:>22}{:>10.0}{:>22}{:>8.1}{:>8.1}{:>11.0}{:>11.0}",
            row.case.title(),
            range(&row.answer_seconds),
            row.answer_link_megabytes.median,
            row.complete_seconds.as_ref().map_or_else(|| "-".to_owned(), range),
            row.answer_cpu_seconds.median,
            row.complete_cpu_seconds.median,
            row.peak_loader_megabytes.median,
            row.peak_application_megabytes.median,
        );
    }
    println!();
    for verdict in verdicts {
        let word = if verdict.met { "met   " } else { "missed" };
        println!("{word}  {:.2}x (at most {:.2}x)  {}", verdict.ratio, verdict.at_most, verdict.target);
    }
}
