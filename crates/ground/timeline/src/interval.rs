//! Half-open stretches of time, `start_ns..end_ns`, and sets of them.
//!
//! A stretch whose end is not after its start is empty, whatever a hostile file says; nothing here overflows.

use serde::Serialize;

use crate::{Fetch, Span, Stall};

/// From `start_ns` up to, but without, `end_ns`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Interval {
    /// Begin, nanoseconds.
    pub start_ns: u64,
    /// End, nanoseconds.
    pub end_ns: u64,
}

impl Interval {
    /// From `start_ns` up to `end_ns`.
    pub const fn new(start_ns: u64, end_ns: u64) -> Self {
        Self { start_ns, end_ns }
    }

    /// Its length in nanoseconds; an end before the start counts as none.
    pub const fn len_ns(&self) -> u64 {
        self.end_ns.saturating_sub(self.start_ns)
    }

    /// Whether no instant is in it.
    pub const fn is_empty(&self) -> bool {
        self.end_ns <= self.start_ns
    }

    /// What both have in common; may be empty.
    pub fn intersect(self, other: Self) -> Self {
        Self { start_ns: self.start_ns.max(other.start_ns), end_ns: self.end_ns.min(other.end_ns) }
    }

    /// The instants that are in any of `intervals`: ordered, apart from each other, none empty.
    pub fn union(intervals: impl IntoIterator<Item = Self>) -> Vec<Self> {
        let mut sorted: Vec<Self> = intervals.into_iter().filter(|i| !i.is_empty()).collect();
        sorted.sort_unstable();
        let mut merged: Vec<Self> = Vec::new();
        for next in sorted {
            match merged.last_mut() {
                Some(last) if next.start_ns <= last.end_ns => last.end_ns = last.end_ns.max(next.end_ns),
                _ => merged.push(next),
            }
        }
        merged
    }

    /// The instants of `from` that are not in `cut`; both as [`Interval::union`] returns them, and so is the answer.
    pub fn subtract(from: &[Self], cut: &[Self]) -> Vec<Self> {
        let mut left = Vec::new();
        let mut first = 0;
        for &whole in from {
            let mut at = whole.start_ns;
            first += cut[first..].iter().take_while(|c| c.end_ns <= at).count();
            for c in cut[first..].iter().take_while(|c| c.start_ns < whole.end_ns) {
                left.push(Self::new(at, c.start_ns));
                at = at.max(c.end_ns);
            }
            left.push(Self::new(at, whole.end_ns));
        }
        left.retain(|i| !i.is_empty());
        left
    }

    /// Sum of the lengths, nanoseconds; of a union this is the time covered.
    pub fn total_ns(intervals: &[Self]) -> u64 {
        intervals.iter().fold(0, |sum, i| sum.saturating_add(i.len_ns()))
    }
}

impl From<&Span> for Interval {
    fn from(span: &Span) -> Self {
        Self::new(span.start_ns, span.end_ns)
    }
}

impl From<&Stall> for Interval {
    fn from(stall: &Stall) -> Self {
        Self::new(stall.start_ns, stall.end_ns)
    }
}

/// From the request to its last byte.
impl From<&Fetch> for Interval {
    fn from(fetch: &Fetch) -> Self {
        Self::new(fetch.start_ns, fetch.end_ns)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn covered(intervals: &[Interval]) -> Vec<bool> {
        (0..64).map(|t| intervals.iter().any(|i| i.start_ns <= t && t < i.end_ns)).collect()
    }

    fn intervals() -> impl Strategy<Value = Vec<Interval>> {
        prop::collection::vec((0..60u64, 0..60u64).prop_map(|(a, b)| Interval::new(a, b)), 0..8)
    }

    proptest! {
        #[test]
        fn sets_hold_the_instants_they_should(a in intervals(), b in intervals()) {
            let (ua, ub) = (Interval::union(a.clone()), Interval::union(b.clone()));
            prop_assert_eq!(covered(&ua), covered(&a));
            prop_assert!(ua.windows(2).all(|w| w[0].end_ns < w[1].start_ns));
            let minus = Interval::subtract(&ua, &ub);
            let model: Vec<bool> = covered(&a).iter().zip(covered(&b)).map(|(a, b)| *a && !b).collect();
            prop_assert_eq!(covered(&minus), model.clone());
            prop_assert_eq!(Interval::total_ns(&minus), model.iter().filter(|t| **t).count() as u64);
        }
    }
}
