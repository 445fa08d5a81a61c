//! A lazy peer in the rounds: its image is made and pushed before the first; each run begins with empty stores.

use std::path::PathBuf;

use serde::Serialize;

use crate::images::layout::{Layout, Manifest};
use crate::images::{Name, blob::Variant};
use crate::rig::Rig;
use crate::rig::containerd::Containerd;
use crate::rig::measure::{self, Outcome};
use crate::rig::peers::{Node, Peer, opens, prepared};

/// What making an image that peers take cost.
#[derive(Debug, Clone, Serialize)]
pub struct Preparation {
    /// What the image is called.
    pub image: &'static str,
    /// How long making it took, in this run or an earlier one.
    pub seconds: f64,
    /// Size of its layers.
    pub megabytes: f64,
}

/// A peer with its image in the registry.
pub struct Contestant {
    peer: Box<dyn Peer>,
    reference: String,
    served: Vec<PathBuf>,
    manifest: Manifest,
}

/// An image and where the registry has it.
pub struct Original<'a> {
    /// Which.
    pub image: Name,
    /// How its layers are compressed.
    pub variant: Variant,
    /// Where it lies.
    pub layout: &'a Layout,
    /// Its full name.
    pub reference: &'a str,
}

impl Original<'_> {
    /// Makes and pushes what `peer` takes; what that cost.
    pub fn enter(
        &self,
        peer: Box<dyn Peer>,
        rig: &Rig,
        containerd: &Containerd,
    ) -> anyhow::Result<(Contestant, Preparation)> {
        let name = format!("{}-{}", self.image.name(), self.variant.name());
        let opens = opens::record(containerd, self.image, self.layout, &name, self.reference)?;
        let prepared = prepared::prepare(&*peer, self.layout, &name, &opens)?;
        let pushed = format!("{}:{}-{}", self.image.name(), self.variant.name(), peer.image());
        let served = rig.push(&prepared.layout, &pushed)?;
        let (_, manifest) = prepared.layout.manifest()?;
        let megabytes = manifest.layer_bytes() as f64 / 1e6;
        let preparation = Preparation { image: peer.image(), seconds: prepared.seconds, megabytes };
        let reference = format!("{}/{pushed}", rig.registry_addr());
        Ok((Contestant { peer, reference, served, manifest }, preparation))
    }
}

impl Contestant {
    /// One run.
    pub fn run(&self, rig: &Rig, image: Name) -> anyhow::Result<Outcome> {
        let node = Node::start(&*self.peer, &rig.registry_addr())?;
        rig.drop_caches_but(&self.served)?;
        measure::peer(rig, &node, image, &self.reference, &self.manifest)
    }
}
