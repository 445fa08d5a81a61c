//! Namespaces around the rig: whatever runs, is mounted or has an address in there is gone when it ends, also when it is
//! killed, because the kernel takes it away with its first process.
//!
//! A command enters by running itself again inside. Building and fetching need the machine's network and are done before.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use rustix::fs::FlockOperation;

use crate::{interrupt, paths, step};

/// Set for the program inside.
const INSIDE: &str = "GLOWPLUG_RIG_INSIDE";
/// What the names of our control groups begin with.
const GROUPS: &str = "glowplug-rig";
/// Where Glowplug has the control groups of its containers, below each hierarchy.
const GLOWPLUGS: &str = "glowplug";
/// The programs of the system that the rig needs, with the package of each.
const NEEDED: [(&str, &str); 5] = [
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("setpriv", "util-linux"),
    ("mount", "mount"),
    ("dpkg-deb", "dpkg"),
];

/// Whether this program is the one inside.
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some() && std::process::id() == 1
}

/// Says what is missing before anything is begun.
pub fn check() -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("this needs root: it makes network namespaces and mounts (they are gone when it ends)");
    }
    for (program, package) in NEEDED {
        if find(program).is_none() {
            bail!("`{program}` is missing: apt-get install {package}");
        }
    }
    Ok(())
}

/// The place of a program in `PATH`.
pub fn find(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(program)).find(|p| p.exists())
}

/// Runs `cargo xtask ARGS` again inside, waits for it and removes what it left on disk. One at a time per workspace.
pub fn enter(args: &[String]) -> anyhow::Result<()> {
    let _lock = lock()?;
    clean();
    interrupt::at_last(clean);
    let status = step::run_group(
        Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "unshare", "--pid", "--fork", "--kill-child=KILL"])
            .args(["--mount", "--mount-proc", "--net", "--propagation", "private", "--"])
            .arg(std::env::current_exe()?)
            .args(args)
            .env(INSIDE, "1"),
    );
    clean();
    let status = status?;
    if !status.success() {
        bail!("not passed ({status})");
    }
    Ok(())
}

/// What the program inside does first: a `/run` of its own, and the loopback.
pub fn furnish() -> anyhow::Result<()> {
    interrupt::at_last(abort_fuse);
    step::run(Command::new("mount").args(["-t", "tmpfs", "-o", "mode=755", "glowplug-run", "/run"]))?;
    std::fs::create_dir_all(super::nodes())?;
    Ok(())
}

/// The name of Glowplug's container inside: that of its control group too, which no namespace takes away. Process ids inside
/// are the same in every rig of the machine; the namespace's number is this one's alone.
pub fn group() -> anyhow::Result<String> {
    Ok(format!("{GROUPS}-{}", std::fs::metadata("/proc/self/ns/pid")?.ino()))
}

fn lock() -> anyhow::Result<File> {
    std::fs::create_dir_all(paths::rig())?;
    let file = File::create(paths::rig().join("lock"))?;
    if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        step::say("waiting for another rig of this workspace to end");
        rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
    }
    Ok(file)
}

fn abort_fuse() {
    super::fuse::abort_below(&super::nodes());
}

/// Removes the nodes' stores and the empty control groups that a rig left.
fn clean() {
    abort_fuse();
    let _ = std::fs::remove_dir_all(super::nodes());
    let root = PathBuf::from("/sys/fs/cgroup");
    let controllers = std::fs::read_dir(&root).into_iter().flatten().flatten().map(|entry| entry.path());
    for hierarchy in std::iter::once(root.clone()).chain(controllers) {
        remove_groups(&hierarchy);
        let glowplugs = hierarchy.join(GLOWPLUGS);
        remove_groups(&glowplugs);
        // It stays while it holds another's.
        let _ = std::fs::remove_dir(glowplugs);
    }
}

/// Removes the groups named for us that stand directly in `above`; one that still has processes stays.
fn remove_groups(above: &Path) {
    for entry in std::fs::read_dir(above).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(GROUPS) {
            remove_group(&entry.path());
        }
    }
}

fn remove_group(group: &Path) {
    for entry in std::fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_group(&entry.path());
        }
    }
    let _ = std::fs::remove_dir(group);
}

/// The C compiler that Rust links with: what must be installed for building is named before anything is fetched.
pub fn check_build() -> anyhow::Result<()> {
    find("cc").map(drop).context("building needs a C compiler: apt-get install gcc libc6-dev")
}
