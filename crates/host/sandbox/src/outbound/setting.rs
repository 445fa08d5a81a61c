//! The settings of the host's links under `/proc/sys/net`, of the calling thread's network namespace.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where the settings are.
const SETTINGS: &str = "/proc/sys/net";

/// A setting that could not be read or changed.
#[derive(Debug, thiserror::Error)]
#[error("cannot change {}", path.display())]
pub struct SettingError {
    /// The setting's file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// Lets IPv4 packets that come in through a link go on to others; false where they may already.
///
/// For the container's link that makes its packets go out, for the link they go out through it makes the answers come back.
pub(super) fn forward(link: &str) -> Result<bool, SettingError> {
    change(&format!("ipv4/conf/{link}/forwarding"), "1")
}

/// The links that let IPv4 packets go on to others, whoever switched that on; not those of containers.
pub fn forwarding_links() -> Vec<String> {
    let on = |link: &String| {
        let path = Path::new(SETTINGS).join(format!("ipv4/conf/{link}/forwarding"));
        fs::read_to_string(path).is_ok_and(|value| value.trim() == "1")
    };
    let links = fs::read_dir(Path::new(SETTINGS).join("ipv4/conf")).into_iter().flatten().flatten();
    let names = links.map(|link| link.file_name().to_string_lossy().into_owned());
    let of_others = |link: &String| {
        !["all", "default", "lo"].contains(&link.as_str()) && !link.starts_with(super::place::LINK_PREFIX)
    };
    let mut found: Vec<String> = names.filter(of_others).filter(on).collect();
    found.sort_unstable();
    found
}

/// Makes the host deaf to what a container could tell it about routes.
pub(super) fn guard(link: &str) -> Result<(), SettingError> {
    change(&format!("ipv4/conf/{link}/accept_redirects"), "0")?;
    match change(&format!("ipv6/conf/{link}/disable_ipv6"), "1") {
        // A kernel without IPv6 has nothing to switch off.
        Err(e) if e.source.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map(drop),
    }
}

fn change(setting: &str, value: &str) -> Result<bool, SettingError> {
    let path = Path::new(SETTINGS).join(setting);
    let changed = fs::read_to_string(&path).and_then(|now| match now.trim() == value {
        true => Ok(false),
        false => fs::write(&path, value).map(|()| true),
    });
    changed.map_err(|source| SettingError { path, source })
}
