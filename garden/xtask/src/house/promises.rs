//! Rule `promises`: each row of a table in `docs/specification.md` ends by naming the test or benchmark that holds
//! it, or the word *pending*; and a test that is named exists.

use std::fs;
use std::path::Path;

use super::Finding;
use super::source::{Source, tokens};

const SPECIFICATION: &str = "docs/specification.md";

/// Checks the specification against the tests in `sources`.
pub fn check(root: &Path, sources: &[Source]) -> anyhow::Result<Vec<Finding>> {
    let path = root.join(SPECIFICATION);
    if !path.exists() {
        return Ok(vec![Finding::new(SPECIFICATION, 1, "promises", "is missing")]);
    }
    Ok(rows(&fs::read_to_string(path)?, sources))
}

/// The rule itself.
pub fn rows(text: &str, sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    for (index, line) in lines.iter().enumerate() {
        let is_head = lines.get(index + 1).is_some_and(|next| is_rule(next));
        if !line.starts_with('|') || is_rule(line) || is_head {
            continue;
        }
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let held_by = cells.last().copied().unwrap_or_default();
        let mut report = |message: String| {
            findings.push(Finding::new(SPECIFICATION, index + 1, "promises", message));
        };
        if held_by.to_lowercase().contains("pending") {
            continue;
        }
        if held_by.is_empty() || !held_by.contains('`') {
            report("names no `test` or `benchmark` in its last column, nor *pending*".to_owned());
        }
        for name in held_by.split('`').skip(1).step_by(2).filter(|name| is_test_path(name)) {
            let last = name.rsplit("::").next().unwrap_or(name);
            if !sources.iter().any(|source| defines(source, last)) {
                report(format!("is held by {name}, and there is no such function"));
            }
        }
    }
    findings
}

/// `|---|---|` under a table's head.
fn is_rule(line: &str) -> bool {
    line.starts_with('|') && line.contains('-') && line.chars().all(|c| matches!(c, '|' | '-' | ':' | ' '))
}

/// `crate::module::name`, as opposed to a command line or a file.
fn is_test_path(name: &str) -> bool {
    name.contains("::") && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | ':' | '-'))
}

fn defines(source: &Source, function: &str) -> bool {
    source.text.contains(function)
        && tokens(source.code()).windows(2).any(|pair| pair[0].text == "fn" && pair[1].text == function)
}
