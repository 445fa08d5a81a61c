//! End-to-end tests: the real binary, real kernels, real containers; `cargo xtask test e2e` runs them.
//!
//! They need root, and five variables that the command sets: `GLOWPLUG_BIN`, the binary; `GLOWPLUG_MOUNT_IMAGE`, the example
//! that mounts an image without a container; `GLOWPLUG_IMAGES`, the folder of test images; `GLOWPLUG_CONTAINERD`, the folder
//! of the containerd to compare with; `GLOWPLUG_EROFS_UTILS`, that of the `mkfs.erofs` that makes layers. A test fails, and does
//! not skip, without them.
#![forbid(unsafe_code)]

mod containerd;
mod cri;
mod erofs_utils;
mod http;
mod image;
mod mounted;
mod peer;
mod run;
mod survey;
mod world;

pub use containerd::{Containerd, Unpacked};
pub use cri::Login;
pub use erofs_utils::erofs_image;
pub use http::{get, post};
pub use image::{layout, serve};
pub use mounted::{Door, Mounted};
pub use peer::{PeerNode, PeerPorts};
pub use run::{Glowplug, Running, free_port};
pub use survey::{Difference, Facts, Kind, Survey};
pub use world::World;
