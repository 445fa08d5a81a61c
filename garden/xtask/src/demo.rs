//! `cargo xtask demo`: the whole promise in one command. A real model server in a real image from a real registry over a
//! link of 1 Gbit/s, started twice by Glowplug and once by containerd, with a picture to read.

use anyhow::bail;
use clap::Parser;

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

const TAG: &str = "gzip";

/// Start a real model server from a registry over a shaped link, beside containerd; everything stays under target/.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask demo", no_binary_name = true)]
struct Args {
    /// The image to show.
    #[arg(long, default_value = "ocr")]
    image: Name,
    /// Speed of the link to the registry: none, Nmbit or Ngbit.
    #[arg(long, default_value = "1gbit")]
    link: Rate,
}

/// The command.
pub fn run(args: &[String]) -> anyhow::Result<()> {
    let parsed = Args::parse_from(args);
    interrupt::watch()?;
    if enclosure::is_inside() {
        return show(&parsed);
    }
    enclosure::check()?;
    enclosure::check_build()?;
    say("what is brought in stays under target/ : Debian packages, Python packages, the test image");
    Registry::prepare()?;
    Containerd::prepare()?;
    Link::prepare()?;
    images::make(parsed.image, Variant::Gzip)?;
    Node::prepare()?;
    let whole: Vec<String> = std::iter::once("demo".to_owned()).chain(args.iter().cloned()).collect();
    enclosure::enter(&whole)
}

fn show(args: &Args) -> anyhow::Result<()> {
    enclosure::furnish()?;
    let image = args.image;
    let layout = images::make(image, Variant::Gzip)?;
    let (_, manifest) = layout.manifest()?;
    let rig = Rig::new(args.link)?;
    rig.push(&layout, &format!("{}:{TAG}", image.name()))?;
    let reference = format!("{}/{}:{TAG}", rig.registry_addr(), image.name());
    say(format!(
        "registry at {} behind a link of {}; `{reference}` has {} layers, {:.0} MB",
        rig.registry_addr(),
        args.link,
        manifest.layers.len(),
        manifest.layer_bytes() as f64 / 1e6
    ));

    let node = Node::new(None)?;
    rig.drop_caches()?;
    say("glowplug run, first ever: no byte, no index, no order is known");
    let first = measure::glowplug(&rig, &node, image, &reference)?;
    tell(image, &first);

    node.drop_data()?;
    rig.drop_caches()?;
    say("glowplug run, on the emptied node: the index and the order of the last start are known");
    let again = measure::glowplug(&rig, &node, image, &reference)?;
    tell(image, &again);
    node.empty()?;

    let peer = Containerd::start()?;
    rig.drop_caches()?;
    say(format!("full pull and start by {}", peer.version()));
    let full = measure::containerd(&rig, &peer, image, &reference)?;
    println!("{}", full.answer.trim_end());
    drop(peer);
    verdict(&first, &again, &full)
}

fn tell(image: Name, outcome: &Outcome) {
    println!("{}", outcome.printed.trim_end());
    let what = if image == Name::Ocr { "the text in the picture" } else { "the answer" };
    let answer = outcome.answer.trim_end();
    let shown: String = answer.chars().take(400).collect();
    println!("\n{what}, {:.2} s after the command:", outcome.answer_seconds);
    for line in shown.lines() {
        println!("    {line}");
    }
    println!();
}

fn verdict(first: &Outcome, again: &Outcome, full: &Outcome) -> anyhow::Result<()> {
    println!("\n{:<44}{:>10}{:>12}{:>16}", "", "answer s", "MB by then", "of containerd");
    for (name, outcome) in [
        ("glowplug, first ever", first),
        ("glowplug, index and order known", again),
        ("containerd, full pull and start", full),
    ] {
        println!(
            "{name:<44}{:>10.2}{:>12.0}{:>15.2}x",
            outcome.answer_seconds,
            outcome.answer_link_bytes as f64 / 1e6,
            outcome.answer_seconds / full.answer_seconds
        );
    }
    println!();
    if first.answer_seconds >= full.answer_seconds || again.answer_seconds >= first.answer_seconds {
        bail!(
            "not passed: all answers were right, but a start was not faster than the one that it should beat"
        );
    }
    println!(
        "passed: all three answers were right; the first ever start took {:.0} % of containerd's time, the next {:.0} %",
        100.0 * first.answer_seconds / full.answer_seconds,
        100.0 * again.answer_seconds / full.answer_seconds
    );
    Ok(())
}
