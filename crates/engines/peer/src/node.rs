//! A node of the cluster: what doors open, for readers on this machine and for peers.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use glowplug_base::{ByteRange, Clock, Digest};
use glowplug_oci::Descriptor;
use glowplug_registry::{Client, Fetched, Target};

use crate::cache::Cache;
use crate::fetch::{Fetcher, Wanted};
use crate::members::Members;
use crate::passage::{Passage, Request};
use crate::peer::Patience;
use crate::upstream::Upstream;
use crate::wire::Wire;
use crate::{Error, OpenError, PieceId, RepositoryName, Security, Stats};

/// What a node needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// This node's address as its peers know it: `http://HOST:PORT`.
    pub own: String,
    /// The other nodes. This node may be among them.
    pub peers: Vec<String>,
    /// Directory of the pieces.
    pub cache_dir: PathBuf,
    /// Bytes on disk that pieces may take.
    pub cache_quota_bytes: u64,
    /// Nodes that hold a piece for the others; at least 1.
    pub copies: usize,
    /// How long a peer is waited for before somebody else is asked, too.
    pub patience: Patience,
    /// How nodes know each other.
    pub security: Security,
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
pub struct Node(Arc<Fetcher>);

impl Node {
    /// Opens the cache and knows its peers; nothing is connected yet.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(settings: &Settings, client: Client, clock: Clock) -> Result<Self, OpenError> {
        let members = Members::new(&settings.own)?;
        members.set(&settings.peers, clock.now_ns())?;
        let wire = Wire::new(&settings.security)?;
        let cache = Cache::open(&settings.cache_dir, settings.cache_quota_bytes)?;
        let asking = (settings.copies.max(1), settings.patience);
        Ok(Self(Arc::new(Fetcher::new(Upstream::new(client), cache, members, wire, asking, clock))))
    }

    /// From now on these, and this node, are the members of the cluster.
    ///
    /// # Errors
    /// [`OpenError::Member`]; then nothing has changed.
    pub fn set_members(&self, addresses: &[String]) -> Result<(), OpenError> {
        if self.0.members.set(addresses, self.0.now_ns())? {
            tracing::info!(
                members = self.0.members.count(self.0.now_ns()).0,
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
        self.0.upstream.size(repository, blob).await
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
        Passage::open(&self.0, request).await
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
        let size = match self.0.upstream.known_size(repository, &piece.blob).or(told) {
            Some(size) => size,
            None => self.blob_size(repository, &piece.blob).await?,
        };
        if piece.range(size).is_empty() {
            return Err(Error::NoSuchPiece { blob: piece.blob, number: piece.number });
        }
        let wanted = Wanted { repository: repository.clone(), piece, size };
        let bytes = self.0.direct(&wanted).await?.bytes;
        self.0.counters.served_to_peers_bytes.add(bytes.len() as u64);
        Ok(bytes)
    }

    /// A manifest or index: by digest verified and from memory if it was asked for before, by tag as the registry has it
    /// now.
    ///
    /// # Errors
    /// What the registry says.
    pub async fn document(&self, repository: &RepositoryName, target: &Target) -> Result<Fetched, Error> {
        self.0.upstream.document(repository, target).await
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
        self.0.upstream.referrers(repository, subject, artifact_type).await
    }

    /// What was counted so far.
    pub fn stats(&self) -> Stats {
        let (cached_pieces, cached_bytes) = self.0.cache.usage();
        let (members, members_well) = self.0.members.count(self.0.now_ns());
        Stats {
            cached_pieces,
            cached_bytes,
            members: members as u64,
            members_well: members_well as u64,
            ..self.0.counters.now()
        }
    }
}
