//! The images that the peers take, each made once and kept under `target/peers/images` until what it is made of changes.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use glowplug_base::Digest;

use super::Peer;
use crate::images::layout::Layout;
use crate::interrupt::Partial;
use crate::paths;
use crate::step::say;

/// An image as a peer takes it.
pub struct Prepared {
    /// Where it lies.
    pub layout: Layout,
    /// How long making it took, in this run or an earlier one.
    pub seconds: f64,
}

/// The folder of the peers' images of one original, which is called `name`.
pub fn folder(name: &str) -> PathBuf {
    paths::peers().join("images").join(name)
}

/// Makes the peer's image of `original`, or finds it made. `opens` names the files of a start.
pub fn prepare(peer: &dyn Peer, original: &Layout, name: &str, opens: &Path) -> anyhow::Result<Prepared> {
    let place = folder(name).join(peer.image());
    let stamp = stamp(peer, original, opens)?;
    if std::fs::read_to_string(place.join("inputs")).is_ok_and(|inputs| inputs == stamp) {
        let seconds = std::fs::read_to_string(place.join("seconds"))?;
        let seconds = seconds.trim().parse().context("a damaged record: remove target/peers/images")?;
        return Ok(Prepared { layout: Layout::at(place.join("layout")), seconds });
    }
    say(format!("making `{}` of `{name}`, once", peer.image()));
    let partial = Partial::folder(&place)?;
    let began = Instant::now();
    peer.convert(original, opens, &partial.path().join("layout"))?;
    let seconds = began.elapsed().as_secs_f64();
    std::fs::write(partial.path().join("seconds"), format!("{seconds:.1}"))?;
    std::fs::write(partial.path().join("inputs"), stamp)?;
    partial.commit()?;
    Ok(Prepared { layout: Layout::at(place.join("layout")), seconds })
}

/// A text that changes whenever the image would.
fn stamp(peer: &dyn Peer, original: &Layout, opens: &Path) -> anyhow::Result<String> {
    let mut text = format!("{}\n{}\n", original.root()?, Digest::of(&std::fs::read(opens)?).hex());
    for tool in peer.tools() {
        let inputs = paths::peers().join(tool).join("inputs");
        let inputs = std::fs::read(&inputs).with_context(|| format!("cannot read {}", inputs.display()))?;
        text += &format!("{tool} {}\n", Digest::of(&inputs).hex());
    }
    Ok(text)
}
