//! The files of `/etc` that belong to a container and not to its image.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{Network, SpecError, resolver};

/// Writes them into the state directory; answers the mounts that put them in place.
///
/// With the host's network the container gets the host's names and resolver; with its own it knows itself, and the nameservers that it can
/// reach. Where it reaches none the host's file does no harm.
pub(super) fn write(state_dir: &Path, hostname: &str, network: &Network) -> Result<Vec<Value>, SpecError> {
    let of_host = |name: &str| fs::read_to_string(Path::new("/etc").join(name)).unwrap_or_default();
    let hosts = match network {
        Network::Host => of_host("hosts"),
        Network::Private { .. } | Network::Isolated => {
            format!(
                "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.0.1\t{hostname}\n"
            )
        }
    };
    let resolver = match network {
        Network::Private { .. } => resolver::of_host(),
        Network::Host | Network::Isolated => of_host("resolv.conf"),
    };
    let files = [("hostname", format!("{hostname}\n")), ("hosts", hosts), ("resolv.conf", resolver)];
    let mut mounts = Vec::new();
    for (name, text) in files {
        let path = state_dir.join(name);
        fs::write(&path, text).map_err(|source| SpecError::Write { path: path.clone(), source })?;
        let at = Path::new("/etc").join(name);
        mounts.push(
            json!({ "type": "bind", "source": path, "destination": at, "options": ["rbind", "rprivate"] }),
        );
    }
    Ok(mounts)
}
