//! Holds a layer against the table of contents that it came with, while the rest of it comes in.
//!
//! A chain of digests proves that each chunk is what the table says. It does not prove that the table shows what the layer
//! holds: a table could hide a file, or show one that no unpacking would give. So the whole layer streams by once, in the
//! background, from its beginning: its bytes are hashed, its headers are compared with the table, each file's bytes with
//! the digests of its chunks, and what is missing in the store is committed on the way. Then the table is confirmed for good,
//! or the layer is known to contradict it: reads go on, for every byte of them matched the digest that the manifest vouches
//! for, but the next start makes its own index, and whoever asked to be told is told.
//!
//! Bytes that came before their turn come twice that way. Not compared are the contents of files that the archive holds sparse, and
//! which chunks share a member; the digests of their chunks hold all the same.

mod compare;

use std::sync::{Arc, Weak};

use glowplug_base::{Digest, Hasher};
use glowplug_store::Layer;

use super::courtesy::politely;
use super::{Fetcher, Spare, alive};
use crate::error::chain;
use crate::ingest::{Decoder, Piece};
use compare::Comparison;

/// A layer that is something else than its table of contents says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// The layer's blob.
    pub layer: Digest,
    /// How many entries differ.
    pub entries: usize,
    /// The first of them, in words.
    pub first: String,
}

impl std::fmt::Display for Contradiction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { layer, entries, first } = self;
        write!(f, "layer {layer} is not what its table of contents says: {first}")?;
        if *entries > 1 { write!(f, ", and {} more", entries - 1) } else { Ok(()) }
    }
}

/// Whether the layer's index is a table of contents that nobody has held against the layer.
pub(super) fn is_due(layer: &Layer) -> bool {
    layer.index().origin == glowplug_layer::Origin::Toc && !layer.is_confirmed()
}

/// Audits a layer. What cannot be finished, because bytes do not come or the image is closed, is begun anew at the next start.
pub(super) async fn audit(fetcher: &Weak<Fetcher>, number: usize, spare: &Spare) {
    let Some(audit) = fetcher.upgrade().map(|fetcher| Audit::new(&fetcher, number)) else { return };
    let (mut audit, layer) = match audit {
        Ok(begun) => begun,
        Err(reason) => return tracing::warn!(%reason, "a layer cannot be held against its table of contents"),
    };
    let mut at = 0;
    let outcome = loop {
        let Some(this) = alive(fetcher) else { return };
        let bytes = match this.next_bytes(number, at, spare).await {
            Ok(bytes) => bytes,
            Err(error) => break Err(chain(&error)),
        };
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
        audit = match step.await {
            Ok(Ok(Step::On(audit))) => audit,
            Ok(Ok(Step::End(found))) => break Ok(found),
            Ok(Err(reason)) => break Err(reason),
            Err(panic) => break Err(panic.to_string()),
        };
    };
    match outcome {
        Ok(None) => layer.confirm(),
        Ok(Some(contradiction)) => {
            layer.doubt(&contradiction.to_string());
            if let Some(fetcher) = fetcher.upgrade() {
                fetcher.contradict(contradiction);
            }
        }
        Err(reason) => {
            tracing::warn!(layer = %layer.index().blob, %reason, "a layer could not be held against its table of contents");
        }
    }
}

enum Step {
    On(Box<Audit>),
    End(Option<Contradiction>),
}

/// An audit on its way.
struct Audit {
    layer: Arc<Layer>,
    hasher: Hasher,
    decoder: Decoder,
    comparison: Comparison,
}

impl Audit {
    fn new(fetcher: &Fetcher, number: usize) -> Result<(Box<Self>, Arc<Layer>), String> {
        let supply = &fetcher.supplies()[number];
        let layer = supply.layer.clone();
        let audit = Self {
            layer: layer.clone(),
            hasher: Hasher::new(),
            decoder: Decoder::new(supply.compression, false)?,
            comparison: Comparison::new(layer.clone()),
        };
        Ok((Box::new(audit), layer))
    }

    fn push(mut self: Box<Self>, bytes: &[u8]) -> Result<Box<Self>, String> {
        self.hasher.update(bytes);
        let Self { decoder, comparison, .. } = &mut *self;
        let mut trouble = None;
        decoder.push(bytes, &mut |piece| {
            if let Piece::Bytes(bytes) = piece
                && let Err(reason) = comparison.push(&bytes)
            {
                trouble = Some(reason);
            }
            trouble.is_none()
        })?;
        trouble.map_or(Ok(self), Err)
    }

    fn finish(mut self: Box<Self>) -> Result<Option<Contradiction>, String> {
        let blob = self.layer.index().blob;
        if std::mem::take(&mut self.hasher).finish() != blob {
            // Not the table's fault: its chunks may all be right. Whatever it is, nothing is confirmed.
            return Err("the layer does not match its digest".to_owned());
        }
        let Self { decoder, mut comparison, .. } = *self;
        let mut trouble = None;
        decoder.finish(&mut |piece| {
            if let Piece::Bytes(bytes) = piece {
                trouble = comparison.push(&bytes).err();
            }
            trouble.is_none()
        })?;
        trouble.map_or(Ok(()), Err)?;
        comparison.finish()
    }
}
