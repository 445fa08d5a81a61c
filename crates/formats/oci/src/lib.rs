//! OCI and Docker image documents: references, descriptors, manifests, indexes, media types, platforms, configurations.
//!
//! Text and bytes in, structs out. No I/O, no network. Every parser takes limits and never panics; what cannot be
//! served (schema 1, encrypted layers, unknown media types) is refused by name. Whether bytes match their digest is
//! checked by whoever fetched them, not here.
//!
//! Sources: OCI image specification 1.1 (`descriptor.md`, `manifest.md`, `image-index.md`, `config.md`), OCI
//! distribution specification 1.1 (referrers), Docker image manifest version 2 schema 2, and the reference grammar of
//! the distribution project.
#![forbid(unsafe_code)]

mod config;
mod descriptor;
mod document;
mod json;
mod layer;
pub mod media;
mod platform;
mod reference;
mod select;
mod source;

pub use config::{ConfigError, check_config, parse_config};
pub use descriptor::Descriptor;
pub use document::{Document, DocumentError, Index, Limits, Manifest};
pub use layer::{Compression, LayerError, LayerFormat, LayerKind};
pub use oci_spec::image::ImageConfiguration;
pub use platform::{Platform, PlatformError};
pub use reference::{Reference, ReferenceError, is_tag, referrers_tag};
pub use select::SelectError;
pub use source::{Source, SourceParseError};
