//! A real Kubernetes API server, for `cargo xtask kubernetes`.

use std::path::PathBuf;

use super::minutes;
use super::tool::{Source, Tool};
use crate::packages::debian::Debian;
use crate::{paths, step};

const KUBERNETES: Tool = Tool {
    name: "kubernetes",
    source: Source::Go { packages: &["tool"], module: "k8s.io/kubernetes", zlib: false },
    programs: &["kube-apiserver"],
};

/// Builds the server where it is not built yet; gives what it is and which version.
pub fn make() -> anyhow::Result<String> {
    let version = KUBERNETES.version()?;
    if !KUBERNETES.is_made() {
        step::say(format!("building {version}"));
        step::say(format!("{} took {}", KUBERNETES.name, minutes(KUBERNETES.make()?)));
    }
    etcd()?;
    Ok(version)
}

/// Where the server lies.
pub fn server() -> PathBuf {
    paths::peers().join(KUBERNETES.name).join("kube-apiserver")
}

/// Its store, Debian's; fetched where it is not here yet.
pub fn etcd() -> anyhow::Result<PathBuf> {
    Ok(Debian::open()?.tool("etcd", &["etcd-server"])?.join("usr/bin/etcd"))
}
