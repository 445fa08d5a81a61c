//! Holds a layer against the index that somebody published for it, while the rest of it comes in.
//!
//! A chain of digests proves that each piece is what the index says. It does not prove that the index shows what the layer
//! holds: it could hide a file, or show one that no unpacking would give; and whoever makes a SOCI index chooses its digests as
//! well. So the whole layer is hashed once, in the background, and its headers are compared with the index. Then the index is
//! confirmed for good, or the layer is known to contradict it: whoever asked to be told is told, and the next start makes its own
//! index. Reads go on as long as every byte of them is one that the manifest vouches for; where that is not so, they end.
//!
//! There are two ways:
//!
//! ```text
//! a layer's own table (eStargz, zstd:chunked)   the layer streams by while it fills, from its beginning: such a table does not
//!                                               say where headers lie. Each file's bytes are compared with the digests of its
//!                                               chunks, and what is missing in the store is committed on the way.
//! all others (SOCI, another node's)             when the layer is complete the archive is hashed out of the store, against the
//!                                               digest in the image's configuration; see `archive`. Nothing comes twice.
//! ```
//!
//! Bytes of the first kind that came before their turn come twice. Not compared are the contents of files that such an archive holds
//! sparse, and which chunks share a member; the digests of their chunks hold all the same.

mod archive;
mod compare;

use std::sync::{Arc, Weak};

use glowplug_base::{Digest, Hasher};
use glowplug_layer::Origin;
use glowplug_store::{Layer, StoreError};

use super::courtesy::politely;
use super::{Fetcher, Spare, Supply, alive};
use crate::error::chain;
use crate::ingest::{Decoder, Piece};
use compare::Comparison;

/// A layer that is something else than the index says that was published for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// The layer's blob.
    pub layer: Digest,
    /// How many entries differ.
    pub entries: usize,
    /// The first of them, in words.
    pub first: String,
    /// Whether files show the layer's bytes all the same. Otherwise nothing of the layer is read any more.
    pub is_readable: bool,
}

impl Contradiction {
    /// What a layer was found to be wrong about while it was read.
    pub(super) fn of_distrusted(layer: &Layer) -> Option<Self> {
        let Some(StoreError::Distrusted { layer, reason }) = layer.distrusted() else { return None };
        Some(Self { layer, entries: 1, first: reason, is_readable: false })
    }

    fn reason(&self) -> String {
        match self.entries {
            0 | 1 => self.first.clone(),
            entries => format!("{}, and {} more", self.first, entries - 1),
        }
    }
}

impl std::fmt::Display for Contradiction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "layer {} is not what its published index says: {}", self.layer, self.reason())
    }
}

/// How a layer is held against its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// It streams by while it fills.
    Streaming,
    /// It is read back when it is complete.
    Complete,
}

/// How the layer is to be held against its index; `None` where that cannot be wrong, or turned out to be right before.
pub(super) fn due(supply: &Supply) -> Option<Way> {
    match supply.layer.index().origin {
        _ if supply.layer.is_confirmed_for(supply.diff_id.as_ref()) => None,
        Origin::Toc => Some(Way::Streaming),
        _ => Some(Way::Complete),
    }
}

/// What an audit found.
#[derive(Debug)]
struct Found {
    /// What the index is wrong about, if anything.
    contradiction: Option<Contradiction>,
    /// Whose digest told; none where the layer's own did.
    archive: Option<Digest>,
}

/// Why an audit came to no end.
#[derive(Debug)]
enum Trouble {
    /// Nobody has the image open any more.
    Closed,
    /// Bytes did not come, or could not be read back.
    Unable(String),
    /// The layer is not what the manifest says, or no archive.
    Broken(String),
}

/// Audits a layer. What cannot be finished, because bytes do not come or the image is closed, is begun anew at the next start.
pub(super) async fn audit(fetcher: &Weak<Fetcher>, number: usize, way: Way, spare: &Spare) {
    let outcome = match way {
        Way::Streaming => stream_by(fetcher, number, spare).await,
        Way::Complete => archive::audit(fetcher, number, spare).await,
    };
    let Some(fetcher) = fetcher.upgrade() else { return };
    let layer = &fetcher.supplies()[number].layer;
    match (outcome, Contradiction::of_distrusted(layer)) {
        // A lie that showed on the way.
        (_, Some(lie)) => fetcher.contradict(lie),
        (Ok(Found { contradiction: None, archive }), None) => fetcher.confirm(layer, archive.as_ref()),
        (Ok(Found { contradiction: Some(contradiction), .. }), None) => {
            if contradiction.is_readable {
                layer.doubt(&contradiction.reason());
            } else {
                layer.distrust(&contradiction.reason());
            }
            fetcher.contradict(contradiction);
        }
        (Err(Trouble::Closed), None) => {}
        (Err(Trouble::Unable(reason) | Trouble::Broken(reason)), None) => {
            tracing::warn!(layer = %layer.index().blob, %reason, "a layer could not be held against its published index");
        }
    }
}

