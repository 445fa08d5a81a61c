//! Ends FUSE mounts that nobody serves any more. A process that waits for a file system which it served itself cannot be
//! killed, and its namespaces cannot end, until the kernel's connection is aborted.
//! Reference: the kernel's `Documentation/filesystems/fuse/fuse.rst`, "The control filesystem".

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

/// Where the control file system is mounted by convention; the folder is always there.
const CONTROL: &str = "/sys/fs/fuse/connections";

/// Aborts every FUSE connection that is mounted below `folder`, in whichever mount namespace.
pub fn abort_below(folder: &Path) {
    let Ok(folder) = folder.canonicalize() else { return };
    let connections = connections(&folder);
    if connections.is_empty() {
        return;
    }
    // In a namespace of its own, for the machine may not have the control file system mounted.
    let script = "mount -t fusectl fusectl \"$0\" && for n in \"$@\"; do echo 1 > \"$0/$n/abort\"; done";
    let _ = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "--", "sh", "-c", script, CONTROL])
        .args(connections)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

/// How many FUSE file systems are mounted below `folder` in this mount namespace.
pub fn count_below(folder: &Path) -> anyhow::Result<usize> {
    let table = std::fs::read_to_string("/proc/self/mountinfo")?;
    Ok(mounted_below(&table, &folder.canonicalize()?).len())
}

/// The connections of all mount namespaces. A process whose first thread has ended shows its mounts by its others.
fn connections(folder: &Path) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut found = BTreeSet::new();
    for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        for thread in std::fs::read_dir(process.path().join("task")).into_iter().flatten().flatten() {
            let Ok(namespace) = std::fs::read_link(thread.path().join("ns/mnt")) else { continue };
            if seen.contains(&namespace) {
                continue;
            }
            if let Ok(table) = std::fs::read_to_string(thread.path().join("mountinfo")) {
                seen.insert(namespace);
                found.extend(mounted_below(&table, folder));
            }
        }
    }
    found
}

/// The connections in the text of a `mountinfo`: FUSE names them by the minor number of the mount's device.
fn mounted_below(table: &str, folder: &Path) -> Vec<String> {
    table
        .lines()
        .filter_map(|line| {
            let (mount, kind) = line.split_once(" - ")?;
            let mut fields = mount.split(' ').skip(2);
            let (device, place) = (fields.next()?, fields.nth(1)?);
            let fuse = kind.starts_with("fuse ") || kind.starts_with("fuse.");
            (fuse && Path::new(place).starts_with(folder))
                .then(|| device.split_once(':'))??
                .1
                .parse::<u32>()
                .ok()
        })
        .map(|minor| minor.to_string())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_fuse_mounts_below_the_folder_are_meant() {
        let table = "211 185 0:93 / /t/node/run/lower ro,relatime - fuse glowplug ro,user_id=0\n\
            212 185 0:94 / /t/node/run/merged rw - overlay overlay rw\n\
            213 185 0:95 / /t/nodes/lower rw shared:1 - fuse.other other rw\n";
        assert_eq!(mounted_below(table, Path::new("/t/node")), ["93"]);
        assert_eq!(mounted_below(table, Path::new("/t")), ["93", "95"]);
    }
}
