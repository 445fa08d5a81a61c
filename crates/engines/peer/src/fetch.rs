//! How a piece comes: from the cache, the owner, another copy's holder, or the registry.
//!
//! ```text
//! here?  no ─> owner ── slow ──> the next copy's holder, else the registry, as long as there is budget for it
//!                │
//!                └ does not answer ──> put aside; the next in the order owns the piece, so it is asked
//!                └ cannot, lies, is slow and the budget is spent ──> the registry
//! ```
//!
//! Hedges are few (see the budget), and a peer that is overtaken again and again is put aside, which ends them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use glowplug_base::{Clock, Digest};
use tokio::sync::Semaphore;

use crate::budget::Budget;
use crate::cache::{Cache, Found, Origin, Piece, Rank};
use crate::flights::{Flight, Flights, Outcome};
use crate::latency::Latency;
use crate::members::{Member, Members};
use crate::peer::{Patience, Peer};
use crate::stats::Counters;
use crate::upstream::Upstream;
use crate::wire::{Wire, WireError};
use crate::{Error, PieceId, RepositoryName};

/// Peers that are asked for one piece, one after the other, before the registry is.
const PEERS_ASKED: usize = 3;
/// Requests to peers at once, and so many pieces in memory at most.
const PEER_REQUESTS_AT_ONCE: usize = 64;
/// How long a slow peer is waited for when there is no budget to hedge.
const LAST_PATIENCE: Duration = Duration::from_secs(10);

/// A piece that is wanted, and all that is needed to get it.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) repository: RepositoryName,
    pub(crate) piece: PieceId,
    /// Bytes of the blob.
    pub(crate) size: u64,
}

/// Everything that bringing pieces needs.
#[derive(Debug)]
pub(crate) struct Fetcher {
    pub(crate) upstream: Upstream,
    pub(crate) cache: Cache,
    pub(crate) members: Members,
    pub(crate) counters: Counters,
    /// Nodes that hold a piece for the others.
    copies: usize,
    pub(crate) patience: Patience,
    clock: Clock,
    pub(crate) wire: Wire,
    budget: Budget,
    flights: Flights<(PieceId, Way), Piece>,
    registry_latency: Mutex<Latency>,
    peer_turns: Semaphore,
}

/// On which way a flight brings its piece. What a peer asks for comes by the registry's alone, so that two nodes whose
/// lists differ never wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Way {
    /// From whoever has it.
    Cluster,
    /// From here or from the registry.
    Registry,
    /// From the registry, whatever is here.
    Anew,
}

