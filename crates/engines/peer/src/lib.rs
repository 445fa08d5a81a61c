//! The peer tier: nodes of one cluster serve each other the registry's bytes, so that the registry sends each about once
//! per cluster.
//!
//! ```text
//! reader -> Node::open         cuts the range into pieces and brings them in order, some ahead
//!   -> cache                   this node's disk
//!   -> the piece's owner       by rendezvous hashing over the members that are well; hedged, when it is slow
//!   -> the registry            by the owner, and by whoever cannot get it from the owner
//! ```
//!
//! Beside pieces they serve each other what they learned: indexes of layers and start profiles; see [`LoreId`].
//!
//! Invariants: what a peer asks for is never passed on to another peer, so requests cannot go in circles. One flight per
//! piece, whoever asks. A cache file that is damaged reads as absent. Nothing here is believed to be true: a piece of a
//! blob cannot be checked alone, so whoever reads through a node checks what comes, and asks anew with
//! [`Freshness::Anew`] when it was wrong; the node then fetches from the registry, compares, and leaves alone the peer
//! that lied. Only a blob of one piece, and a manifest by its digest, are checked here before they are passed on.
#![forbid(unsafe_code)]

mod budget;
mod cache;
mod endpoint_slice;
mod error;
mod fetch;
mod flights;
mod hearsay;
mod key;
mod latency;
mod lore;
mod members;
mod node;
mod own_service;
mod passage;
mod peer;
mod piece;
mod rendezvous;
mod shelf;
mod stats;
mod upstream;
mod wire;

pub use endpoint_slice::{ApiServer, EndpointSlices};
pub use error::{Error, OpenError};
pub use key::{KEY_FILE, read_key};
pub use lore::{Lore, LoreHead, LoreId, OfferError, Saying};
pub use node::{Freshness, Node, Settings, made_up_name};
pub use own_service::{Found, OwnService};
pub use passage::Passage;
pub use peer::Patience;
pub use piece::{PIECE_BYTES, PieceId};
pub use rendezvous::order;
pub use stats::Stats;
pub use upstream::{RepositoryName, RepositoryNameError};
pub use wire::{DIGEST_HEADER, FROM_HEADER, MARK_HEADER, Security};
