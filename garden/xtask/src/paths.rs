//! Where things lie: the workspace, and the private places under `target/` that the house's commands own.
//!
//! Nothing outside `target/` is ever written by xtask.

use std::path::{Path, PathBuf};

/// The workspace's root folder.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("the manifest lies two folders below the workspace")
        .to_path_buf()
}

/// Cargo's output folder; the place of everything that xtask makes.
pub fn target() -> PathBuf {
    workspace().join("target")
}

/// Where cargo puts what is built without optimisation.
pub fn built() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(target, PathBuf::from).join("debug")
}

/// Packages, tools and the state of the rig.
pub fn rig() -> PathBuf {
    target().join("glowplug-rig")
}

/// The peers that we measure against: their programs, Go's caches, the images that they take.
pub fn peers() -> PathBuf {
    target().join("peers")
}

/// The sources of the peers: pinned Go modules, and the programs that prepare images for them.
pub fn peer_modules() -> PathBuf {
    workspace().join("garden/peers")
}

/// The test images, one OCI layout per folder.
pub fn images() -> PathBuf {
    target().join("images")
}

/// The sources of the test images: lock files, servers, pictures.
pub fn recipes() -> PathBuf {
    workspace().join("garden/xtask/images")
}
