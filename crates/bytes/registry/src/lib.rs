//! Where images come from: OCI registries, layout directories, archive files.
//!
//! One trait, [`Repository`], stands for one image repository wherever it lives: documents by tag or digest, blobs as
//! [`RangeSource`](glowplug_source::RangeSource)s, referrers, and pushing. [`Client::open`] makes one of a
//! [`Source`](glowplug_oci::Source), and [`resolve()`] follows it to one image for one platform.
//!
//! Invariants: documents and small blobs are verified before they are handed out; large blobs are not, whoever keeps
//! their bytes verifies them. A credential is only sent to the host it belongs to. At most one range is asked for in a
//! request. Nothing is kept on disk.
#![forbid(unsafe_code)]

mod auth;
mod challenge;
mod client;
mod credentials;
mod endpoint;
mod error;
mod http;
mod local;
mod options;
mod repository;
mod resolve;
mod via;

pub use client::{Client, Reachability};
pub use error::Error;
pub use options::Options;
pub use repository::{BlobFile, Fetched, Ranges, Repository, Target};
pub use resolve::{Found, ResolvedImage, ResolvedIndex, ResolvedLayer, look_at, resolve};
pub use via::{Circle, Via};
