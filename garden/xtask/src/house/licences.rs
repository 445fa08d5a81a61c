//! Rule `licences`: every crate we build upon may be used and passed on under terms we accept.
//!
//! Reads what `cargo metadata` says, offline, for the platform we build for. An expression is accepted when its
//! `OR` leaves one way that is made of accepted licences only.

use std::path::Path;

use anyhow::{Context, bail};
use serde::Deserialize;

use super::{Finding, cargo};

/// Accepted licences: all permissive, none asks for more than its text and notices to be kept.
const ACCEPTED: [&str; 14] = [
    "0BSD",
    "Apache-2.0",
    // The exception only ever takes a condition away.
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    // Certificate data of webpki-roots.
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

/// The part of a package the rule needs.
#[derive(Debug, Deserialize)]
pub struct Package {
    name: String,
    version: String,
    license: Option<String>,
}

/// Checks every package of the build.
pub fn check(root: &Path) -> anyhow::Result<Vec<Finding>> {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = cargo()
        .args(["metadata", "--offline", "--locked", "--format-version", "1", "--filter-platform", &platform])
        .current_dir(root)
        .output()
        .context("cannot run cargo metadata")?;
    if !output.status.success() {
        bail!(
            "cargo metadata failed (on a fresh clone run `cargo fetch --locked` first): {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let lock = std::fs::read_to_string(root.join("Cargo.lock")).context("cannot read Cargo.lock")?;
    judge(&output.stdout, &lock)
}

/// The rule itself: `metadata` is cargo's JSON, `lock` only serves to name a line.
pub fn judge(metadata: &[u8], lock: &str) -> anyhow::Result<Vec<Finding>> {
    let metadata: Metadata =
        serde_json::from_slice(metadata).context("cannot read what cargo metadata said")?;
    let mut findings = Vec::new();
    for Package { name, version, license } in &metadata.packages {
        let wrong = match license {
            None => "names no licence".to_owned(),
            Some(expression) => match accepts(expression) {
                Some(true) => continue,
                Some(false) => format!("is under {expression}, which is not accepted"),
                None => format!("has the licence expression {expression}, which cannot be read"),
            },
        };
        let entry = format!("name = \"{name}\"");
        let line = lock.lines().position(|line| line == entry).map_or(1, |index| index + 1);
        findings.push(Finding::new("Cargo.lock", line, "licences", format!("{name} {version} {wrong}")));
    }
    Ok(findings)
}

/// Whether an SPDX expression is accepted; `None` where it is not one. Old crates write `/` for `OR`.
pub fn accepts(expression: &str) -> Option<bool> {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let verdict = any_of(&mut rest, 0)?;
    rest.is_empty().then_some(verdict)
}

/// Deeper brackets than this are no licence.
const MAX_DEPTH: usize = 16;

fn any_of(words: &mut &[&str], depth: usize) -> Option<bool> {
    let mut verdict = all_of(words, depth)?;
    while let ["OR", rest @ ..] = words {
        *words = rest;
        verdict |= all_of(words, depth)?;
    }
    Some(verdict)
}

fn all_of(words: &mut &[&str], depth: usize) -> Option<bool> {
    let mut verdict = single(words, depth)?;
    while let ["AND", rest @ ..] = words {
        *words = rest;
        verdict &= single(words, depth)?;
    }
    Some(verdict)
}

fn single(words: &mut &[&str], depth: usize) -> Option<bool> {
    match words {
        ["(", rest @ ..] if depth < MAX_DEPTH => {
            *words = rest;
            let verdict = any_of(words, depth + 1)?;
            let [")", rest @ ..] = words else { return None };
            *words = rest;
            Some(verdict)
        }
        [licence, "WITH", exception, rest @ ..] => {
            *words = rest;
            Some(ACCEPTED.contains(&format!("{licence} WITH {exception}").as_str()))
        }
        ["(" | ")" | "OR" | "AND" | "WITH", ..] | [] => None,
        [licence, rest @ ..] => {
            *words = rest;
            Some(ACCEPTED.contains(licence))
        }
    }
}
