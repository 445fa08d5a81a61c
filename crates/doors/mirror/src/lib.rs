//! A node's HTTP doors: translation only.
//!
//! ```text
//! /v2/…                 a registry mirror as the OCI distribution specification has it, read-only: for containerd, for
//!                       glowplug itself, for everybody who can be told of a mirror
//! /glowplug/peer/1/…    pieces, for peers; what nodes learned, for peers and for this machine; counters
//! ```
//!
//! A mirror is told which registry it stands for by `?ns=REGISTRY`, as containerd does. There are two doors: one for this
//! machine, which asks nobody who he is and therefore listens on loopback, and one for the cluster, which wants a token or a certificate
//! for everything. Whoever comes in reads what this node may read. Nothing can be written but what this machine's processes have
//! learned, with the node's key. A request that this node sent itself, through whomever, is refused.
#![forbid(unsafe_code)]

mod answer;
mod door;
mod guard;
mod limits;
mod lore;
mod peers;
mod query;
mod registry;
mod route;
mod serve;
mod tls;

pub use door::Door;
pub use limits::Limits;
pub use serve::serve;
pub use tls::{Tls, TlsError};
