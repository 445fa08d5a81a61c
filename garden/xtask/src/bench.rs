//! `cargo xtask bench NAME`: measurements against the peers and against our targets.

mod cold_start;
mod targets;

use anyhow::bail;

/// The command.
pub fn run(args: &[String]) -> anyhow::Result<()> {
    match args.split_first() {
        Some((name, rest)) if name == "cold-start" => cold_start::run(rest),
        Some((name, _)) => bail!("no benchmark `{name}`: there is cold-start"),
        None => bail!("which one? there is cold-start"),
    }
}
