//! What this machine's kernel offers, for `doctor` and for choosing a path that will work.

use std::path::Path;

use crate::caps;
use crate::cgroup::Layout;

/// A look at the running kernel. Every field is a fact; what to do about it is the reader's.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// Release as `uname -r` says it.
    pub release: String,
    /// Major and minor number, if the release starts with them.
    pub version: Option<(u32, u32)>,
    /// `/dev/fuse` exists.
    pub fuse: bool,
    /// The kernel lists EROFS now. A module that is not loaded yet is not listed; mounting may still load it.
    pub erofs: bool,
    /// The kernel lists overlayfs now; see `erofs` about modules.
    pub overlay: bool,
    /// EROFS can mount a plain file without a loop device (Linux 6.12).
    pub erofs_from_file: bool,
    /// How cgroups are mounted; `None` where they are not.
    pub cgroups: Option<Layout>,
    /// The effective capabilities of this process.
    pub capabilities: caps::Set,
    /// Effective user id.
    pub euid: u32,
}

impl Kernel {
    /// Looks.
    pub fn look() -> Self {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let version = parse_version(&release);
        let listed = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
        let has = |name: &str| listed.lines().any(|l| l.split_whitespace().last() == Some(name));
        Self {
            version,
            fuse: Path::new("/dev/fuse").exists(),
            erofs: has("erofs"),
            overlay: has("overlay"),
            erofs_from_file: version.is_some_and(|v| v >= (6, 12)),
            cgroups: Layout::detect().ok(),
            capabilities: caps::effective().unwrap_or(caps::Set::empty()),
            euid: rustix::process::geteuid().as_raw(),
            release,
        }
    }
}

fn parse_version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_releases() {
        assert_eq!(parse_version("6.1.0-18-amd64"), Some((6, 1)));
        assert_eq!(parse_version("6.18"), Some((6, 18)));
        assert_eq!(parse_version("odd"), None);
    }

    #[test]
    fn this_kernel_has_a_version() {
        assert!(Kernel::look().version.is_some_and(|v| v >= (4, 0)));
    }
}
