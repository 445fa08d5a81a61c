//! Rule `sizes`: files stay small enough to be read in one go.

use super::Finding;
use super::source::Source;

/// Code lines at which a file wants splitting. Blank lines, comments and `#[cfg(test)]` items do not count.
const MAX_CODE_LINES: usize = 600;

/// Code lines at which a test file wants splitting: tests are read one at a time.
const MAX_TEST_LINES: usize = 1200;

/// Checks every source file.
pub fn check(sources: &[Source]) -> Vec<Finding> {
    sources.iter().filter_map(one).collect()
}

fn one(source: &Source) -> Option<Finding> {
    let (code, limit) =
        if source.is_test { (source.code(), MAX_TEST_LINES) } else { (source.shipped(), MAX_CODE_LINES) };
    let mut lines = code.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let (first_over, _) = lines.by_ref().nth(limit)?;
    let count = limit + 1 + lines.count();
    let message = format!("{count} lines of code, {limit} is the most: split it along the domain");
    Some(Finding::new(&source.path, first_over + 1, "sizes", message))
}
