//! `cargo xtask bench NAME`: measurements against the peers and against our targets.

mod at_least;
mod case;
mod cold_start;
mod convert;
mod cost;
mod decode;
mod index;
mod json;
mod peers;
mod ratio;
mod read;
mod targets;

use anyhow::bail;

const NAMES: &str = "cold-start, convert, decode, index, peers, read";

/// The command.
pub fn run(args: &[String]) -> anyhow::Result<()> {
    match args.split_first() {
        Some((name, rest)) if name == "cold-start" => cold_start::run(rest),
        Some((name, rest)) if name == "convert" => convert::run(rest),
        Some((name, rest)) if name == "decode" => decode::run(rest),
        Some((name, rest)) if name == "index" => index::run(rest),
        Some((name, rest)) if name == "peers" => peers::run(rest),
        Some((name, rest)) if name == "read" => read::run(rest),
        Some((name, _)) => bail!("no benchmark `{name}`: there are {NAMES}"),
        None => bail!("which one? there are {NAMES}"),
    }
}
