//! Counts of what passed and failed, read from what `cargo test` prints.

use std::fmt;
use std::ops::AddAssign;

/// How many checks passed and failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub passed: u64,
    pub failed: u64,
}

impl Tally {
    /// One check that passed.
    pub const SUCCESS: Self = Self { passed: 1, failed: 0 };
    /// One check that failed.
    pub const FAILURE: Self = Self { passed: 0, failed: 1 };

    /// Reads a summary such as `test result: ok. 3 passed; 0 failed; 0 ignored; …`.
    pub fn parse(line: &str) -> Option<Self> {
        let (_, counts) = line.trim().strip_prefix("test result: ")?.split_once(". ")?;
        let count = |what: &str| {
            counts.split(';').find_map(|part| part.trim().strip_suffix(what)?.trim().parse::<u64>().ok())
        };
        Some(Self { passed: count("passed")?, failed: count("failed")? })
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_are_counted_and_other_lines_are_not() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s";
        assert_eq!(Tally::parse(line), Some(Tally { passed: 12, failed: 3 }));
        let line =
            "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 2.00s";
        assert_eq!(Tally::parse(line), Some(Tally { passed: 1, failed: 0 }));
        for other in ["running 3 tests", "test a ... ok", "test result: odd", ""] {
            assert_eq!(Tally::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_sum_reads_as_the_last_line_must() {
        let mut sum = Tally::SUCCESS;
        sum += Tally { passed: 41, failed: 2 };
        sum += Tally::FAILURE;
        assert_eq!(sum.to_string(), "42 passed, 3 failed");
    }
}
