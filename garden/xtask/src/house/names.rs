//! Rules `names` and `docs`: modules are named for what they hold, and each file begins by saying what it is for.

use super::source::{Source, tokens};
use super::{Finding, line_of};

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 7] = ["util", "utils", "common", "helper", "helpers", "misc", "manager"];

/// Checks file names, module names and module docs.
pub fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        let mut report =
            |line, rule, message: String| findings.push(Finding::new(&source.path, line, rule, message));
        if source.path.ends_with("/mod.rs") {
            report(1, "names", "mod.rs: write foo.rs beside foo/".to_owned());
        }
        for part in source.path.trim_end_matches(".rs").split('/') {
            if EMPTY_NAMES.contains(&part) {
                report(1, "names", format!("{part} names nothing: name it for what it holds"));
            }
        }
        let tokens = tokens(source.code());
        for pair in tokens.windows(3) {
            // Outlined modules (`mod x;`) are found by their file.
            if pair[0].text == "mod" && EMPTY_NAMES.contains(&pair[1].text) && pair[2].text == "{" {
                let line = line_of(source.text.as_bytes(), pair[1].offset);
                report(line, "names", format!("{} names nothing: name it for what it holds", pair[1].text));
            }
        }
        let first = source.text.lines().position(|line| !line.trim().is_empty()).unwrap_or(0);
        let begins_with_doc = source.text.trim_start().starts_with("//!");
        if !begins_with_doc {
            report(first + 1, "docs", "does not begin with its module doc (//! what it is for)".to_owned());
        }
    }
    findings
}
