//! `cargo xtask chaos store`: kills the process that fills the byte store, at random moments under reads.
//!
//! The work is done by an example of the image crate, so that this program need not be built with it.

use std::process::Command;

use anyhow::bail;
use clap::Parser;

use crate::{example, interrupt, paths, step};

const PACKAGE: &str = "glowplug-image";
const EXAMPLE: &str = "chaos_store";

/// Kill -9 the byte store while it fills under reads; check every byte that is readable afterwards.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask chaos store", no_binary_name = true)]
struct Args {
    /// How often.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..))]
    kills: u64,
    /// Repeat the moments of an earlier run, as far as a machine repeats itself.
    #[arg(long)]
    seed: Option<u64>,
}

/// The command.
pub fn run(args: &[String]) -> anyhow::Result<()> {
    let args = Args::parse_from(args);
    interrupt::watch()?;
    let program = example::build(PACKAGE, EXAMPLE)?;
    let place = paths::target().join("chaos");
    let partial = interrupt::Partial::folder(&place)?;
    let mut command = Command::new(program);
    command.arg("--dir").arg(partial.path()).args(["--kills", &args.kills.to_string()]);
    if let Some(seed) = args.seed {
        command.args(["--seed", &seed.to_string()]);
    }
    if !step::run_group(&mut command)?.success() {
        bail!("not passed: the store was not sound after a kill");
    }
    Ok(())
}
