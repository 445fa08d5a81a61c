//! End-to-end tests: the real binary, real kernels, real containers; `cargo xtask test e2e` runs them.
//!
//! They need root, and two variables that the command sets: `GLOWPLUG_BIN`, the binary, and `GLOWPLUG_IMAGES`, the
//! folder of test images. A test fails, and does not skip, without them.
#![forbid(unsafe_code)]

mod http;
mod image;
mod run;

pub use http::{get, post};
pub use image::{layout, serve};
pub use run::{Glowplug, Running, free_port};
