//! `cargo xtask test`: sets itself up, then runs every check and counts.
//!
//! Each step says what it does, is timed, and has its verdict repeated at the end; a failed step does not keep the
//! later ones from running. The last line is `N passed, N failed`: tests are counted one by one, every other step
//! as one. What runs is a process group of its own that ends with us; tests run, where we are root, in their own mount and
//! process namespaces, so that an interrupted one leaves nothing mounted or running.

mod runner;
mod tally;
mod toolchain;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::house::cargo;
use crate::images::blob::Variant;
use crate::images::{self, Name};
use crate::packages::debian::Debian;
use crate::rig::containerd::Containerd;
use crate::step::say;
use crate::{house, interrupt, paths};
use tally::Tally;

/// mkfs.erofs, and what it needs beside the C library.
const EROFS_UTILS: [&str; 5] = ["erofs-utils", "liblz4-1", "libselinux1", "libpcre2-8-0", "libuuid1"];

/// One check.
struct Step {
    /// What a person types to run only this one.
    name: &'static str,
    /// What it does, for the headline.
    what: &'static str,
    work: fn() -> anyhow::Result<Tally>,
}

/// Every step in its order: cheap ones first, so that a slip shows early.
const STEPS: [Step; 8] = [
    Step { name: "setup", what: "what building needs", work: setup },
    Step { name: "format", what: "formatting", work: format },
    Step { name: "house", what: "rules of the house", work: rules },
    Step { name: "lint", what: "lints", work: lint },
    Step { name: "docs", what: "documentation builds", work: docs },
    Step { name: "tests", what: "unit and integration tests", work: tests },
    Step { name: "fuzz", what: "fuzzing corpora, replayed", work: fuzz },
    Step { name: "e2e", what: "real images in real containers", work: end_to_end },
];

const USAGE: &str = "usage: cargo xtask test [STEP...]\n\nWithout a step, all of them run, in this order:";

/// Runs the named steps, or all; fails when anything failed.
pub fn run(args: &[String]) -> anyhow::Result<()> {
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        println!("{USAGE}");
        STEPS.iter().for_each(|step| println!("  {:<8} {}", step.name, step.what));
        return Ok(());
    }
    if let Some(unknown) = args.iter().find(|arg| STEPS.iter().all(|step| step.name != arg.as_str())) {
        bail!("no step {unknown}; `cargo xtask test --help` lists them");
    }
    interrupt::watch()?;
    let chosen = STEPS.iter().filter(|step| args.is_empty() || args.iter().any(|arg| arg == step.name));
    let verdicts: Vec<(&Step, Tally, Duration)> = chosen
        .map(|step| {
            let (tally, took) = perform(step);
            (step, tally, took)
        })
        .collect();
    println!();
    let mut sum = Tally::default();
    for (step, tally, took) in &verdicts {
        let verdict = if tally.failed == 0 { "ok" } else { "FAILED" };
        println!("{:<8} {verdict:<6} {:>7.1} s  {tally}", step.name, took.as_secs_f64());
        sum += *tally;
    }
    println!("{sum}");
    if sum.failed > 0 {
        // The verdict stays the last line: an error message would come after it.
        std::process::exit(1);
    }
    Ok(())
}

/// Runs one step; an error of the step itself is printed and counts as one failure.
fn perform(step: &Step) -> (Tally, Duration) {
    say(format!("{}: {}", step.name, step.what));
    let began = Instant::now();
    let tally = (step.work)().unwrap_or_else(|error| {
        println!("{}: {error:#}", step.name);
        Tally::FAILURE
    });
    (tally, began.elapsed())
}

fn setup() -> anyhow::Result<Tally> {
    toolchain::ensure_c_compiler()?;
    toolchain::require_components()?;
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    for folder in [paths::workspace(), fuzz_folder()] {
        // Every later step is offline.
        runner::run(cargo().args(["fetch", "--locked", "--target", &platform]).current_dir(folder))?;
    }
    Ok(Tally::SUCCESS)
}

fn format() -> anyhow::Result<Tally> {
    for folder in [paths::workspace(), fuzz_folder()] {
        runner::run(cargo().args(["fmt", "--all", "--check"]).current_dir(folder))?;
    }
    Ok(Tally::SUCCESS)
}

fn rules() -> anyhow::Result<Tally> {
    house::run(&[])?;
    Ok(Tally::SUCCESS)
}

fn lint() -> anyhow::Result<Tally> {
    for folder in [paths::workspace(), fuzz_folder()] {
        let mut command = cargo();
        command.args(["clippy", "--workspace", "--all-targets", "--locked", "--offline"]).current_dir(folder);
        runner::run(command.args(["--", "-D", "warnings"]))?;
    }
    Ok(Tally::SUCCESS)
}

fn docs() -> anyhow::Result<Tally> {
    let mut command = cargo();
    command.args(["doc", "--no-deps", "--workspace", "--document-private-items", "--locked", "--offline"]);
    runner::run(command.env("RUSTDOCFLAGS", "-D warnings").current_dir(paths::workspace()))?;
    Ok(Tally::SUCCESS)
}

fn tests() -> anyhow::Result<Tally> {
    count_tests(paths::workspace(), &["--workspace", "--exclude", "glowplug-e2e"])
}

/// Makes the images, builds the program, starts the ones with the other, and compares them with what containerd shows.
fn end_to_end() -> anyhow::Result<Tally> {
    for (name, variant) in [
        (Name::Tiny, Variant::Gzip),
        (Name::Tiny, Variant::Zstd),
        (Name::Tiny, Variant::Uncompressed),
        (Name::Ocr, Variant::Gzip),
    ] {
        images::make(name, variant)?;
    }
    let mut build = cargo();
    build.args(["build", "--package", "glowplug", "--bin", "glowplug"]);
    build.args(["--package", "glowplug-mount", "--example", "mount_image", "--locked", "--offline"]);
    runner::run(build.current_dir(paths::workspace()))?;
    let built = paths::built();
    let mut test = cargo();
    test.args(["test", "--package", "glowplug-e2e", "--locked", "--offline", "--no-fail-fast"]);
    test.current_dir(paths::workspace())
        .env("GLOWPLUG_BIN", built.join("glowplug"))
        .env("GLOWPLUG_MOUNT_IMAGE", built.join("examples/mount_image"))
        .env("GLOWPLUG_IMAGES", paths::images())
        .env("GLOWPLUG_CONTAINERD", Containerd::fetch()?)
        .env("GLOWPLUG_EROFS_UTILS", Debian::open()?.tool("erofs-utils", &EROFS_UTILS)?);
    runner::run_tests(&mut test)
}

fn fuzz() -> anyhow::Result<Tally> {
    count_tests(fuzz_folder(), &[])
}

/// Builds, then runs the tests of one workspace.
fn count_tests(folder: PathBuf, which: &[&str]) -> anyhow::Result<Tally> {
    let test = |command: &mut Command| {
        command.args(["test", "--locked", "--offline"]).args(which).current_dir(&folder);
    };
    let mut build = cargo();
    test(&mut build);
    runner::run(build.arg("--no-run")).context("the tests do not build")?;
    let mut command = cargo();
    test(&mut command);
    runner::run_tests(command.arg("--no-fail-fast"))
}

/// The fuzz targets are a workspace of their own: they need flags that the rest must not have.
fn fuzz_folder() -> PathBuf {
    paths::workspace().join("garden/fuzz")
}
