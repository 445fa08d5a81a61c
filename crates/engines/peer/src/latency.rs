//! How long answers take, learned from the last ones.

use std::collections::VecDeque;
use std::time::Duration;

/// Answers that are learned from: enough for a 95th percentile, few enough to follow the network.
const REMEMBERED: usize = 64;
/// Answers before which nothing is known.
const FEWEST: usize = 8;

/// The last answers of somebody.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    /// What each took in nanoseconds, oldest first.
    answers_ns: VecDeque<u64>,
}

impl Latency {
    /// An answer took so long.
    pub(crate) fn learn(&mut self, took_ns: u64) {
        if self.answers_ns.len() == REMEMBERED {
            self.answers_ns.pop_front();
        }
        self.answers_ns.push_back(took_ns);
    }

    /// What 95 of 100 answers take; nothing while too few came.
    pub(crate) fn usual(&self) -> Option<Duration> {
        if self.answers_ns.len() < FEWEST {
            return None;
        }
        let mut sorted: Vec<u64> = self.answers_ns.iter().copied().collect();
        sorted.sort_unstable();
        let at = (sorted.len() * 95 / 100).min(sorted.len() - 1);
        Some(Duration::from_nanos(sorted[at]))
    }
}
