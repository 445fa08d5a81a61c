//! Rules `walls`, `banned` and `unsafe`: one owner for each heavy dependency, some dependencies never, unsafe code on
//! one island only.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};

use super::manifest::Kind;
use super::source::Source;
use super::tree::Crate;
use super::{Finding, cargo};

/// A heavy dependency and the rooms that may import it. The crates of its family (`tonic-build`, `kube-runtime`)
/// stand behind the same wall. Tests may import what they like: nothing of it ships.
const WALLS: [(&str, &[&str]); 15] = [
    ("fuser", &["mount"]),
    ("tonic", &["snapshotter", "cluster"]),
    ("prost", &["snapshotter", "cluster"]),
    ("kube", &["cluster"]),
    ("k8s-openapi", &["cluster"]),
    // Peers and Kubernetes are no registries: other credentials, other patience, no redirects.
    ("reqwest", &["registry", "objects", "peer"]),
    ("axum", &["mirror"]),
    ("tokio-rustls", &["mirror"]),
    ("object_store", &["objects"]),
    ("redb", &["store"]),
    ("clap", &["glowplug"]),
    ("libc", &["linux"]),
    ("libdeflater", &["convert"]),
    ("opentelemetry", &["glowplug"]),
    ("anyhow", &["glowplug"]),
];

/// Crates nobody here names as a dependency, and why.
const BANNED: [(&str, &str); 8] = [
    ("ring", "aws-lc-rs is the one provider of cryptography"),
    ("openssl", "rustls is the one TLS"),
    ("openssl-sys", "rustls is the one TLS"),
    ("lazy_static", "std has LazyLock"),
    ("once_cell", "std has OnceLock and LazyLock"),
    ("tokio-tar", "abandoned, CVE-2025-62518"),
    ("serde_yml", "RUSTSEC-2025-0068"),
    ("serde_yaml", "archived"),
];

/// Banned crates that other people's crates bring along without harm; only naming them ourselves is a finding.
const TOLERATED_BELOW: [&str; 2] = ["lazy_static", "once_cell"];

/// The room where unsafe code may stand, each block with its `SAFETY` comment (clippy sees to that).
const UNSAFE_ISLANDS: [&str; 1] = ["linux"];

/// Rules `walls` and `banned` over what our manifests name.
pub fn dependencies(crates: &[Crate]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for member in crates {
        for dependency in &member.manifest.dependencies {
            let package = dependency.package.as_str();
            let mut report = |rule, message| {
                findings.push(Finding::new(&member.manifest.path, dependency.line, rule, message));
            };
            if let Some((_, why)) = BANNED.iter().find(|(banned, _)| *banned == package) {
                report("banned", format!("{package} is banned: {why}"));
            }
            let Some((_, owners)) = WALLS.iter().find(|(wall, _)| is_of_family(package, wall)) else {
                continue;
            };
            let ships = member.is_shipped() && dependency.kind != Kind::Dev;
            if ships && !owners.contains(&member.room()) {
                report("walls", format!("{package} belongs to {} alone", owners.join(" and ")));
            }
        }
    }
    findings
}

fn is_of_family(package: &str, head: &str) -> bool {
    package.strip_prefix(head).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_']))
}

/// Rule `banned` over what is really built, other people's choices included.
///
/// Asks `cargo tree` and not the lock file: the lock also lists crates behind features that are never switched on.
pub fn built(root: &Path) -> anyhow::Result<Vec<Finding>> {
    let output = cargo()
        .args(["tree", "--workspace", "--offline", "--locked", "--prefix", "none", "--format", "{p}"])
        .args(["--edges", "normal,build"])
        .current_dir(root)
        .output()
        .context("cannot run cargo tree")?;
    if !output.status.success() {
        bail!(
            "cargo tree failed (on a fresh clone run `cargo fetch --locked` first): {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let lock = fs::read_to_string(root.join("Cargo.lock")).context("cannot read Cargo.lock")?;
    Ok(built_from(&String::from_utf8_lossy(&output.stdout), &lock))
}

/// The rule itself: `tree` has one `name vX.Y.Z` a line; `lock` only serves to name a line.
pub fn built_from(tree: &str, lock: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (banned, why) in BANNED.iter().filter(|(name, _)| !TOLERATED_BELOW.contains(name)) {
        if tree.lines().any(|line| line.split_whitespace().next() == Some(banned)) {
            let entry = format!("name = \"{banned}\"");
            let line = lock.lines().position(|line| line == entry).map_or(1, |index| index + 1);
            findings.push(Finding::new("Cargo.lock", line, "banned", format!("{banned} is built in: {why}")));
        }
    }
    findings
}

/// Rule `unsafe`: outside the island every crate root forbids unsafe code.
pub fn forbids_unsafe(crates: &[Crate], sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for member in crates.iter().filter(|member| !UNSAFE_ISLANDS.contains(&member.room())) {
        for root in ["lib.rs", "main.rs"] {
            let path = format!("{}/src/{root}", member.dir);
            let Some(source) = sources.iter().find(|source| source.path == path) else {
                continue;
            };
            let code: String = source.code().chars().filter(|c| !c.is_whitespace()).collect();
            if !code.contains("#![forbid(unsafe_code)]") {
                findings.push(Finding::new(&path, 1, "unsafe", "does not say #![forbid(unsafe_code)]"));
            }
        }
    }
    findings
}
