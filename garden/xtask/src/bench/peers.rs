//! `cargo xtask bench peers`: what the peer tier spares the registry, and what it costs the last node.
//!
//! One node starts the image alone, from the registry. Then some nodes, as cold, start it all at once through the peer
//! tier. Then they do so when one of them has started it before, which left them its indexes and its order. The targets are the registry's bytes, against those of the one node, and the time to ready of the last node,
//! against the one's. On one machine all nodes share its processors: where the one node alone keeps them busy, the
//! second target is out of reach whatever the network does, so the report says how many there are.

use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Parser;
use serde::Serialize;
use serde_json::Value;

use super::json;
use crate::images::{self, Name, blob::Variant};
use crate::interrupt;
use crate::paths;
use crate::rig::cluster::{Cluster, Daemons, Start, Way};
use crate::rig::enclosure;
use crate::rig::glowplug::Node;
use crate::rig::link::{Link, Rate};
use crate::rig::registry::Registry;
use crate::step::say;

/// After this a start counts as failed.
const DEADLINE: Duration = Duration::from_secs(900);
/// A registry that sent nothing for so long has sent everything.
const IDLE: Duration = Duration::from_secs(3);
/// Fewer bytes than this between two looks are not the image.
const NOISE_BYTES: u64 = 4096;
/// The registry sends at most so many times what it sends to one node.
const MOST_EGRESS: f64 = 1.2;
/// The last node is ready after at most so many times what one node alone takes.
const MOST_TIME: f64 = 1.5;

/// Measure cold starts on the nodes of one cluster at once.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench peers", no_binary_name = true)]
struct Args {
    /// The image.
    #[arg(long, default_value = "ocr")]
    image: Name,
    /// How its layers are compressed.
    #[arg(long, default_value = "gzip")]
    variant: Variant,
    /// Nodes.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(2..=16))]
    nodes: u8,
    /// Speed of the registry's link.
    #[arg(long, default_value = "200mbit")]
    registry_link: Rate,
    /// Speed of each node's link.
    #[arg(long, default_value = "1gbit")]
    node_link: Rate,
    /// Rounds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    n: u32,
    /// Write everything that was measured here.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Measure this binary instead of building one.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Fail when a target is missed.
    #[arg(long)]
    check: bool,
}

/// Starts at once, measured.
#[derive(Debug, Clone, Serialize)]
struct Outcome {
    /// From each command to ready.
    ready_seconds: Vec<f64>,
    /// Bytes that the registry sent until the last was ready.
    ready_bytes: u64,
    /// Bytes that the registry sent in the end, when nobody wanted any more.
    complete_bytes: u64,
    /// What each node's service counted; nothing where nodes read without one.
    stats: Vec<Value>,
}

impl Outcome {
    fn last_ready(&self) -> f64 {
        self.ready_seconds.iter().copied().fold(0.0, f64::max)
    }

    /// The sum of a counter over all services.
    fn counted(&self, name: &str) -> u64 {
        self.stats.iter().filter_map(|stats| stats[name].as_u64()).sum()
    }
}

/// One round.
#[derive(Debug, Serialize)]
struct Round {
    alone: Outcome,
    together: Outcome,
    /// All nodes but the first, when that one had started before.
    after: Outcome,
}

/// What `--json` writes.
#[derive(Serialize)]
struct Report<'a> {
    image: &'static str,
    variant: &'static str,
    nodes: u8,
    registry_link: String,
    node_link: String,
    rounds: &'a [Round],
    egress: f64,
    time: f64,
}

/// The command.
pub fn run(args: &[String]) -> anyhow::Result<()> {
    let parsed = Args::parse_from(args);
    interrupt::watch()?;
    if enclosure::is_inside() {
        return measure(&parsed);
    }
    enclosure::check()?;
    Registry::prepare()?;
    Link::prepare()?;
    images::make(parsed.image, parsed.variant)?;
    if parsed.binary.is_none() {
        enclosure::check_build()?;
        Node::prepare()?;
    }
    let whole: Vec<String> =
        ["bench", "peers"].map(str::to_owned).into_iter().chain(args.iter().cloned()).collect();
    enclosure::enter(&whole)
}

