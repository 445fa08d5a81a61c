//! What may be spent on asking twice.
//!
//! A hedge to the registry costs what the peer tier is there to save. So hedges are earned: one for twenty pieces that
//! peers gave in time, and a few to begin with.

use std::sync::atomic::{AtomicU64, Ordering};

/// Hedges that are left.
#[derive(Debug)]
pub(crate) struct Budget(AtomicU64);

impl Budget {
    /// Pieces in time that earn one hedge: at most so much more than once does the registry send them.
    const PIECES_PER_HEDGE: u64 = 20;
    /// Hedges to begin with.
    const FIRST_HEDGES: u64 = 8;
    /// Hedges that can be saved up.
    const MOST_HEDGES: u64 = 16;

    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(Self::FIRST_HEDGES * Self::PIECES_PER_HEDGE))
    }

    /// A peer gave a piece in time.
    pub(crate) fn earn(&self) {
        let most = Self::MOST_HEDGES * Self::PIECES_PER_HEDGE;
        let more = |earned: u64| (earned < most).then_some(earned + 1);
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    /// Takes one hedge, if there is one left.
    pub(crate) fn spend(&self) -> bool {
        let less = |earned: u64| earned.checked_sub(Self::PIECES_PER_HEDGE);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hedges_are_earned() {
        let budget = Budget::new();
        assert_eq!((0..100).filter(|_| budget.spend()).count() as u64, Budget::FIRST_HEDGES);
        (0..Budget::PIECES_PER_HEDGE - 1).for_each(|_| budget.earn());
        assert!(!budget.spend());
        budget.earn();
        assert!(budget.spend() && !budget.spend());
        (0..10_000).for_each(|_| budget.earn());
        assert_eq!((0..100).filter(|_| budget.spend()).count() as u64, Budget::MOST_HEDGES);
    }
}
