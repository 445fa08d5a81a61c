//! How long the readers of the image waited for bytes, and for which files.

use std::cmp::Reverse;
use std::collections::HashMap;

use serde::Serialize;

use crate::{Interval, Stall};

/// The waits for bytes until ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stalls {
    /// Stalls that began before ready.
    pub count: u64,
    /// Time in which at least one reader waited, nanoseconds; stalls side by side count once.
    pub waited_ns: u64,
    /// The files that were waited for longest, at most [`Stalls::WORST`], longest first.
    pub worst: Vec<PathStalls>,
}

/// The waits for one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PathStalls {
    /// The file, inside the image.
    pub path: String,
    /// How often a reader waited.
    pub count: u64,
    /// Time in which at least one reader waited for it, nanoseconds.
    pub waited_ns: u64,
    /// The longest of them, nanoseconds.
    pub longest_ns: u64,
    /// Bytes that the readers asked for.
    pub bytes: u64,
}

impl Stalls {
    /// How many files are listed: as many as a person looks at.
    pub const WORST: usize = 5;

    pub(super) fn of(stalls: &[&Stall], wall_ns: u64) -> Self {
        let clip = |stall: &Stall| Interval::from(stall).intersect(Interval::new(0, wall_ns));
        let within: Vec<&Stall> = stalls.iter().copied().filter(|s| !clip(s).is_empty()).collect();
        let mut by_path: HashMap<&str, Vec<&Stall>> = HashMap::new();
        for stall in &within {
            by_path.entry(&stall.path).or_default().push(stall);
        }
        let waited_ns =
            |stalls: &[&Stall]| Interval::total_ns(&Interval::union(stalls.iter().map(|s| clip(s))));
        let mut worst: Vec<PathStalls> = by_path
            .into_iter()
            .map(|(path, stalls)| PathStalls {
                path: path.to_owned(),
                count: stalls.len() as u64,
                waited_ns: waited_ns(&stalls),
                longest_ns: stalls.iter().map(|s| clip(s).len_ns()).max().unwrap_or(0),
                bytes: stalls.iter().fold(0, |sum, s| sum.saturating_add(s.bytes)),
            })
            .collect();
        worst.sort_by(|a, b| (Reverse(a.waited_ns), &a.path).cmp(&(Reverse(b.waited_ns), &b.path)));
        worst.truncate(Self::WORST);
        Self { count: within.len() as u64, waited_ns: waited_ns(&within), worst }
    }
}
