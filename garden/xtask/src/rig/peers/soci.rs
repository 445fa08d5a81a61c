//! SOCI snapshotter with its own settings and its prefetch on, and SOCI v2 images that name the files of a start.

use std::path::Path;
use std::process::Command;

use anyhow::Context;

use super::{Peer, Place, program, snapshotter};
use crate::images::layout::{Layout, Manifest};
use crate::interrupt::Partial;
use crate::step;

/// Layers below this get no index by default and are pulled whole.
const MIN_LAYER_BYTES: u64 = 10 << 20;

/// The peer.
pub struct Soci;

impl Peer for Soci {
    fn snapshotter(&self) -> &'static str {
        "soci"
    }

    fn image(&self) -> &'static str {
        "soci"
    }

    fn tools(&self) -> &'static [&'static str] {
        &["soci"]
    }

    fn convert(&self, from: &Layout, opens: &Path, to: &Path) -> anyhow::Result<()> {
        // It copies the image twice, into the temporary folder first.
        let mut scratch = to.as_os_str().to_owned();
        scratch.push(".scratch");
        let scratch = Partial::folder(Path::new(&scratch))?;
        let list = scratch.path().join("opens.json");
        let opens = std::fs::read_to_string(opens).context("cannot read the files of a start")?;
        std::fs::write(&list, serde_json::to_vec(&opens.lines().collect::<Vec<_>>())?)?;
        let mut command = Command::new(program("soci", "soci"));
        command
            .args(["convert", "--standalone", "--format", "oci-dir", "--prefetch-files-json"])
            .arg(&list)
            .arg(from.folder())
            .arg(to)
            .env("TMPDIR", scratch.path());
        step::read(&mut command)?;
        link_layers(from, &Layout::at(to))
    }

    fn daemon(&self, place: &Place<'_>) -> anyhow::Result<Command> {
        let registry = place.registry;
        // With the scheme: without it every layer is pulled whole, and nothing says so.
        let settings = format!(
            "[prefetch]\nenable = true\n[pull_modes.soci_v2]\nenable = true\n\
             [[resolver.host.\"{registry}\".mirrors]]\nhost = \"http://{registry}\"\ninsecure = true\n"
        );
        snapshotter("soci", "soci-snapshotter-grpc", place, &settings)
    }

    fn mounts(&self, image: &Manifest) -> usize {
        image.layers.iter().filter(|layer| layer.size >= MIN_LAYER_BYTES).count()
    }
}

/// The image's own blobs have not changed: what was copied of them is given back.
fn link_layers(from: &Layout, to: &Layout) -> anyhow::Result<()> {
    for blob in std::fs::read_dir(from.blobs())? {
        let blob = blob?;
        let copy = to.blobs().join(blob.file_name());
        if copy.exists() {
            std::fs::remove_file(&copy)?;
            std::fs::hard_link(blob.path(), &copy)?;
        }
    }
    Ok(())
}