fn measure(args: &Args) -> anyhow::Result<()> {
    enclosure::furnish()?;
    let layout = images::make(args.image, args.variant)?;
    let program = args.binary.clone().unwrap_or_else(|| paths::target().join("release/glowplug"));
    let nodes = usize::from(args.nodes);
    let cluster = Cluster::new(nodes, args.registry_link, args.node_link, &program)?;
    let reference = cluster.push(&layout, &format!("{}:{}", args.image.name(), args.variant.name()))?;
    let start = |count, way| starts(&cluster, count, way, &reference, args.image.ready_path());
    let mut rounds = Vec::new();
    for number in 1..=args.n {
        let alone = start(1, Way::Direct).context("one node alone")?;
        say(format!("round {number} of {}: alone: {:.2} s", args.n, alone.last_ready()));
        let together = start(nodes, Way::Peers).context("all nodes at once")?;
        say(format!("round {number} of {}: {nodes} at once: {:.2} s", args.n, together.last_ready()));
        let after = starts_after_one(&cluster, nodes, &reference, args.image.ready_path());
        let after = after.context("all nodes but one, after that")?;
        say(format!("round {number} of {}: {} after one: {:.2} s", args.n, nodes - 1, after.last_ready()));
        rounds.push(Round { alone, together, after });
    }
    let egress = median(rounds.iter().map(|round| ratio(&round.together, &round.alone, complete_bytes)));
    let time = median(rounds.iter().map(|round| ratio(&round.together, &round.alone, Outcome::last_ready)));
    print(args, &rounds);
    let verdict = |what: &str, found: f64, most: f64| {
        println!(
            "{}  {found:.2}x (at most {most:.2}x)  {what}",
            if found <= most { "met   " } else { "missed" }
        );
        found > most
    };
    let missed = [
        verdict("the registry's bytes, against those of one node", egress, MOST_EGRESS),
        verdict("the last node's time to ready, against one alone", time, MOST_TIME),
    ];
    if let Some(path) = &args.json {
        let report = Report {
            image: args.image.name(),
            variant: args.variant.name(),
            nodes: args.nodes,
            registry_link: args.registry_link.to_string(),
            node_link: args.node_link.to_string(),
            rounds: &rounds,
            egress,
            time,
        };
        json::write(path, &report)?;
    }
    let missed = missed.into_iter().filter(|missed| *missed).count();
    if args.check && missed > 0 {
        bail!("{missed} of 2 targets missed");
    }
    Ok(())
}

/// The image started on `count` cold nodes at once, until nobody wants any more of it.
fn starts(
    cluster: &Cluster,
    count: usize,
    way: Way,
    reference: &str,
    ready_path: &str,
) -> anyhow::Result<Outcome> {
    cluster.make_cold()?;
    let daemons = if way == Way::Peers { Some(cluster.serve(count)?) } else { None };
    starts_on(cluster, 0..count, daemons.as_ref(), reference, ready_path)
}

/// The same on all nodes but the first, when that one has started it before: they have its index, its order and its pieces.
fn starts_after_one(
    cluster: &Cluster,
    count: usize,
    reference: &str,
    ready_path: &str,
) -> anyhow::Result<Outcome> {
    cluster.make_cold()?;
    let daemons = cluster.serve(count)?;
    starts_on(cluster, 0..1, Some(&daemons), reference, ready_path)?;
    starts_on(cluster, 1..count, Some(&daemons), reference, ready_path)
}

