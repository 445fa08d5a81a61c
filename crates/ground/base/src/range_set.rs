//! Sets of bytes as sorted, disjoint, non-adjacent ranges.

use crate::ByteRange;

/// A set of offsets; adjacent and overlapping ranges merge.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RangeSet {
    ranges: Vec<ByteRange>,
}

impl RangeSet {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds every byte of `range`.
    pub fn insert(&mut self, range: ByteRange) {
        if range.is_empty() {
            return;
        }
        let first = self.ranges.partition_point(|r| r.end < range.start);
        let last = self.ranges.partition_point(|r| r.start <= range.end);
        let merged = self.ranges[first..last]
            .iter()
            .fold(range, |all, r| ByteRange { start: all.start.min(r.start), end: all.end.max(r.end) });
        self.ranges.splice(first..last, [merged]);
    }

    /// Whether every byte of `range` is in the set.
    pub fn contains(&self, range: ByteRange) -> bool {
        let at = self.ranges.partition_point(|r| r.end < range.end);
        range.is_empty() || self.ranges.get(at).is_some_and(|r| r.contains(&range))
    }

    /// How many bytes are in the set.
    pub fn bytes(&self) -> u64 {
        self.ranges.iter().map(ByteRange::len).sum()
    }

    /// The ranges in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = ByteRange> + '_ {
        self.ranges.iter().copied()
    }
}

impl FromIterator<ByteRange> for RangeSet {
    fn from_iter<I: IntoIterator<Item = ByteRange>>(ranges: I) -> Self {
        let mut set = Self::new();
        ranges.into_iter().for_each(|range| set.insert(range));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_merge_when_they_touch() {
        let set: RangeSet = [(10, 20), (30, 40), (20, 30), (50, 50), (60, 61)]
            .map(|(a, b)| ByteRange::new(a, b))
            .into_iter()
            .collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [ByteRange::new(10, 40), ByteRange::new(60, 61)]);
        assert_eq!(set.bytes(), 31);
        assert!(set.contains(ByteRange::new(15, 40)));
        assert!(!set.contains(ByteRange::new(15, 41)));
    }

    #[test]
    fn agrees_with_a_plain_set_of_offsets() {
        let mut seed = 7_u64;
        let mut next = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for _ in 0..200 {
            let (mut set, mut model) = (RangeSet::new(), vec![false; 100]);
            for _ in 0..12 {
                let (start, len) = (next(90), next(10));
                set.insert(ByteRange::at(start, len));
                (start..start + len).for_each(|at| model[at as usize] = true);
            }
            assert_eq!(set.bytes(), model.iter().filter(|present| **present).count() as u64);
            let (start, len) = (next(90), next(10));
            let expected = (start..start + len).all(|at| model[at as usize]);
            assert_eq!(set.contains(ByteRange::at(start, len)), expected);
        }
    }
}
