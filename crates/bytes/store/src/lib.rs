//! The node's byte store: each layer's decoded bytes, once, verified, where they are read from for ever after.
//!
//! ```text
//! STORE/
//!   format                 "glowplug store 1"
//!   lock                   held by the one process that uses the store; holds its pid
//!   clean                  there when the last user ended well
//!   layers/<hex>/
//!     index                the layer index (crate glowplug-layer)
//!     windows              deflate windows, each zstd-compressed, where the index says
//!     data                 sparse: the spans that are here, where the index says
//!     presence             journal of the spans that are here (module journal)
//!     suspect              there while the journal has not been checked since an unclean end
//!     distrusted           there since the published index lied; no such index is used any more (module distrust)
//!   documents/<kind>/<name>  small checksummed files: manifests, configurations, tags, profiles
//! ```
//!
//! Invariants:
//! - A span is marked present only after its bytes were checked and written; on disk it is marked present only after
//!   its bytes were synced. After an unclean end a present span is *suspect* until its digest was checked again.
//! - Bytes that cannot be had are an error for the reader that wanted them, never zeros.
//! - A layer that somebody has open is never evicted, and nobody else's index takes its place.
//! - The store stays locked until the last layer of it is closed.
//! - A full disk is an error for the write that met it; everything already here stays readable.
//!
//! The store does not know where bytes come from, and does not know what an image is.
#![forbid(unsafe_code)]

mod builder;
mod distrust;
mod document;
mod error;
mod evict;
mod flight;
mod holders;
mod journal;
mod layer;
mod lock;
mod mark;
mod paths;
mod scratch;
mod store;
mod ticket;

pub use builder::LayerBuilder;
pub use document::Documents;
pub use error::StoreError;
pub use evict::{Freed, Usage};
pub use flight::{FlightError, Waiter};
pub use layer::{Layer, Verdict};
pub use scratch::Scratch;
pub use store::{Options, Store};
pub use ticket::{Claim, Ticket};
