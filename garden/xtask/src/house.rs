//! `cargo xtask house`: the rules of the house, checked offline in seconds.
//!
//! Each rule is one file under `house/` and is a pure function from parsed sources to findings, so that every rule
//! has a test that makes it fail. Only this file and [`tree`] read the disk; only [`licences`] and [`walls`] ask
//! cargo, and both do so offline. A finding names the file, the line, the rule and what is wrong.
//!
//! What it does not do: style (rustfmt), lints (clippy), known vulnerabilities (they need a network).

mod cycles;
mod floors;
mod licences;
mod manifest;
mod names;
mod privacy;
mod promises;
mod sizes;
mod source;
mod tree;
mod walls;

use std::fmt;
use std::process::Command;
use std::time::Instant;

use anyhow::bail;

use crate::paths;
use tree::Tree;

/// One broken rule at one place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// File, relative to the repository root.
    file: String,
    /// Line, from 1.
    line: usize,
    /// Short name of the rule, as `cargo xtask house` lists them.
    rule: &'static str,
    /// What is wrong and, where it is not obvious, what to do.
    message: String,
}

impl Finding {
    fn new(file: &str, line: usize, rule: &'static str, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, rule, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: [{}] {}", self.file, self.line, self.rule, self.message)
    }
}

/// Checks the whole repository, prints every finding, and fails if there is one.
pub fn run(args: &[String]) -> anyhow::Result<()> {
    if matches!(args.first().map(String::as_str), Some("-h" | "--help")) {
        println!("usage: cargo xtask house");
        return Ok(());
    }
    if let Some(unknown) = args.first() {
        bail!("house takes no arguments, found {unknown}");
    }
    let began = Instant::now();
    let tree = Tree::load(&paths::workspace())?;
    let findings = check(&tree)?;
    for finding in &findings {
        println!("{finding}");
    }
    let seconds = began.elapsed().as_secs_f64();
    let (crates, sources) = (tree.crates.len(), tree.sources.len());
    if !findings.is_empty() {
        bail!(
            "house: {} findings in {crates} crates, {sources} source files ({seconds:.1} s)",
            findings.len()
        );
    }
    println!("house: in order, {crates} crates, {sources} source files ({seconds:.1} s)");
    Ok(())
}

/// Every rule over one tree, findings sorted by place.
fn check(tree: &Tree) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    findings.extend(floors::check(&tree.crates));
    findings.extend(walls::dependencies(&tree.crates));
    findings.extend(walls::forbids_unsafe(&tree.crates, &tree.sources));
    findings.extend(manifest::inherits(&tree.crates));
    findings.extend(names::check(&tree.sources));
    findings.extend(sizes::check(&tree.sources));
    findings.extend(cycles::check(&tree.crates, &tree.sources));
    findings.extend(privacy::check(&tree.root)?);
    findings.extend(promises::check(&tree.root, &tree.sources)?);
    findings.extend(walls::built(&tree.root)?);
    findings.extend(licences::check(&tree.root)?);
    findings.sort();
    findings.dedup();
    Ok(findings)
}

/// The cargo that runs us, so that a toolchain chosen on the command line is kept.
pub fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Line of a byte offset, from 1.
fn line_of(text: &[u8], offset: usize) -> usize {
    1 + text[..offset.min(text.len())].iter().filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests;