impl Fetcher {
    /// Layers whose index somebody else made: how many are as it says, and of how many nobody knows yet.
    pub(crate) fn audited(&self) -> (usize, usize) {
        let contradictions = self.contradictions();
        let is_wrong = |layer: &Layer| contradictions.iter().any(|found| found.layer == layer.index().blob);
        let published = self.supplies().iter().filter(|supply| supply.layer.index().origin.is_published());
        let (pending, confirmed): (Vec<_>, Vec<_>) =
            published.filter(|supply| !is_wrong(&supply.layer)).partition(|supply| due(supply).is_some());
        (confirmed.len(), pending.len())
    }
}

/// Lets the whole blob stream by, hashes it and compares what it holds.
async fn stream_by(fetcher: &Weak<Fetcher>, number: usize, spare: &Spare) -> Result<Found, Trouble> {
    let mut audit = Audit::new(&*fetcher.upgrade().ok_or(Trouble::Closed)?, number)?;
    let mut at = 0;
    loop {
        let this = alive(fetcher).ok_or(Trouble::Closed)?;
        let bytes = this.next_bytes(number, at, spare).await;
        let bytes = bytes.map_err(|error| Trouble::Unable(chain(&error)))?;
        drop(this);
        at += bytes.len() as u64;
        let step = tokio::task::spawn_blocking(move || {
            politely(|| {
                if bytes.is_empty() {
                    audit.finish().map(Step::End)
                } else {
                    audit.push(&bytes).map(Step::On)
                }
            })
        });
        audit = match step.await.map_err(|panic| Trouble::Unable(panic.to_string()))?? {
            Step::On(audit) => audit,
            Step::End(contradiction) => return Ok(Found { contradiction, archive: None }),
        };
    }
}

enum Step {
    On(Box<Audit>),
    End(Option<Contradiction>),
}

/// A layer on its way by.
struct Audit {
    layer: Arc<Layer>,
    hasher: Hasher,
    decoder: Decoder,
    comparison: Comparison,
}

impl Audit {
    fn new(fetcher: &Fetcher, number: usize) -> Result<Box<Self>, Trouble> {
        let supply = &fetcher.supplies()[number];
        let layer = supply.layer.clone();
        let decoder = Decoder::new(supply.compression, false).map_err(Trouble::Unable)?;
        let comparison = Comparison::of_stream(layer.clone());
        Ok(Box::new(Self { layer, hasher: Hasher::new(), decoder, comparison }))
    }

    fn push(mut self: Box<Self>, bytes: &[u8]) -> Result<Box<Self>, Trouble> {
        self.hasher.update(bytes);
        let Self { decoder, comparison, .. } = &mut *self;
        let mut trouble = None;
        let pushed = decoder.push(bytes, &mut |piece| {
            if let Piece::Bytes(bytes) = piece
                && let Err(reason) = comparison.push(&bytes)
            {
                trouble = Some(reason);
            }
            trouble.is_none()
        });
        pushed.map_err(Trouble::Broken)?;
        trouble.map_or(Ok(self), Err)
    }

    fn finish(mut self: Box<Self>) -> Result<Option<Contradiction>, Trouble> {
        let blob = self.layer.index().blob;
        if std::mem::take(&mut self.hasher).finish() != blob {
            // Not the fault of a table: its chunks may all be right. Whatever it is, nothing is confirmed.
            return Err(Trouble::Broken("the layer does not match its digest".to_owned()));
        }
        let Self { decoder, mut comparison, .. } = *self;
        let mut trouble = None;
        let finished = decoder.finish(&mut |piece| {
            if let Piece::Bytes(bytes) = piece {
                trouble = comparison.push(&bytes).err();
            }
            trouble.is_none()
        });
        finished.map_err(Trouble::Broken)?;
        trouble.map_or(Ok(()), Err)?;
        comparison.finish()
    }
}