impl Fetcher {
    pub(crate) fn new(
        upstream: Upstream,
        cache: Cache,
        members: Members,
        wire: Wire,
        (copies, patience): (usize, Patience),
        clock: Clock,
    ) -> Self {
        Self {
            upstream,
            cache,
            members,
            counters: Counters::default(),
            copies,
            patience,
            clock,
            wire,
            budget: Budget::new(),
            flights: Flights::default(),
            registry_latency: Mutex::default(),
            peer_turns: Semaphore::new(PEER_REQUESTS_AT_ONCE),
        }
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    /// A piece for a reader on this machine.
    pub(crate) fn bring(self: &Arc<Self>, wanted: &Wanted) -> Flight<Piece> {
        let (this, keeper, wanted) = (self.clone(), self.clone(), wanted.clone());
        let id = wanted.piece;
        let key = (id, Way::Cluster);
        self.flights.join(
            &key,
            async move {
                match this.cached(&wanted.piece).await {
                    Some(piece) => Ok(piece),
                    None => this.ask_cluster(&wanted).await,
                }
            },
            // From a peer it is kept here; from the registry and from the cache it is kept already.
            move |piece| async move {
                if matches!(piece.origin, Origin::Peer(_)) {
                    keeper.keep_new(&id, piece).await;
                }
            },
        )
    }

    /// A piece from the registry or the cache, for a peer, or because no peer gives it.
    pub(crate) fn direct(self: &Arc<Self>, wanted: &Wanted) -> Flight<Piece> {
        let (this, keeper, wanted) = (self.clone(), self.clone(), wanted.clone());
        let id = wanted.piece;
        let key = (id, Way::Registry);
        self.flights.join(
            &key,
            async move {
                match this.cached(&wanted.piece).await {
                    Some(piece) => Ok(piece),
                    None => this.ask_registry(&wanted, false).await,
                }
            },
            move |piece| async move { keeper.keep_new(&id, piece).await },
        )
    }

    /// A piece from the registry, whatever is here: a reader found wrong what it got. Who gave that is found out.
    pub(crate) fn anew(self: &Arc<Self>, wanted: &Wanted) -> Flight<Piece> {
        let (this, wanted) = (self.clone(), wanted.clone());
        let key = (wanted.piece, Way::Anew);
        let compare = async move {
            // What the reader found wrong may still be on its way to the disk.
            for way in [Way::Cluster, Way::Registry] {
                this.flights.landed(&(wanted.piece, way)).await;
            }
            let before = this.look(&wanted.piece).await;
            let fresh = this.ask_registry(&wanted, true).await?;
            this.counters.pieces_compared.add(1);
            if let Found::Sound(before) = before {
                if before.bytes == fresh.bytes {
                    return Ok(fresh);
                }
                let (blob, piece) = (wanted.piece.blob, wanted.piece.number);
                tracing::warn!(%blob, piece, origin = ?before.origin, "wrong bytes were passed on, they are replaced");
                if let Origin::Peer(name) = &before.origin {
                    this.caught(name);
                }
            }
            // Before anybody is told: who reads next must not find the old one.
            this.keep(&wanted.piece, fresh.clone()).await;
            Ok(fresh)
        };
        self.flights.join(&key, compare, |_| std::future::ready(()))
    }

    /// From whoever owns it.
    async fn ask_cluster(self: &Arc<Self>, wanted: &Wanted) -> Outcome<Piece> {
        let turn = self.peer_turns.acquire().await.map_err(|_| Error::BrokenOff)?;
        for _ in 0..PEERS_ASKED {
            let order = self.members.order(&wanted.piece, self.now_ns());
            let Some(Member::Peer(owner)) = order.first() else { break };
            let next = order.get(1).filter(|_| self.copies > 1).cloned();
            match self.hedged(wanted, owner, next).await {
                Attempt::Came(piece) => return Ok(piece),
                // It is put aside, so somebody else owns the piece now.
                Attempt::NextOwner => {}
                Attempt::Registry => break,
            }
        }
        drop(turn);
        self.direct(wanted).await
    }

    /// Asks `owner`, and somebody else too if it is slow.
    async fn hedged(self: &Arc<Self>, wanted: &Wanted, owner: &Arc<Peer>, next: Option<Member>) -> Attempt {
        let mut first = std::pin::pin!(self.ask(wanted, owner));
        // A second request goes to the registry and takes what the registry takes now: before that it brings nothing but
        // load, and the owner may well be waiting for the same registry.
        let registry = self.registry_latency.lock().unwrap_or_else(PoisonError::into_inner).usual();
        let patience = owner.patience(&self.patience).max(registry.unwrap_or_default());
        if let Ok(attempt) = tokio::time::timeout(patience, &mut first).await {
            return attempt;
        }
        if !self.budget.spend() {
            return tokio::select! {
                first = &mut first => first,
                // Others have found out meanwhile.
                () = owner.until_ill(&self.clock) => Attempt::NextOwner,
                () = tokio::time::sleep(LAST_PATIENCE.saturating_sub(patience)) => {
                    self.overtaken(owner);
                    Attempt::Registry
                }
            };
        }
        self.counters.hedges.add(1);
        tracing::debug!(peer = %owner.name, ?patience, blob = %wanted.piece.blob, piece = wanted.piece.number, "slow, hedged");
        let second = async {
            match next {
                Some(Member::Peer(next)) => self.ask(wanted, &next).await,
                _ => self.direct(wanted).await.map_or(Attempt::Registry, Attempt::Came),
            }
        };
        let mut second = std::pin::pin!(second);
        tokio::select! {
            first = &mut first => match first {
                Attempt::Came(piece) => Attempt::Came(piece),
                _ => second.await,
            },
            second = &mut second => match second {
                Attempt::Came(piece) => {
                    self.counters.hedges_won.add(1);
                    self.overtaken(owner);
                    Attempt::Came(piece)
                }
                _ => first.await,
            },
        }
    }

    /// Asks one peer, and learns from how it answers.
    async fn ask(&self, wanted: &Wanted, peer: &Arc<Peer>) -> Attempt {
        let began_ns = self.now_ns();
        let answer = self.wire.piece(&peer.name, &wanted.repository, &wanted.piece, wanted.size).await;
        let error = match answer {
            Ok(bytes) if self.is_false(wanted, &bytes).await => {
                self.caught(&peer.name);
                return Attempt::NextOwner;
            }
            Ok(bytes) => {
                peer.answered(self.now_ns().saturating_sub(began_ns));
                self.budget.earn();
                self.counters.peer_bytes.add(bytes.len() as u64);
                return Attempt::Came(Piece { bytes, origin: Origin::Peer(peer.name.clone()) });
            }
            Err(error) => error,
        };
        self.failed(peer, &error);
        match error {
            // What it cannot get from the registry we may: its credentials may be others.
            WireError::Cannot(_) => Attempt::Registry,
            _ => Attempt::NextOwner,
        }
    }

    /// A peer did not give what it was asked for.
    pub(crate) fn failed(&self, peer: &Peer, error: &WireError) {
        tracing::debug!(peer = %peer.name, %error, "peer gave nothing");
        match error {
            WireError::Cannot(_) => {}
            WireError::Own => {
                if self.members.leave_out(&peer.name) {
                    tracing::warn!(peer = %peer.name, "this peer is this node itself, under another address; leave it out");
                }
            }
            WireError::Silent(_)
            | WireError::Refused(_)
            | WireError::Length { .. }
            | WireError::Unlike(_) => {
                self.counters.peer_failures.add(1);
                if peer.failed(self.now_ns()) {
                    self.counters.peers_put_aside.add(1);
                    tracing::warn!(peer = %peer.name, %error, "peer put aside");
                }
            }
        }
    }

    /// Whether these are for certain not the bytes that are wanted. Only a blob of one piece tells.
    async fn is_false(&self, wanted: &Wanted, bytes: &Bytes) -> bool {
        wanted.piece.is_whole_blob(wanted.size) && digest(bytes.clone()).await != Some(wanted.piece.blob)
    }

    async fn ask_registry(&self, wanted: &Wanted, anew: bool) -> Outcome<Piece> {
        let began_ns = self.now_ns();
        let bytes = self.upstream.piece(&wanted.repository, &wanted.piece, wanted.size, anew).await?;
        let took_ns = self.now_ns().saturating_sub(began_ns);
        self.registry_latency.lock().unwrap_or_else(PoisonError::into_inner).learn(took_ns);
        self.counters.registry_bytes.add(bytes.len() as u64);
        if self.is_false(wanted, &bytes).await {
            return Err(Error::Corrupt(wanted.piece.blob));
        }
        Ok(Piece { bytes, origin: Origin::Registry })
    }

    /// Somebody who was asked later than `peer` answered first.
    pub(crate) fn overtaken(&self, peer: &Peer) {
        if peer.was_overtaken(self.now_ns()) {
            self.counters.peers_put_aside.add(1);
            tracing::warn!(peer = %peer.name, "peer put aside: it is slow");
        }
    }

    /// The peer of this name gave wrong bytes.
    pub(crate) fn caught(&self, name: &str) {
        let Some(peer) = self.members.peer(name) else { return };
        if let Some(pause) = peer.lied(self.now_ns()) {
            self.counters.quarantines.add(1);
            tracing::error!(peer = name, ?pause, "peer gave wrong bytes, it is left alone");
        }
    }

    async fn look(self: &Arc<Self>, piece: &PieceId) -> Found {
        let (this, piece) = (self.clone(), *piece);
        let found = tokio::task::spawn_blocking(move || this.cache.get(&piece)).await;
        found.unwrap_or(Found::Absent)
    }

    async fn cached(self: &Arc<Self>, piece: &PieceId) -> Option<Piece> {
        match self.look(piece).await {
            Found::Sound(found) => {
                self.counters.cache_bytes.add(found.bytes.len() as u64);
                Some(found)
            }
            Found::Damaged => {
                self.counters.damaged_files.add(1);
                tracing::warn!(blob = %piece.blob, piece = piece.number, "cache file damaged");
                None
            }
            Found::Absent => None,
        }
    }

    /// Keeps what is not in the cache already.
    async fn keep_new(self: &Arc<Self>, id: &PieceId, piece: Piece) {
        if !self.cache.contains(id) {
            self.keep(id, piece).await;
        }
    }

    async fn keep(self: &Arc<Self>, id: &PieceId, piece: Piece) {
        let order = self.members.order(id, self.now_ns());
        let place = order.iter().position(|member| matches!(member, Member::Own));
        let rank = if place.is_some_and(|place| place < self.copies) { Rank::Owned } else { Rank::Guest };
        let (this, id) = (self.clone(), *id);
        let kept = tokio::task::spawn_blocking(move || this.cache.put(&id, &piece, rank)).await;
        if let Ok(Err(error)) = kept {
            tracing::warn!(%error, "a piece cannot be cached");
        }
    }
}

/// How asking a peer ended.
enum Attempt {
    Came(Piece),
    /// It is not asked any more: somebody else owns the piece.
    NextOwner,
    /// Nobody but the registry is to be asked.
    Registry,
}

/// The digest, off the runtime's threads; nothing where that was broken off.
pub(crate) async fn digest(bytes: Bytes) -> Option<Digest> {
    tokio::task::spawn_blocking(move || Digest::of(&bytes)).await.ok()
}
