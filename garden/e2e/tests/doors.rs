//! What a kernel does not offer is replaced by the next door, and the image is the same through it.
//!
//! Needs root and user namespaces: in one of them the kernel refuses EROFS, as one without it does, but takes FUSE and overlays.
#![allow(clippy::unwrap_used, reason = "clippy does not take the functions beside the tests for tests")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use glowplug_e2e::{Door, Mounted, layout};

/// Every file below `root` with its digest, as `command`, a shell, sees it; but those in the home of a user whom the
/// namespace does not have.
fn digests(mut command: Command, root: &Path) -> BTreeSet<String> {
    let script = "cd \"$1\" && find . -path ./home -prune -o -type f -exec sha256sum {} +";
    let output = command.args(["-c", script, "sh"]).arg(root).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn where_the_kernel_refuses_erofs_fuse_alone_serves_the_image() {
    let layout = layout("tiny-gzip");
    let fallen = Mounted::unprivileged(&layout, Door::Lazy, Door::Fuse);
    let through_fuse = digests(fallen.inside("sh"), fallen.path());
    let erofs = Mounted::new(&layout, Door::Erofs);
    assert!(through_fuse.iter().any(|line| line.ends_with("answer.txt")), "{through_fuse:?}");
    assert_eq!(through_fuse, digests(Command::new("sh"), erofs.path()));
}
