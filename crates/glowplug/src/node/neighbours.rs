//! The node's own peer service, as commands use it: where indexes and start orders come from that other nodes made, and where those
//! go that were made here.
//!
//! It is found without a word: it is among the mirrors on this machine that the user named, and its key lies in the store's directory. No command
//! fails for its sake, and none waits for it longer than it takes to ask.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::future::BoxFuture;
use glowplug_base::Digest;
use glowplug_image::profile::shared;
use glowplug_image::{Image, MAX_PROFILE_BYTES, Offered, Profile, offered};
use glowplug_layer::Origin;
use glowplug_oci::Source;
use glowplug_peer::{KEY_FILE, LoreId, OwnService, read_key};
use glowplug_store::{Layer, Store};
use glowplug_timeline::{Phase, Timeline};

use super::Located;
use crate::cli::RegistryArgs;

/// Directory of the node's service in the store's, unless it was given another.
pub const SERVICE_DIR: &str = "peer";

/// The services that may know something of an image: usually one, or none.
#[derive(Debug, Default)]
pub struct Neighbours {
    services: Vec<OwnService>,
    /// Layers whose indexes were said to be wrong.
    refuted: Mutex<HashSet<Digest>>,
}

/// In which order a start is streamed, and who learned it.
#[derive(Debug, Clone)]
pub struct Order {
    /// The order.
    pub profile: Profile,
    /// Who learned it, in words.
    pub from: String,
}

impl Neighbours {
    /// Those among the mirrors of the image's registry that are on this machine.
    pub fn of(store: &Store, args: &RegistryArgs, source: &Source) -> Self {
        let Source::Registry(reference) = source else { return Self::default() };
        let path = args.peer_key.clone().unwrap_or_else(|| store.root().join(SERVICE_DIR).join(KEY_FILE));
        let key = read_key(&path);
        let mirrors = args.reach.mirror.iter().filter_map(|pair| pair.split_once('='));
        let mirrors = mirrors.filter(|(registry, _)| *registry == reference.registry());
        let services = mirrors.filter_map(|(_, mirror)| OwnService::at(mirror, key.clone()));
        Self { services: services.collect(), ..Self::default() }
    }

    /// For the image engine; nothing where nobody is there to be asked.
    pub fn asked(&self) -> Option<&dyn glowplug_image::Neighbours> {
        (!self.services.is_empty()).then_some(self)
    }

    /// Whose index of a layer would be taken, and its length in bytes.
    pub async fn look_for_index(&self, layer: Digest, size: u64) -> Option<(u64, String)> {
        let id = index_id(layer).filter(|_| offered::is_worth_it(size))?;
        for service in &self.services {
            if let Some((length, from)) = service.look(&id).await
                && length <= offered::most_bytes(size)
            {
                return Some((length, of_whom(from)));
            }
        }
        None
    }

    /// What the starts of an image that run `command` taught another node.
    pub async fn order(&self, image: Digest, command: &str, timeline: &Timeline) -> Option<Order> {
        if self.services.is_empty() {
            return None;
        }
        let id = LoreId::profile(image, command);
        let mut span = timeline.span(Phase::Pull, "ask the peers for a start profile");
        for service in &self.services {
            let Some(found) = service.get(&id, MAX_PROFILE_BYTES).await else { continue };
            let bytes = found.bytes;
            let parsed = tokio::task::spawn_blocking(move || Profile::parse(&bytes)).await.ok().flatten();
            if let Some(profile) = parsed.filter(|profile| !profile.is_empty()) {
                let from = of_whom(found.from);
                span.detail(format!("order from {from}"));
                return Some(Order { profile, from });
            }
        }
        None
    }

    /// Offers the indexes that were made of an image's layers, and the order that its starts with `command` taught.
    pub async fn offer(&self, image: &Image, manifest: Digest, command: &str, taught: Option<&Profile>) {
        self.offer_indexes(image).await;
        let Some(profile) = taught.filter(|profile| !profile.is_empty()) else { return };
        for service in &self.services {
            service.offer(&LoreId::profile(manifest, command), Bytes::from(profile.encode())).await;
        }
    }

    /// Offers the indexes alone.
    pub async fn offer_indexes(&self, image: &Image) {
        for service in self.services.iter().filter(|service| service.has_key()) {
            for layer in image.layers().filter(|layer| offered::is_for_others(layer)) {
                offer_index(service, layer).await;
            }
        }
    }

    /// Says which of the indexes that came from other nodes proved wrong, each once.
    pub async fn refute(&self, store: &Store, image: &Image) {
        let contradictions = image.contradictions();
        let is_wrong = |layer: &&Arc<Layer>| {
            let index = layer.index();
            index.origin == Origin::Peer && contradictions.iter().any(|found| found.layer == index.blob)
        };
        for layer in image.layers().filter(is_wrong).map(|layer| layer.index().blob) {
            let (Some(giver), Some(id)) = (offered::giver(store, &layer), index_id(layer)) else { continue };
            if !self.refuted.lock().unwrap_or_else(PoisonError::into_inner).insert(layer) {
                continue;
            }
            for service in &self.services {
                service.refute(&id, offered::peer_of(&giver)).await;
            }
        }
    }
}

impl glowplug_image::Neighbours for Neighbours {
    fn index(&self, layer: Digest, most_bytes: u64) -> BoxFuture<'_, Option<Offered>> {
        Box::pin(async move {
            let id = index_id(layer)?;
            for service in &self.services {
                if let Some(found) = service.get(&id, most_bytes).await {
                    return Some(Offered { bytes: found.bytes, from: found.from });
                }
            }
            None
        })
    }
}

impl Located {
    /// The order that was published for a command, or that another node learned: the one of more runs.
    pub async fn order(&self, command: &str, timeline: &Timeline) -> Option<Order> {
        let manifest = self.image.manifest_digest;
        let (published, told) = tokio::join!(
            shared::find(&*self.repository, &manifest, command),
            self.neighbours.order(manifest, command, timeline)
        );
        let published = published
            .map(|profile| Order { profile, from: "whoever published it beside the image".to_owned() });
        match (published, told) {
            (Some(published), Some(told)) if told.profile.runs > published.profile.runs => Some(told),
            (published, told) => published.or(told),
        }
    }
}

/// Offers the index of a layer, unless this node has offered it before.
async fn offer_index(service: &OwnService, layer: &Arc<Layer>) {
    let Some(id) = index_id(layer.index().blob) else { return };
    if service.keeps(&id).await {
        return;
    }
    let packing = layer.clone();
    let packed = tokio::task::spawn_blocking(move || offered::pack(&packing)).await;
    match packed.unwrap_or_else(|panic| Err(panic.to_string())) {
        Ok(Some(packed)) => _ = service.offer(&id, packed.into()).await,
        Ok(None) => {}
        Err(reason) => {
            tracing::warn!(layer = %layer.index().blob, %reason, "an index cannot be offered to peers")
        }
    }
}

fn index_id(layer: Digest) -> Option<LoreId> {
    LoreId::index(layer, &offered::dialect())
}

fn of_whom(from: Option<String>) -> String {
    from.map_or_else(|| "this node's peer service".to_owned(), |peer| format!("the peer {peer}"))
}
