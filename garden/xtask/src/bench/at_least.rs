//! Targets of the kind "at least so many times the peer", held against the medians of interleaved runs.

use serde::Serialize;

use super::ratio;

/// A ratio and what it must be at least.
#[derive(Debug, Serialize)]
pub struct AtLeast {
    /// What is compared with what, for people.
    pub what: String,
    /// Ours divided by the peer's; more is better.
    pub ratio: f64,
    /// The promise.
    pub at_least: f64,
}

impl AtLeast {
    /// Whether the promise is kept.
    pub fn is_met(&self) -> bool {
        self.ratio >= self.at_least
    }
}

/// Prints each target with its verdict; how many are missed.
pub fn print(targets: &[AtLeast]) -> usize {
    println!();
    for target in targets {
        let word = if target.is_met() { "met   " } else { "missed" };
        let ratio = ratio::shown(target.ratio, target.at_least);
        println!("{word}  {ratio} (at least {:.2}x)  {}", target.at_least, target.what);
    }
    targets.iter().filter(|target| !target.is_met()).count()
}
