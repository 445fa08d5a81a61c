//! A node of the cluster: what doors open, for readers on this machine and for peers.

mod desk;

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use glowplug_base::{ByteRange, Clock, Digest};
use glowplug_oci::Descriptor;
use glowplug_registry::{Client, Fetched, Target, Via};

use crate::cache::Cache;
use crate::fetch::{Fetcher, Wanted};
use crate::key;
use crate::lore::Kept;
use crate::members::Members;
use crate::passage::{Passage, Request};
use crate::peer::Patience;
use crate::upstream::Upstream;
use crate::wire::Wire;
use crate::{Error, OpenError, PieceId, RepositoryName, Security, Stats};
use desk::Desk;

/// Where indexes and profiles lie in the cache's directory.
const LORE_DIR: &str = "lore";
/// What they may take, in addition to the pieces' quota: one in this many bytes of it.
const LORE_SHARE: u64 = 8;

/// What a node needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// This node's address as its peers know it: `http://HOST:PORT`.
    pub own: String,
    /// The other nodes. This node may be among them.
    pub peers: Vec<String>,
    /// Directory of the pieces.
    pub cache_dir: PathBuf,
    /// Bytes on disk that pieces may take. Indexes and profiles take an eighth of it more, at most.
    pub cache_quota_bytes: u64,
    /// Nodes that hold a piece for the others; at least 1.
    pub copies: usize,
    /// How long a peer is waited for before somebody else is asked, too.
    pub patience: Patience,
    /// How nodes know each other.
    pub security: Security,
    /// Whether indexes that other nodes vouch for are taken. Never where nodes do not know each other.
    pub trust_indexes: bool,
}

/// Whether what is kept is good enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Yes.
    Kept,
    /// No: the reader found it wrong.
    Anew,
}

/// The running node. Clones are the same node.
#[derive(Debug, Clone)]
pub struct Node {
    fetcher: Arc<Fetcher>,
    desk: Arc<Desk>,
}

impl Node {
    /// Opens the cache and knows its peers; nothing is connected yet.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(settings: &Settings, client: Client, clock: Clock) -> Result<Self, OpenError> {
        let members = Members::new(&settings.own)?;
        members.set(&settings.peers, clock.now_ns())?;
        let via = client.via().cloned().unwrap_or_else(|| Via::new(made_up_name()));
        let wire = Wire::new(&settings.security, &via)?;
        let cache = Cache::open(&settings.cache_dir, settings.cache_quota_bytes)?;
        let asking = (settings.copies.max(1), settings.patience);
        let kept = Kept::open(&settings.cache_dir.join(LORE_DIR), settings.cache_quota_bytes / LORE_SHARE)?;
        let desk = Desk {
            kept: Arc::new(kept),
            key: key::own(&settings.cache_dir)?,
            via,
            trusts: settings.trust_indexes && wire.knows_peers(),
        };
        let fetcher = Fetcher::new(Upstream::new(client), cache, members, wire, asking, clock);
        Ok(Self { fetcher: Arc::new(fetcher), desk: Arc::new(desk) })
    }

    /// From now on these, and this node, are the members of the cluster.
    ///
    /// # Errors
    /// [`OpenError::Member`]; then nothing has changed.
    pub fn set_members(&self, addresses: &[String]) -> Result<(), OpenError> {
        if self.fetcher.members.set(addresses, self.fetcher.now_ns())? {
            tracing::info!(
                members = self.fetcher.members.count(self.fetcher.now_ns()).0,
                "the cluster's members changed"
            );
        }
        Ok(())
    }

    /// Bytes in a blob.
    ///
    /// # Errors
    /// What the registry says.
    pub async fn blob_size(&self, repository: &RepositoryName, blob: &Digest) -> Result<u64, Error> {
        self.fetcher.upstream.size(repository, blob).await
    }

    /// Opens a range of a blob of `size` bytes, inside which it must lie, for a reader on this machine.
    ///
    /// # Errors
    /// Whatever kept the first byte from coming; later trouble arrives inside the stream.
    pub async fn open_range(
        &self,
        repository: &RepositoryName,
        blob: &Digest,
        size: u64,
        range: ByteRange,
        freshness: Freshness,
    ) -> Result<Passage, Error> {
        let anew = freshness == Freshness::Anew;
        let request = Request { repository: repository.clone(), blob: *blob, size, range, anew };
        Passage::open(&self.fetcher, request).await
    }

    /// A piece for a peer: from here or from the registry, never from another peer. `told` is what the peer says that
    /// the blob's length is, in bytes.
    ///
    /// # Errors
    /// What the registry says; [`Error::NoSuchPiece`].
    pub async fn piece_for_peer(
        &self,
        repository: &RepositoryName,
        piece: PieceId,
        told: Option<u64>,
    ) -> Result<Bytes, Error> {
        let size = match self.fetcher.upstream.known_size(repository, &piece.blob).or(told) {
            Some(size) => size,
            None => self.blob_size(repository, &piece.blob).await?,
        };
        if piece.range(size).is_empty() {
            return Err(Error::NoSuchPiece { blob: piece.blob, number: piece.number });
        }
        let wanted = Wanted { repository: repository.clone(), piece, size };
        let bytes = self.fetcher.direct(&wanted).await?.bytes;
        self.fetcher.counters.served_to_peers_bytes.add(bytes.len() as u64);
        Ok(bytes)
    }

    /// A manifest or index: by digest verified and from memory if it was asked for before, by tag as the registry has it
    /// now.
    ///
    /// # Errors
    /// What the registry says.
    pub async fn document(&self, repository: &RepositoryName, target: &Target) -> Result<Fetched, Error> {
        self.fetcher.upstream.document(repository, target).await
    }

    /// What refers to `subject`, as the registry has it now.
    ///
    /// # Errors
    /// What the registry says.
    pub async fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, Error> {
        self.fetcher.upstream.referrers(repository, subject, artifact_type).await
    }

    /// What was counted so far.
    pub fn stats(&self) -> Stats {
        let (cached_pieces, cached_bytes) = self.fetcher.cache.usage();
        let (lore_kept, lore_bytes) = self.desk.kept.usage();
        let (members, members_well) = self.fetcher.members.count(self.fetcher.now_ns());
        Stats {
            cached_pieces,
            cached_bytes,
            lore_kept,
            lore_bytes,
            members: members as u64,
            members_well: members_well as u64,
            ..self.fetcher.counters.now()
        }
    }
}

/// A name that no other node has.
pub fn made_up_name() -> String {
    format!("{:016x}", RandomState::new().build_hasher().finish())
}
