//! Test suites of Python and its packages.

use super::super::Facts;
use super::super::place::{in_packages, in_python, is_below};
use super::{Draft, Rule, lying};

/// Folders with test suites within packages. `testing` is none: it holds what tests of others import.
const FOLDERS: [&str; 3] = ["tests", "test", "idle_test"];
/// The standard library's own.
const STANDARD: [&str; 6] =
    ["test/", "idlelib/idle_test/", "unittest/test/", "ctypes/test/", "lib2to3/tests/", "tkinter/test/"];

/// Runs the rule.
pub fn find(facts: Facts<'_>) -> Draft {
    let items = lying(facts, |path| match in_packages(path) {
        Some(inside) => FOLDERS.iter().any(|folder| is_below(inside, folder)),
        None => {
            in_python(path).is_some_and(|inside| STANDARD.iter().any(|folder| inside.starts_with(folder)))
        }
    });
    let way_out = "RUN pip install … && find /usr/local/lib/python3* -type d '(' -name tests -o -name test ')' -prune -exec \
                   rm -rf {} +, in one RUN. Try it: a few packages import from their tests.";
    Rule::Tests.draft(items, way_out)
}

#[cfg(test)]
mod tests {
    use super::super::super::Rule;
    use super::super::super::fixture::found;

    #[test]
    fn test_suites_are_found_and_what_only_sounds_like_one_is_left() {
        let files = [
            ("usr/lib/python3.11/site-packages/numpy/tests/test_a.py", 900),
            ("usr/lib/python3.11/test/test_b.py", 900),
            ("usr/lib/python3.11/site-packages/torch/testing/_internal.py", 900),
            ("usr/lib/python3.11/unittest/case.py", 900),
            ("srv/app/tests/data.bin", 900),
        ];
        assert_eq!(
            found(Rule::Tests, &files),
            ["/usr/lib/python3.11/site-packages/numpy/tests/test_a.py", "/usr/lib/python3.11/test/test_b.py"]
        );
    }
}
