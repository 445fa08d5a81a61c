//! stargz-snapshotter with its own settings, and eStargz images: plain ones, and ones with the files of a start first.

use std::path::Path;
use std::process::Command;

use super::{Peer, Place, program, snapshotter};
use crate::images::layout::{Layout, Manifest};
use crate::step;

/// The peer.
pub struct Stargz {
    /// Whether the files of a start come first in each layer, and are fetched before the container is started.
    pub optimised: bool,
}

impl Peer for Stargz {
    fn snapshotter(&self) -> &'static str {
        "stargz"
    }

    fn image(&self) -> &'static str {
        if self.optimised { "estargz-optimised" } else { "estargz" }
    }

    fn tools(&self) -> &'static [&'static str] {
        &["prepare"]
    }

    fn convert(&self, from: &Layout, opens: &Path, to: &Path) -> anyhow::Result<()> {
        let mut command = Command::new(program("prepare", "convert-estargz"));
        if self.optimised {
            command.arg("-prioritized").arg(opens);
        }
        step::read(command.arg(from.folder()).arg(to)).map(drop)
    }

    fn daemon(&self, place: &Place<'_>) -> anyhow::Result<Command> {
        let registry = place.registry;
        // A bare HOST:PORT: it makes an address of it itself.
        let settings =
            format!("[[resolver.host.\"{registry}\".mirrors]]\nhost = \"{registry}\"\ninsecure = true\n");
        snapshotter("stargz", "containerd-stargz-grpc", place, &settings)
    }

    fn mounts(&self, image: &Manifest) -> usize {
        image.layers.len()
    }
}
