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

const USAGE: &str = "\
usage: cargo xtask bench NAME

  cold-start   cold starts, against containerd, other loaders and everything local
  convert      how fast images are made over and indexed, against the Go tools
  decode       how fast a layer with checkpoints is decoded, against rapidgzip and pigz
  index        how fast a layer is indexed, against gunzip and pigz
  peers        cold starts on the nodes of one cluster at once
  read         reads of an image through its doors, against overlayfs

Each says more with --help.";

/// The command.
pub fn run(args: &[String]) -> anyhow::Result<()> {
    match args.split_first() {
        Some((name, _)) if matches!(&**name, "help" | "-h" | "--help") => {
            println!("{USAGE}");
            Ok(())
        }
        Some((name, rest)) if name == "cold-start" => cold_start::run(rest),
        Some((name, rest)) if name == "convert" => convert::run(rest),
        Some((name, rest)) if name == "decode" => decode::run(rest),
        Some((name, rest)) if name == "index" => index::run(rest),
        Some((name, rest)) if name == "peers" => peers::run(rest),
        Some((name, rest)) if name == "read" => read::run(rest),
        Some((name, _)) => bail!("no benchmark `{name}`\n\n{USAGE}"),
        None => bail!("which one?\n\n{USAGE}"),
    }
}
