//! What a node does with lore: takes it from processes of its machine, gives it to them and to peers.

use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use glowplug_base::Secret;
use glowplug_registry::{Circle, Via};

use super::Node;
use crate::lore::{Kept, Lore, LoreHead, LoreId, OfferError, Saying};

/// What that needs.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) kept: Arc<Kept>,
    /// By which processes of this machine are told from everybody else who can connect to loopback.
    pub(super) key: Secret,
    pub(super) via: Via,
    /// Whether indexes are taken of other nodes.
    pub(super) trusts: bool,
}

impl Node {
    /// Lore for a process of this machine: what was offered here, else what a peer has.
    pub async fn lore(&self, id: &LoreId) -> Option<Lore> {
        match self.kept(id).await {
            Some(lore) => Some(lore),
            None if self.asks_for(id) => self.fetcher.ask_for_lore(id).await,
            None => None,
        }
    }

    /// How much of it there is, and the peer that has it; nothing in the place of the peer where it was offered here.
    pub async fn lore_head(&self, id: &LoreId) -> Option<(LoreHead, Option<Arc<str>>)> {
        if let Some(head) = self.kept_head(id).await {
            return Some((head, None));
        }
        let (peer, head) = if self.asks_for(id) { self.fetcher.ask_who_has(id).await? } else { return None };
        Some((head, Some(peer.name.clone())))
    }

    /// Lore that was offered here, and no other.
    pub async fn kept_lore(&self, id: &LoreId) -> Option<Lore> {
        self.kept(id).await
    }

    /// How much there is of what was offered here.
    pub async fn kept_head(&self, id: &LoreId) -> Option<LoreHead> {
        let (kept, id) = (self.desk.kept.clone(), id.clone());
        tokio::task::spawn_blocking(move || kept.head(&id)).await.ok()?
    }

    /// Lore for a peer, which is what was offered here and no other, with the mark by which this node vouches for it.
    pub async fn lore_for_peer(&self, id: &LoreId) -> Option<(Lore, Option<String>)> {
        let lore = self.kept(id).await?;
        let mark = self.fetcher.wire.vouch(id, &lore.head);
        Some((lore, mark))
    }

    /// As [`Self::lore_for_peer`], without the bytes.
    pub async fn head_for_peer(&self, id: &LoreId) -> Option<(LoreHead, Option<String>)> {
        let head = self.kept_head(id).await?;
        let mark = self.fetcher.wire.vouch(id, &head);
        Some((head, mark))
    }

    /// Notes that a peer got lore from here.
    pub fn gave_lore(&self) {
        self.fetcher.counters.lore_to_peers.add(1);
    }

    /// Keeps what a process of this machine offers, and gives it to whoever asks from now on.
    ///
    /// # Errors
    /// See [`OfferError`].
    pub async fn keep_lore<E: std::fmt::Display>(
        &self,
        id: &LoreId,
        head: &LoreHead,
        bytes: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<(), OfferError> {
        self.desk.kept.put(id, head, bytes).await
    }

    /// An index was held against its layer and is wrong: the peer that gave it is left alone, and where nobody did, what was
    /// offered here is dropped.
    pub async fn refute(&self, id: &LoreId, from: Option<&str>) {
        self.fetcher.counters.lore_refuted.add(1);
        match from {
            Some(peer) => self.fetcher.caught(peer),
            None => {
                let (kept, id) = (self.desk.kept.clone(), id.clone());
                let _ = tokio::task::spawn_blocking(move || kept.remove(&id)).await;
            }
        }
    }

    /// The mark by which this node's service answers processes of its machine.
    pub fn answer_mark(&self, id: &LoreId, head: &LoreHead, from: Option<&str>) -> String {
        Saying::Answer.mark(&self.desk.key, id, head, from.unwrap_or_default())
    }

    /// Whether a process of this machine that may read the node's key says this.
    pub fn is_of_this_machine(
        &self,
        saying: Saying,
        mark: &str,
        id: &LoreId,
        head: &LoreHead,
        from: Option<&str>,
    ) -> bool {
        saying.is_made(mark, &self.desk.key, id, head, from.unwrap_or_default())
    }

    /// Takes in through which nodes a request came.
    ///
    /// # Errors
    /// [`Circle`] when this node is among them.
    pub fn enter(&self, via: &str) -> Result<(), Circle> {
        self.desk.via.enter(via).inspect_err(|circle| {
            self.fetcher.counters.circles.add(1);
            tracing::warn!("{circle}");
        })
    }

    fn asks_for(&self, id: &LoreId) -> bool {
        self.desk.trusts || !id.wants_trust()
    }

    async fn kept(&self, id: &LoreId) -> Option<Lore> {
        let (kept, id) = (self.desk.kept.clone(), id.clone());
        let (head, bytes) = tokio::task::spawn_blocking(move || kept.read(&id)).await.ok()??;
        Some(Lore { head, from: None, bytes })
    }
}
