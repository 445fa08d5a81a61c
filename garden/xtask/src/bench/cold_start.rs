//! `cargo xtask bench cold-start`: how long a model server takes from the command to its first right answer.
//!
//! One round runs every case once, so that whatever drifts on the machine meets all of them alike. Before each cold run
//! the node's stores are emptied to the state that the case begins from and the page cache is dropped; what the registry
//! serves is read back into memory. Lazy peers take part where they are asked for, each with the image that suits it best.
//!
//! CPU and memory are those of the processes that belong to the case: what its start begins, and the daemons that start it.
//! The containerd of Debian, which runs all the time and idles while others have their turn, counts for its own cases only.

mod contestant;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Parser;
use serde::Serialize;

use self::contestant::{Contestant, Original, Preparation};
use self::table::Summary;
use super::case::{Case, Versus};
use super::json;
use super::targets::{Runs, Verdict, judge};
use crate::images::{self, Name, blob::Variant, layout::Layout};
use crate::rig::Rig;
use crate::rig::containerd::Containerd;
use crate::rig::enclosure;
use crate::rig::glowplug::Node;
use crate::rig::link::{Link, Rate};
use crate::rig::measure::{self, Outcome};
use crate::rig::registry::Registry;
use crate::step::say;
use crate::{interrupt, peers};

/// Measure cold starts against containerd, lazy loaders and everything local.
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
    /// Whom to measure against, separated by commas. Lazy loaders are built where they are not yet, as `cargo xtask
    /// peers` does it, and their images are made once: both take many minutes.
    #[arg(long, value_delimiter = ',', default_value = "containerd")]
    vs: Vec<Versus>,
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

impl Args {
    /// What one round runs.
    fn cases(&self) -> Vec<Case> {
        Case::round(&self.vs, &self.cases)
    }

    /// The lazy peers that take part.
    fn peers(&self) -> Vec<peers::Peer> {
        self.cases().into_iter().filter_map(|case| case.versus()?.peer()).collect()
    }
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
    peers::make(&parsed.peers())?;
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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    peers: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    preparations: Vec<Preparation>,
    runs: &'a Runs,
    summary: Vec<Summary>,
    targets: &'a [Verdict],
}

fn measure_all(args: &Args) -> anyhow::Result<()> {
    enclosure::furnish()?;
    let layout = images::make(args.image, args.variant)?;
    let rig = Rig::new(args.link)?;
    let name = format!("{}:{}", args.image.name(), args.variant.name());
    let served = rig.push(&layout, &name)?;
    let mut bench = Bench {
        image: args.image,
        reference: format!("{}/{name}", rig.registry_addr()),
        served,
        node: Node::new(args.binary.as_deref())?,
        rig,
        contestants: BTreeMap::new(),
    };
    let mut peer = Containerd::start()?;
    let cases = args.cases();
    let preparations = bench.enter(&cases, args.variant, &layout, &peer)?;
    let needed: BTreeSet<Case> =
        cases.iter().filter_map(|case| case.needs()).filter(|needed| !cases.contains(needed)).collect();
    for needed in needed {
        say(format!("not counted: {}", needed.title()));
        bench.run(needed, &mut peer).with_context(|| needed.title())?;
    }
    let mut runs = Runs::new();
    for round in 1..=args.n {
        for case in cases.iter().copied() {
            if case == Case::WarmLocal && !cases.contains(&Case::Containerd) {
                // Whoever ran before it has emptied the page cache.
                bench.run(case, &mut peer).with_context(|| case.title())?;
            }
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
    table::print(&summary, &runs, &verdicts);
    if let Some(path) = &args.json {
        let report = Report {
            image: args.image.name(),
            variant: args.variant.name(),
            link: args.link.to_string(),
            rounds: args.n,
            image_bytes: layout.manifest()?.1.layer_bytes(),
            containerd: peer.version(),
            peers: peers::versions(&args.peers())?,
            preparations,
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
    served: Vec<PathBuf>,
    node: Node,
    contestants: BTreeMap<Case, Contestant>,
}

impl Bench {
    /// Makes and pushes the images of the lazy peers among `cases`; what that cost, each image once.
    fn enter(
        &mut self,
        cases: &[Case],
        variant: Variant,
        layout: &Layout,
        containerd: &Containerd,
    ) -> anyhow::Result<Vec<Preparation>> {
        let mut preparations: Vec<Preparation> = Vec::new();
        let original = Original { image: self.image, variant, layout, reference: &self.reference };
        for (case, peer) in cases.iter().filter_map(|case| Some((*case, case.peer()?))) {
            let (contestant, preparation) =
                original.enter(peer, &self.rig, containerd).with_context(|| case.title())?;
            self.contestants.insert(case, contestant);
            if preparations.iter().all(|known| known.image != preparation.image) {
                let Preparation { image, seconds, megabytes } = &preparation;
                say(format!("`{image}` is in the registry: {megabytes:.0} MB, made in {seconds:.0} s"));
                preparations.push(preparation);
            }
        }
        Ok(preparations)
    }

    /// One run of one case.
    fn run(&self, case: Case, peer: &mut Containerd) -> anyhow::Result<Outcome> {
        if let Some(contestant) = self.contestants.get(&case) {
            return contestant.run(&self.rig, self.image);
        }
        Ok(match case {
            Case::Containerd => {
                peer.reset()?;
                self.rig.drop_caches_but(&self.served)?;
                measure::containerd(&self.rig, peer, self.image, &self.reference)?
            }
            Case::WarmLocal => measure::warm_local(&self.rig, peer, self.image, &self.reference)?,
            Case::FirstEver => {
                self.node.empty()?;
                self.ours()?
            }
            Case::IndexKnown => {
                self.node.drop_data_and_orders()?;
                self.ours()?
            }
            Case::OrderLearned => {
                self.node.drop_data()?;
                self.ours()?
            }
            other => bail!("{} did not enter", other.title()),
        })
    }

    fn ours(&self) -> anyhow::Result<Outcome> {
        self.rig.drop_caches_but(&self.served)?;
        measure::glowplug(&self.rig, &self.node, self.image, &self.reference)
    }
}