/// The image started on these nodes at once, through `daemons` where there are some.
fn starts_on(
    cluster: &Cluster,
    nodes: Range<usize>,
    daemons: Option<&Daemons>,
    reference: &str,
    ready_path: &str,
) -> anyhow::Result<Outcome> {
    let way = if daemons.is_some() { Way::Peers } else { Way::Direct };
    let before = cluster.registry_bytes()?;
    let nodes = nodes.map(|at| cluster.run(at, way, reference, ready_path));
    let mut starts = nodes.collect::<anyhow::Result<Vec<Start>>>()?;
    let began = Instant::now();
    let ready_seconds = wait(&mut starts, "ready", began)?;
    let ready_bytes = cluster.registry_bytes()? - before;
    let complete_bytes = settled(cluster)? - before;
    let stats = daemons.map(Daemons::stats).transpose()?.unwrap_or_default();
    // All of them, before the first is waited for: a server may take its time.
    starts.iter().for_each(Start::ask_to_end);
    Ok(Outcome { ready_seconds, ready_bytes, complete_bytes, stats })
}

/// Waits until the registry has sent everything that anybody wants; gives what it sent since it began.
fn settled(cluster: &Cluster) -> anyhow::Result<u64> {
    let (mut seen, mut at) = (cluster.registry_bytes()?, Instant::now());
    while at.elapsed() < IDLE {
        std::thread::sleep(Duration::from_millis(50));
        let now = cluster.registry_bytes()?;
        if now > seen + NOISE_BYTES {
            (seen, at) = (now, Instant::now());
        }
    }
    cluster.registry_bytes()
}

/// Waits until every start has come to this mark; gives the seconds that each took.
fn wait(starts: &mut [Start], mark: &str, began: Instant) -> anyhow::Result<Vec<f64>> {
    loop {
        let marks = starts.iter_mut().map(|start| start.mark(mark));
        let marks = marks.collect::<anyhow::Result<Vec<Option<f64>>>>()?;
        if let Some(all) = marks.into_iter().collect::<Option<Vec<f64>>>() {
            return Ok(all);
        }
        if began.elapsed() > DEADLINE {
            bail!("not {mark} within {DEADLINE:?}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn complete_bytes(outcome: &Outcome) -> f64 {
    outcome.complete_bytes as f64
}

fn ratio(of: &Outcome, to: &Outcome, figure: impl Fn(&Outcome) -> f64) -> f64 {
    figure(of) / figure(to)
}

/// The middle one; of an even number the lower of the middle two.
fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get((values.len().max(1) - 1) / 2).copied().unwrap_or(f64::NAN)
}

fn print(args: &Args, rounds: &[Round]) {
    let processors = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    println!(
        "\n{} nodes, {processors} processors, {} to the registry, {} between nodes",
        args.nodes, args.registry_link, args.node_link
    );
    println!("{:<10}{:>14}{:>16}{:>16}", "", "last ready s", "MB then", "MB in the end");
    for round in rounds {
        for (name, outcome) in
            [("alone", &round.alone), ("together", &round.together), ("after one", &round.after)]
        {
            println!(
                "{name:<10}{:>14.2}{:>16.1}{:>16.1}",
                outcome.last_ready(),
                outcome.ready_bytes as f64 / 1e6,
                outcome.complete_bytes as f64 / 1e6
            );
        }
    }
    println!(
        "\n{:<14}{:>14}{:>16}{:>16}{:>10}{:>10}{:>12}{:>8}",
        "", "registry MB", "from peers MB", "from cache MB", "hedges", "put aside", "quarantined", "lore"
    );
    for (number, round) in rounds.iter().enumerate() {
        for (name, outcome) in [("together", &round.together), ("after one", &round.after)] {
            let megabytes = |counter| outcome.counted(counter) as f64 / 1e6;
            println!(
                "{:<14}{:>14.1}{:>16.1}{:>16.1}{:>10}{:>10}{:>12}{:>8}",
                format!("{} {name}", number + 1),
                megabytes("registry_bytes"),
                megabytes("peer_bytes"),
                megabytes("cache_bytes"),
                outcome.counted("hedges"),
                outcome.counted("peers_put_aside"),
                outcome.counted("quarantines"),
                outcome.counted("lore_from_peers"),
            );
        }
    }
    println!();
}
