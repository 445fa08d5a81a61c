//! What a node counts.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// Counters of a node since it began. New ones may be added; none changes its meaning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stats {
    /// Bytes of pieces that came from registries.
    pub registry_bytes: u64,
    /// Bytes of pieces that came from peers.
    pub peer_bytes: u64,
    /// Bytes of pieces that were read from this node's cache.
    pub cache_bytes: u64,
    /// Bytes of pieces that peers got from this node.
    pub served_to_peers_bytes: u64,
    /// Bytes that readers on this machine got.
    pub served_bytes: u64,
    /// Pieces that were asked for elsewhere because a peer was slow.
    pub hedges: u64,
    /// Those of them that came before the peer's.
    pub hedges_won: u64,
    /// Requests that a peer did not answer, or not as agreed.
    pub peer_failures: u64,
    /// Times that a peer was put aside because it did not answer, or was too often too slow.
    pub peers_put_aside: u64,
    /// Times that a peer was left alone because it had given wrong bytes.
    pub quarantines: u64,
    /// Pieces that a reader found wrong and that were fetched from the registry and compared.
    pub pieces_compared: u64,
    /// Cache files that were damaged.
    pub damaged_files: u64,
    /// Indexes and profiles that peers gave.
    pub lore_from_peers: u64,
    /// Indexes and profiles that peers got from this node.
    pub lore_to_peers: u64,
    /// Indexes that a reader found wrong.
    pub lore_refuted: u64,
    /// Requests that this node had sent itself, and refused.
    pub circles: u64,
    /// Indexes and profiles that are kept here now.
    pub lore_kept: u64,
    /// Bytes on disk of these now.
    pub lore_bytes: u64,
    /// Pieces in the cache now.
    pub cached_pieces: u64,
    /// Bytes on disk of the cache now.
    pub cached_bytes: u64,
    /// Members now, this node included.
    pub members: u64,
    /// Members that are asked now, this node included.
    pub members_well: u64,
}

/// The counters, counting.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) registry_bytes: Counter,
    pub(crate) peer_bytes: Counter,
    pub(crate) cache_bytes: Counter,
    pub(crate) served_to_peers_bytes: Counter,
    pub(crate) served_bytes: Counter,
    pub(crate) hedges: Counter,
    pub(crate) hedges_won: Counter,
    pub(crate) peer_failures: Counter,
    pub(crate) peers_put_aside: Counter,
    pub(crate) quarantines: Counter,
    pub(crate) pieces_compared: Counter,
    pub(crate) damaged_files: Counter,
    pub(crate) lore_from_peers: Counter,
    pub(crate) lore_to_peers: Counter,
    pub(crate) lore_refuted: Counter,
    pub(crate) circles: Counter,
}

/// One of them.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    /// What was counted so far; what is not counted here stays zero.
    pub(crate) fn now(&self) -> Stats {
        Stats {
            registry_bytes: self.registry_bytes.now(),
            peer_bytes: self.peer_bytes.now(),
            cache_bytes: self.cache_bytes.now(),
            served_to_peers_bytes: self.served_to_peers_bytes.now(),
            served_bytes: self.served_bytes.now(),
            hedges: self.hedges.now(),
            hedges_won: self.hedges_won.now(),
            peer_failures: self.peer_failures.now(),
            peers_put_aside: self.peers_put_aside.now(),
            quarantines: self.quarantines.now(),
            pieces_compared: self.pieces_compared.now(),
            damaged_files: self.damaged_files.now(),
            lore_from_peers: self.lore_from_peers.now(),
            lore_to_peers: self.lore_to_peers.now(),
            lore_refuted: self.lore_refuted.now(),
            circles: self.circles.now(),
            ..Stats::default()
        }
    }
}
