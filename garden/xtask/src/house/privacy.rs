//! Rule `privacy`: no file of the repository tells about the machine it was written on.
//!
//! Looked for: home folders, the path of this checkout, and hosts of private package registries. The files are those
//! git tracks or would track; where there is no git, all files.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use super::{Finding, line_of};

/// What gives a machine away. Spelt in halves, so that this file does not find itself.
const TELLING: [(&str, &str); 3] = [
    (concat!("/ro", "ot/"), "a path in somebody's home"),
    (concat!("/ho", "me/"), "a path in somebody's home"),
    (concat!("artif", "actory"), "a private package registry"),
];

/// Places where such a word is meant: path prefix, the word, and why.
const MEANT: [(&str, &str, &str); 1] =
    [("garden/xtask/src/images/", concat!("/ho", "me/"), "folders inside a test image")];

/// Checkout paths shorter than this are ordinary words (`/src`) and not looked for.
const MIN_TELLING_PATH_BYTES: usize = 8;

/// Checks every file of the repository below `root`.
pub fn check(root: &Path) -> anyhow::Result<Vec<Finding>> {
    let checkout = root.to_string_lossy();
    let mut findings = Vec::new();
    for path in files(root)? {
        // Listed but deleted, or a link to nowhere: nothing to read.
        let Ok(content) = fs::read(root.join(&path)) else {
            continue;
        };
        findings.extend(scan(&path, &content, &checkout));
    }
    Ok(findings)
}

/// The rule itself, for one file.
pub fn scan(path: &str, content: &[u8], checkout: &str) -> Vec<Finding> {
    let own = (checkout.len() >= MIN_TELLING_PATH_BYTES).then_some((checkout, "the path of this checkout"));
    let mut findings = Vec::new();
    for (word, what) in TELLING.into_iter().chain(own) {
        if MEANT.iter().any(|(prefix, meant, _)| *meant == word && path.starts_with(prefix)) {
            continue;
        }
        let mut from = 0;
        while let Some(at) = find(&content[from..], word.as_bytes()) {
            let line = line_of(content, from + at);
            findings.push(Finding::new(path, line, "privacy", format!("contains {word}: {what}")));
            from += at + word.len();
        }
    }
    findings
}

/// Offset of the first occurrence, letter case ignored.
fn find(content: &[u8], word: &[u8]) -> Option<usize> {
    content.windows(word.len()).position(|window| window.eq_ignore_ascii_case(word))
}

fn files(root: &Path) -> anyhow::Result<Vec<String>> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output();
    if let Ok(output) = listed
        && output.status.success()
    {
        let names = String::from_utf8_lossy(&output.stdout);
        return Ok(names.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect());
    }
    let mut found = Vec::new();
    walk(root, root, &mut found)?;
    Ok(found)
}

fn walk(root: &Path, dir: &Path, found: &mut Vec<String>) -> anyhow::Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        if entry.file_type()?.is_dir() {
            if name != "target" && name != ".git" {
                walk(root, &path, found)?;
            }
        } else {
            found.push(path.strip_prefix(root)?.to_string_lossy().into_owned());
        }
    }
    Ok(())
}
