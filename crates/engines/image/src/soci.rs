//! SOCI: indexes that an image's publisher made, taken in, and made for others.
//!
//! ```text
//! Lookup        index manifest beside the image -> zTOC of a layer, verified by its digest
//! from_ztoc     zTOC -> layer index (its claims checked for sense)
//! adopt         layer index and windows -> store; the layer is lazy without having streamed by
//! export        blob -> zTOC, equal to the reference tool's
//! publish       image -> zTOCs and an index, beside the image or named by a copy of it
//! prefetch      start profile -> lists of spans, in a further index beside the image
//! ```
//!
//! What a zTOC says is a claim. Sizes, order and bounds are checked before it is adopted; the blob's bytes are held
//! against the span digests whenever they are fetched; and no span becomes readable before `verify` found in it the tar
//! headers that the zTOC promises. Trouble with a zTOC is never an image's trouble: the layer then streams by as if
//! there was none. A lie that shows only while the image is read ends the reading of that layer; the store remembers it,
//! and at the next start the layer streams by.
//!
//! Taken on trust, as SOCI itself does, until the layer is complete: owners and times, digests of spans, what lies in a window until the
//! span before it is here, and headers that begin more than a window (for uncompressed layers: at all) before the span of
//! their file. Then `fetch::audit` holds all of the layer against what the manifest vouches for.

mod convert;
mod discover;
mod export;
mod import;
mod prefetch;
mod publish;
mod verify;

use glowplug_base::{Digest, Hint, Hinted};
use glowplug_source::SourceError;
use glowplug_store::StoreError;
use glowplug_toc::ZtocError;

pub use discover::{Lookup, fetch, find};
pub use export::{build_index, describe, export};
pub use import::{Imported, adopt, from_ztoc};
pub use prefetch::{NoPrefetch, Prefetched, publish_prefetch};
pub use publish::{Format, Grain, Outcome, PublishError, Published, SPAN_BYTES, Skip, publish};
pub(crate) use verify::{undecodable, verify};

/// Why a zTOC cannot be used or made.
#[derive(Debug, thiserror::Error)]
pub enum SociError {
    /// It contradicts itself, or the layer that it is for.
    #[error("zTOC of layer {layer}: {reason}")]
    Claim {
        /// The layer's blob.
        layer: Digest,
        /// What is wrong.
        reason: String,
    },
    /// It is malformed.
    #[error("zTOC of layer {layer}")]
    Ztoc {
        /// The layer's blob.
        layer: Digest,
        /// What is wrong.
        #[source]
        source: ZtocError,
    },
    /// SOCI has no words for such a layer.
    #[error("layer {layer}: SOCI cannot describe {what}")]
    Unsupported {
        /// The layer's blob.
        layer: Digest,
        /// What stands in the way.
        what: String,
    },
    /// The layer is not what it should be.
    #[error("layer {layer}: {reason}")]
    Layer {
        /// The layer's blob.
        layer: Digest,
        /// What is wrong.
        reason: String,
    },
    /// The layer's bytes could not be had.
    #[error("layer {layer}")]
    Source {
        /// The layer's blob.
        layer: Digest,
        /// Why.
        #[source]
        source: SourceError,
    },
    /// The store cannot keep it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Hinted for SociError {
    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Claim { .. } | Self::Ztoc { .. } => {
                Some(Hint::new("the published SOCI index is damaged; make it again and push it"))
            }
            Self::Unsupported { .. } => Some(Hint::new("push the layer with gzip or without compression")),
            Self::Layer { .. } => {
                Some(Hint::new("the image is damaged or hostile; push it again from a good copy"))
            }
            Self::Source { source, .. } => source.hint(),
            Self::Store(source) => source.hint(),
        }
    }
}
