//! `cargo xtask peers [NAME...]`: the loaders that Glowplug is measured against, built from the package registries alone.
//!
//! Each version stands in one place: `garden/peers/*/go.mod`, with `go.sum` beside it, for what is written in Go, and
//! [`NYDUSD`] for what is a crate, which brings its own lock file. Everything lies under `target/peers`, Go's caches
//! included; what is built from the same sources already is not built again. Besides the peer itself each needs
//! containerd 2: Debian's `ctr` fetches every layer before it asks a snapshotter whether it wants them.
//!
//! Running them is the business of [`crate::rig::peers`].

pub mod converters;
pub mod kubernetes;
mod tool;

use std::time::Duration;

use clap::Parser;

use self::tool::{Source, Tool};
use crate::{interrupt, paths, step};

const CONTAINERD: Tool = Tool {
    name: "containerd",
    source: Source::Go { packages: &["tool"], module: "github.com/containerd/containerd/v2", zlib: false },
    programs: &["containerd", "containerd-shim-runc-v2", "ctr"],
};
/// What makes the images that the peers take.
const PREPARE: Tool = Tool {
    name: "prepare",
    source: Source::Go {
        packages: &["./convert-estargz", "./convert-nydus", "./record-opens"],
        module: "github.com/containerd/stargz-snapshotter/estargz",
        zlib: false,
    },
    programs: &["convert-estargz", "convert-nydus", "record-opens"],
};
const STARGZ: Tool = Tool {
    name: "stargz",
    source: Source::Go {
        packages: &["./containerd-stargz-grpc"],
        module: "github.com/containerd/stargz-snapshotter",
        zlib: false,
    },
    programs: &["containerd-stargz-grpc"],
};
const SOCI: Tool = Tool {
    name: "soci",
    source: Source::Go { packages: &["tool"], module: "github.com/awslabs/soci-snapshotter", zlib: true },
    programs: &["soci", "soci-snapshotter-grpc"],
};
const NYDUS: Tool = Tool {
    name: "nydus",
    source: Source::Go {
        packages: &["tool"],
        module: "github.com/containerd/nydus-snapshotter",
        zlib: false,
    },
    programs: &["containerd-nydus-grpc"],
};
const NYDUSD: Tool = Tool {
    name: "nydusd",
    source: Source::Crate { name: "nydus-rs", version: "2.2.0" },
    programs: &["nydusd", "nydus-image"],
};

/// Who we are measured against, besides containerd itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Peer {
    /// stargz-snapshotter with eStargz images.
    Stargz,
    /// SOCI snapshotter with SOCI v2 images.
    Soci,
    /// nydus-snapshotter and nydusd with RAFS v6 images.
    Nydus,
}

impl Peer {
    const ALL: [Self; 3] = [Self::Stargz, Self::Soci, Self::Nydus];

    fn tools(self) -> &'static [&'static Tool] {
        match self {
            Self::Stargz => &[&CONTAINERD, &PREPARE, &STARGZ],
            Self::Soci => &[&CONTAINERD, &PREPARE, &SOCI],
            Self::Nydus => &[&CONTAINERD, &PREPARE, &NYDUS, &NYDUSD],
        }
    }
}

/// Build the peers under target/peers; what is there already stays. Needs Go; the first time takes many minutes.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask peers", no_binary_name = true)]
struct Args {
    /// Which; without a name all of them.
    names: Vec<Peer>,
}

/// The command.
pub fn run(args: &[String]) -> anyhow::Result<()> {
    let mut args = Args::parse_from(args);
    interrupt::watch()?;
    if args.names.is_empty() {
        args.names = Peer::ALL.to_vec();
    }
    make(&args.names)?;
    for tool in tools(&args.names) {
        println!("{:<72}{}", tool.version()?, took(tool));
    }
    println!("under {}", paths::peers().display());
    Ok(())
}

/// Builds what some peers need and what is not built yet.
pub fn make(peers: &[Peer]) -> anyhow::Result<()> {
    for tool in tools(peers).into_iter().filter(|tool| !tool.is_made()) {
        step::say(format!("building {}", tool.version()?));
        let took = tool.make()?;
        step::say(format!("{} took {}", tool.name, minutes(took)));
    }
    Ok(())
}

/// The versions of what some peers are made of, for the record.
pub fn versions(peers: &[Peer]) -> anyhow::Result<Vec<String>> {
    tools(peers).into_iter().map(Tool::version).collect()
}

/// Each once, in the order in which they are built.
fn tools(peers: &[Peer]) -> Vec<&'static Tool> {
    let mut tools: Vec<&'static Tool> = Vec::new();
    for tool in peers.iter().flat_map(|peer| peer.tools()) {
        if !tools.iter().any(|known| known.name == tool.name) {
            tools.push(tool);
        }
    }
    tools
}

fn took(tool: &Tool) -> String {
    tool.took().map_or_else(|| "built".to_owned(), |took| format!("built in {}", minutes(took)))
}

fn minutes(took: Duration) -> String {
    format!("{} min {} s", took.as_secs() / 60, took.as_secs() % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_several_peers_need_is_built_once() {
        let names: Vec<&str> = tools(&[Peer::Soci, Peer::Nydus]).iter().map(|tool| tool.name).collect();
        assert_eq!(names, ["containerd", "prepare", "soci", "nydus", "nydusd"]);
    }

    #[test]
    fn each_tool_has_a_pinned_version() {
        for tool in tools(&Peer::ALL) {
            let version = tool.version().unwrap();
            assert!(version.contains(|c: char| c.is_ascii_digit()), "{version}");
        }
    }
}
