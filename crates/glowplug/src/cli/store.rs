//! Where the node's byte store is when nobody says.

use std::ffi::OsString;
use std::path::PathBuf;

/// The machine's store, which root alone may write to.
const OF_THE_MACHINE: &str = "/var/lib/glowplug";

/// The store of whoever runs this program.
pub fn of_this_user() -> PathBuf {
    let root = rustix::process::geteuid().is_root();
    of(root, std::env::var_os("XDG_CACHE_HOME"), std::env::home_dir())
}

/// Root has the machine's; everybody else one in the cache directory, as the XDG base directory specification places it: all of it can be
/// had again.
fn of(root: bool, cache: Option<OsString>, home: Option<PathBuf>) -> PathBuf {
    // Paths that are not absolute are invalid there.
    let cache = cache.map(PathBuf::from).filter(|cache| cache.is_absolute());
    let home = home.filter(|home| home.is_absolute());
    match cache.or_else(|| home.map(|home| home.join(".cache"))) {
        Some(cache) if !root => cache.join("glowplug"),
        _ => PathBuf::from(OF_THE_MACHINE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_a_store_that_they_may_write_to() {
        let of = |root, cache: &str, home: &str| of(root, Some(cache.into()), Some(home.into()));
        assert_eq!(of(true, "/cache", "/h"), PathBuf::from("/var/lib/glowplug"));
        assert_eq!(of(false, "/cache", "/h"), PathBuf::from("/cache/glowplug"));
        assert_eq!(of(false, "relative", "/h"), PathBuf::from("/h/.cache/glowplug"));
        assert_eq!(of(false, "", ""), PathBuf::from("/var/lib/glowplug"));
    }
}
