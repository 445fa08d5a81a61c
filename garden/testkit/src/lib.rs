//! Test partners: a registry that misbehaves on demand, and builders of layers and images.
//!
//! Nothing here is shipped. A broken expectation of a test partner panics: the test that caused it has failed.
//!
//! ```
//! use glowplug_testkit::{ImageBuilder, Layer, TestRegistry};
//!
//! let registry = TestRegistry::start();
//! let image = ImageBuilder::new()
//!     .layer(Layer::gzip(|tree| {
//!         tree.dir("etc").file("etc/hostname", "box\n").symlink("etc/alias", "hostname");
//!     }))
//!     .layer(Layer::zstd(|tree| {
//!         tree.whiteout("etc/alias");
//!     }))
//!     .cmd(["/bin/true"])
//!     .push(&registry, "team/app:v1");
//! assert_eq!(registry.manifest("team/app", "v1").unwrap(), image.manifest);
//! ```
#![forbid(unsafe_code)]

mod image;
mod layer;
mod layout;
mod registry;
mod tree;

pub use image::{Image, ImageBuilder};
pub use layer::Layer;
pub use registry::{Auth, Fault, Logged, Rule, TestRegistry};
pub use tree::{Entry, Tree};
