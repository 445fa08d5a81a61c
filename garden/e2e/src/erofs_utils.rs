//! The peer that makes EROFS images of directories: Debian's `mkfs.erofs`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What containerd gives it for layers: file contents in blocks of their own, blocks that every machine has.
const AS_CONTAINERD: [&str; 2] = ["--quiet", "-Enoinline_data"];

/// The image that `mkfs.erofs` makes of `folder`, as containerd calls it but for `options`.
///
/// # Panics
/// `GLOWPLUG_EROFS_UTILS`, the folder that erofs-utils is unpacked in, is not set, or it fails.
pub fn erofs_image(folder: &Path, options: &[&str]) -> Vec<u8> {
    let root = PathBuf::from(
        std::env::var_os("GLOWPLUG_EROFS_UTILS")
            .expect("GLOWPLUG_EROFS_UTILS is not set: run `cargo xtask test e2e`"),
    );
    let place = tempfile::tempdir().expect("a temporary folder can be made");
    let image = place.path().join("image");
    let options = if options.is_empty() { &AS_CONTAINERD } else { options };
    let output = Command::new(root.join("usr/bin/mkfs.erofs"))
        .env("LD_LIBRARY_PATH", root.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH)))
        .args(options)
        .args([&*image, folder])
        .output()
        .expect("mkfs.erofs runs");
    assert!(output.status.success(), "mkfs.erofs: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(image).expect("mkfs.erofs wrote the image")
}
